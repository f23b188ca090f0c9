"""The status page: what others may know, without signing in and without asking a question.

It shows components by name with their state and ninety days, and which critical alerts about them
fire. It shows no reason, no line of a log, no channel, and no host unless the configuration says
so. One answer is made every ten seconds and kept for everybody, so that a crowd costs nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from outrider.errors import Fault
from outrider_collector.store.reading.availability import DAYS
from outrider_dashboard import timing
from outrider_dashboard.pages import health_words
from outrider_dashboard.pages.health import LEGEND, Group, group
from outrider_dashboard.pages.health_rows import Row, rows
from outrider_dashboard.pages.pipeline import pipeline
from outrider_dashboard.panels import DEADLINE_S
from outrider_dashboard.rendering import TEMPLATES
from outrider_dashboard.site import together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request

    from outrider_collector.store.reading.types import Alert, Collector, Component, Uptime
    from outrider_dashboard.pages.health_rows import Key
    from outrider_dashboard.site import Site

KEPT_S = 10
PATHS = ("/status", "/status.json")
"""What answers to any host's name where the page is switched on."""

_TITLES = (("exchange", "Exchanges"), ("probe", "Services"), ("database", "Databases"))
_HEADERS = {"cache-control": f"public, max-age={KEPT_S}"}


@dataclass(frozen=True)
class Incident:
    """A critical alert about a component that is shown."""

    rule: str
    component: str
    since: datetime


@dataclass(frozen=True)
class Status:
    """The whole page."""

    at: datetime
    groups: list[Group]
    incidents: list[Incident]
    known: bool = True
    """Whether it is of now; else it is the last that was known."""

    @property
    def rows(self) -> list[Row]:
        """Every component, whatever its group."""
        return [row for one in self.groups for row in one.rows]


async def page(request: Request) -> Response:
    """Render the page."""
    status = await _status(request.app.state.site)
    clock = timing.Clock(status.at, UTC)
    text = TEMPLATES.get_template("status.html").render(
        status=status,
        t=clock,
        environment=request.app.state.site.environment,
        headline=health_words.headline(status.rows, clock),
        word=lambda row: health_words.word(row, clock),
        first_day=clock.now - timedelta(days=DAYS - 1),
        legend_bars=LEGEND,
    )
    return HTMLResponse(text, _code(status), _HEADERS)


async def document(request: Request) -> Response:
    """Return the same as JSON."""
    status = await _status(request.app.state.site)
    return JSONResponse(as_json(status), _code(status), _HEADERS)


def _code(status: Status) -> int:
    return 200 if status.known else 503


async def _status(site: Site) -> Status:
    return await site.status.get(lambda: _made(site))


async def _made(site: Site) -> Status:
    source = site.source
    try:
        async with asyncio.timeout(DEADLINE_S):
            found, uptimes, watching, collectors, alerts = await together(
                source.components(), source.uptimes(), source.watching(), source.collectors(),
                source.open_alerts(),
            )  # fmt: skip
    except (Fault, TimeoutError):
        return replace(site.last_status or Status(site.now(), [], []), known=False)
    site.last_status = build(
        site.now(), found, uptimes, watching, collectors, alerts, hosts=site.status_hosts
    )
    return site.last_status


def build(
    now: datetime,
    found: Sequence[Component],
    uptimes: Mapping[Key, Uptime],
    watching: Uptime | None,
    collectors: Sequence[Collector],
    alerts: Sequence[Alert],
    *,
    hosts: bool,
) -> Status:
    """Put together what may be shown."""
    every = rows(found, uptimes)
    groups = [group(title, [r for r in every if r.kind == kind]) for kind, title in _TITLES]
    machinery = [row for row in pipeline(collectors, watching) if row.kind == "collector"]
    machinery += [row for row in every if row.kind == "pipeline"]
    groups.append(group("Pipeline", machinery))
    if hosts:
        groups.append(group("Hosts", [row for row in every if row.kind == "agent"]))
    shown = [one for one in groups if one.rows]
    return Status(now, shown, incidents(alerts, [row for one in shown for row in one.rows]))


def incidents(alerts: Sequence[Alert], shown: Sequence[Row]) -> list[Incident]:
    """Return the critical alerts that fire about what is shown, the oldest first, each once."""
    names = {m.component: row.name for row in shown for m in row.members}
    since: dict[tuple[str, str], datetime] = {}
    for alert in alerts:
        name = names.get(alert.labels.get("component", ""))
        if name is None or alert.priority != "critical" or alert.state != "firing":
            continue
        at = alert.fired_at or alert.started_at
        since[alert.rule, name] = min(at, since.get((alert.rule, name), at))
    found = [Incident(rule, name, at) for (rule, name), at in since.items()]
    return sorted(found, key=lambda one: (one.since, one.component, one.rule))


def as_json(status: Status) -> dict[str, Any]:
    """Return the page as JSON knows it; times are RFC 3339 in UTC."""
    return {
        "at": timing.utc_text(status.at),
        "known": status.known,
        "groups": [
            {"title": one.title, "components": [_component(row) for row in one.rows]}
            for one in status.groups
        ],
        "incidents": [
            {"rule": i.rule, "component": i.component, "since": timing.utc_text(i.since)}
            for i in status.incidents
        ],
    }


def _component(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "state": row.state,
        "since": timing.utc_text(row.since) if row.since else None,
        "share_up_90_days": row.uptime.share_up if row.uptime else None,
    }
