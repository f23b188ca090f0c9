"""Alerts: episodes, one of them in full, and the notification centre."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from outrider import durations
from outrider.durations import microseconds
from outrider.errors import Fault, Reason
from outrider.filter import FilterError, parse
from outrider_dashboard import filter_text, ranges
from outrider_dashboard.charts import episode as geometry
from outrider_dashboard.hostile import visible
from outrider_dashboard.numbers import alert_name, measure
from outrider_dashboard.pages.alert_words import (
    LedgerLine,
    frozen_rules,
    groups,
    ledger,
    notes,
    state_sentence,
)
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from starlette.requests import Request

    from outrider_collector.store.reading.types import Alert, AlertDetail, Notification
    from outrider_dashboard.charts.scale import TimeScale
    from outrider_dashboard.panels import Panel

RECENT = timedelta(hours=24)
NOTICES_SINCE = timedelta(days=7)
MOST_NOTICES = 50
_SERIES_PARTS = 240


@dataclass(frozen=True)
class View:
    """One episode as the page shows it."""

    detail: AlertDetail
    sentence: str
    chart: geometry.Episode
    chart_name: str
    ledger: list[LedgerLine]
    silence_command: str
    acknowledge_command: str
    evidence_href: str


async def page(request: Request) -> Response:
    """Render the alerts page with one episode: the one asked for, else the worst or newest."""
    visit = await Visit.begin(request)
    source = visit.site.source
    now = visit.clock.now
    opened, recent, notices = await together(
        visit.open_alerts(),
        visit.panel("Recent alerts", lambda: source.recent_alerts(now - RECENT)),
        _notices(visit),
    )
    asked: int | None = request.path_params.get("alert")
    known = [*(opened.value or []), *(recent.value or [])]
    number = asked if asked is not None else (known[0].id if known else None)
    frozen = frozen_rules(opened.value or [])
    episode = await _episode(visit, number, frozen) if number is not None else None
    if asked is not None and episode is not None and episode.code == Reason.NOT_FOUND:
        return visit.problem(
            Fault(Reason.NOT_FOUND, detail=f"There is no alert {alert_name(asked)}."), "Alerts"
        )
    return visit.page(
        "alerts.html",
        "Alerts",
        opened,
        opened=opened,
        groups=groups(opened.value or [], recent.value or [], visit.clock),
        listed=opened.fresh and recent.fresh,
        asked=asked,
        number=number,
        episode=episode,
        notices=notices,
        note_groups=lambda found: notes(found, visit.clock),
    )


async def notices_json(request: Request) -> Response:
    """Answer with the numbers of recent notices, for the unread marks of this browser."""
    visit = Visit(request)
    panel = await _notices(visit)
    if panel.value is None:
        return JSONResponse({"code": panel.code, "id": panel.correlation_id}, status_code=503)
    shown = [note for group in notes(panel.value, visit.clock) for note in group.notes]
    # Not JSONResponse: it writes controls and changes of direction as they are.
    text = json.dumps(
        [
            {
                "id": n.id,
                "title": visible(n.title),
                "text": visible(n.text),
                "state": n.state,
                "priority": n.priority,
            }
            for n in shown
        ]
    )
    return Response(text, media_type="application/json")


async def _notices(visit: Visit) -> Panel[list[Notification]]:
    since = visit.clock.now - NOTICES_SINCE
    return await visit.panel(
        "Notifications", lambda: visit.site.source.notices(since, MOST_NOTICES)
    )


async def _episode(visit: Visit, number: int, frozen: frozenset[str]) -> Panel[View]:
    source = visit.site.source

    async def read() -> View:
        detail = await source.alert(number)
        scale = geometry.span(detail.alert.started_at, detail.alert.resolved_at, visit.clock.now)
        values = await _values(visit, detail, scale)
        return _view(detail, scale, values, visit, is_frozen=detail.alert.rule in frozen)

    return await visit.panel("Episode", read, number)


async def _values(
    visit: Visit, detail: AlertDetail, scale: TimeScale
) -> list[tuple[datetime, float]]:
    """Count again, from the stored lines, what the rule counted; empty where it counts none."""
    text = counted_filter(detail.alert, detail.definition)
    if text is None:
        return []
    try:
        filter_ = parse(text)
    except FilterError:
        return []
    window_s = duration_s(detail.definition.get("window"))
    start = scale.start - timedelta(seconds=window_s)
    buckets = await visit.site.source.histogram(filter_, start, scale.end, _SERIES_PARTS)
    width_s = (scale.end - start).total_seconds() / _SERIES_PARTS
    sums = geometry.windowed([b.total for b in buckets], max(1, round(window_s / width_s)))
    width = timedelta(seconds=width_s)
    return [
        (bucket.start + width, float(value))
        for bucket, value in zip(buckets, sums, strict=True)
        if bucket.start + width >= scale.start
    ]


def counted_filter(alert: Alert, rule: dict[str, Any]) -> str | None:
    """Return the filter of what an alert counts: the rule's, and the key's values."""
    if not rule or alert.kind not in {"count", "match"}:
        return None
    text = str(rule.get("filter") or "")
    by = rule.get("by") or []
    terms = [
        f"{name}:{filter_text.quoted(value)}"
        for name, value in zip(by, alert.key, strict=False)
        if value
    ]
    return " ".join([f"({text})" if text else "", *terms]).strip()


def duration_s(value: Any) -> float:
    """Read a duration of a rule, a number of seconds or ``5m``, in seconds; 60 if there is none."""
    if isinstance(value, (int, float)) and value > 0:
        return float(value)
    try:
        return microseconds(value) / 1e6 or 60.0
    except (TypeError, ValueError):
        return 60.0


def _view(
    detail: AlertDetail,
    scale: TimeScale,
    values: Sequence[tuple[datetime, float]],
    visit: Visit,
    *,
    is_frozen: bool,
) -> View:
    alert, rule, clock = detail.alert, detail.definition, visit.clock
    lines = ledger(detail.notifications, clock)
    labels = " ".join(
        f"{name}:{filter_text.quoted(value)}"
        for name, value in sorted(alert.labels.items())
        # A name with controls in it would act on the terminal it is pasted into.
        if name in {"service", "worker", "host"} and value and value.isprintable()
    )
    silence = " ".join([f"rule:{filter_text.quoted(alert.rule)}", labels]).strip()
    counted = counted_filter(alert, rule)
    return View(
        detail=detail,
        sentence=state_sentence(alert, clock, is_frozen=is_frozen),
        chart=geometry.draw(
            scale,
            values=values,
            thresholds=_thresholds(alert, rule),
            changes=[(t.at, t.to_state) for t in detail.transitions],
            told=_told(detail),
            write=clock.axis_of(scale.end - scale.start),
        ),
        chart_name=_chart_name(rule),
        ledger=lines,
        silence_command=f"outrider silences add {shlex.quote(silence)} --for 2h",
        acknowledge_command=f"outrider alerts ack {alert_name(alert.id)}",
        evidence_href=_evidence_href(counted, scale),
    )


def _chart_name(rule: dict[str, Any]) -> str:
    window = rule.get("window")
    return f"Lines in {durations.said(duration_s(window))}" if window else "Lines in 1 min"


def _evidence_href(counted: str | None, scale: TimeScale) -> str:
    if counted is None:
        return ""
    query = {"q": counted, "from": ranges.write(scale.start), "to": ranges.write(scale.end)}
    return "/logs?" + urlencode(query)


def _thresholds(alert: Alert, rule: dict[str, Any]) -> list[tuple[float, str, bool]]:
    out = []
    if alert.threshold is not None:
        out.append((alert.threshold, f"fires {measure(alert.threshold)}", True))
    resolve = rule.get("resolve")
    if isinstance(resolve, (int, float)) and resolve != alert.threshold:
        out.append((float(resolve), f"ends {measure(resolve)}", False))
    return out


def _told(detail: AlertDetail) -> list[tuple[datetime, str, str]]:
    out = [
        (n.finished_at, "sent" if n.fate == "sent" else "failed", "")
        for n in detail.notifications
        if n.finished_at is not None and n.was_tried
    ]
    if detail.alert.acknowledged_at:
        out.append((detail.alert.acknowledged_at, "person", "acknowledged"))
    return sorted(out, key=lambda item: item[0])
