"""Audit: who did what to what, what it was before and after, and how far that is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import PlainTextResponse, StreamingResponse

from outrider_collector.store.audit.proof import LATE_S
from outrider_collector.store.reading import audit
from outrider_collector.store.reading.audit import Asked
from outrider_dashboard.numbers import plural, stored
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.audit import AuditRow, SealState
    from outrider_dashboard.panels import Panel
    from outrider_dashboard.site import Site

PAGE_ROWS = 100
EXPORT_ROWS = 1_000


async def page(request: Request) -> Response:
    """Render the newest rows, or those before one, that match."""
    visit = await Visit.begin(request)
    source = visit.site.source
    asked, before = _asked(visit), _before(visit)
    found, seals, alerts = await together(
        visit.panel(
            "Audit log", lambda: source.audit_rows(asked, PAGE_ROWS + 1, before), asked, before
        ),
        visit.panel("Seals", source.audit_seals),
        visit.open_alerts(),
    )
    rows: list[AuditRow] = found.value or []
    return visit.page(
        "audit.html",
        "Audit",
        alerts,
        panel=found,
        rows=rows[:PAGE_ROWS],
        seals=seals,
        sealing=_sealing(seals, visit),
        asked=asked,
        before=before,
        narrowed=asked != Asked(),
        older=_query(asked, rows[PAGE_ROWS - 1].id) if len(rows) > PAGE_ROWS else "",
        query=_query(asked),
        stale=not (found.fresh and alerts.fresh),
    )


async def download(request: Request) -> Response:
    """Answer with all rows that match as CSV, newest first."""
    visit = Visit(request)
    if visit.site.exports.locked():
        return PlainTextResponse(
            "Two downloads run already. Start this one when they are done.\n",
            status_code=503,
            headers={"retry-after": "30"},
        )
    name = f"outrider-audit-{visit.clock.now:%Y%m%dT%H%M%SZ}.csv"
    return StreamingResponse(
        _body(visit.site, _asked(visit)),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _body(site: Site, asked: Asked) -> AsyncIterator[str]:
    async with site.exports:
        count, before, outcome = 0, None, "cut off"
        try:
            yield audit.csv_header()
            # Rows neither change nor go: pages by id are as one snapshot.
            while chunk := await site.source.audit_rows(asked, EXPORT_ROWS, before):
                count += len(chunk)
                before = chunk[-1].id
                yield "".join(map(audit.csv_line, chunk))
            outcome = "success"
        finally:
            about = {"target": "audit log", "form": "csv"}
            site.record("audit.exported", {**about, "rows": count, "outcome": outcome})


def _asked(visit: Visit) -> Asked:
    return Asked(
        actor=visit.parameter("actor", 200).strip(),
        action=visit.parameter("action", 64).strip(),
        target=visit.parameter("target", 200).strip(),
        acts=visit.parameter("acts", 1) == "1",
    )


def _before(visit: Visit) -> int | None:
    return stored(visit.parameter("before", 20))


def _query(asked: Asked, before: int | None = None) -> str:
    said = {
        "actor": asked.actor,
        "action": asked.action,
        "target": asked.target,
        "acts": "1" if asked.acts else "",
        "before": "" if before is None else str(before),
    }
    return urlencode({name: value for name, value in said.items() if value})


def _sealing(panel: Panel[SealState], visit: Visit) -> tuple[str, str]:
    """Return the state of sealing and its sentence."""
    seals: SealState | None = panel.value
    if seals is None:
        return "unknown", "How far the log is sealed is not known"
    waiting = seals.oldest_unsealed_at
    late = waiting is not None and (visit.clock.now - waiting).total_seconds() > LATE_S
    more = "+" if seals.unsealed == audit.MOST_COUNTED else ""
    young = f"{seals.unsealed:,}{more} newer {'row' if seals.unsealed == 1 else 'rows'}"
    are = "is" if seals.unsealed == 1 else "are"
    if late:
        return "degraded", f"{young} {are} not sealed: no collector seals"
    if not seals.number:
        return "unknown", "Nothing was sealed yet" if seals.unsealed else "Nothing to seal yet"
    if seals.unsealed:
        soon = f"{young} {are} sealed within a minute"
        return "up", f"Sealed by {plural(seals.number, 'seal')}; {soon}"
    return "up", f"All of it is sealed, by {plural(seals.number, 'seal')}"
