"""One worker: how it is or how it ended, its last words, its hour, its day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode

from outrider.errors import Fault, Reason
from outrider.filter import parse
from outrider_dashboard import filter_text, ranges, sentences, timing
from outrider_dashboard.charts.lanes import Interval, intervals
from outrider_dashboard.charts.scale import Tick, TimeScale
from outrider_dashboard.charts.waterline import Counts, Waterline, bar_chart
from outrider_dashboard.pages.worker_charts import SmallChart, memory_hour, small_charts
from outrider_dashboard.pages.worker_facts import Check, Ending, checks, ended_at, ending, facts
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.types import (
        Alert,
        Bucket,
        LogRow,
        StateChange,
        Worker,
        WorkerDetail,
    )
    from outrider_dashboard.charts.spark import Curve
    from outrider_dashboard.sampler import GaugeHistory

DAY = timedelta(hours=24)
UNMEASURED = "unmeasured"
"""The state of the time before a worker was first seen."""

ENDS = frozenset({"worker.died", "worker.killed", "worker.exited", "worker.crashed"})
_SAME_END = timedelta(seconds=5)
"""The record of an end and what the agent saw of it are less than this apart."""

MOST_OTHERS = 6

DAY_BARS = 144
"""Ten minutes each."""


@dataclass(frozen=True)
class Word:
    """One of the last words, with the time to the end (or to now)."""

    row: LogRow
    offset: str
    end: bool = False
    """The record of the end itself."""


@dataclass(frozen=True)
class Mark:
    """A point or interval of a lane, in percent of the day."""

    x: float
    width: float
    label: str
    tone: str
    href: str = ""


@dataclass(frozen=True)
class Day:
    """The last 24 hours on one time axis."""

    states: tuple[Interval, ...]
    lived_from: float
    """Percent of the day before it was first seen: nothing is known of it then."""
    restarts: list[Mark]
    alerts: list[Mark]
    lines: Waterline | None
    ticks: tuple[Tick, ...]
    few_ticks: tuple[Tick, ...]
    grid: list[float]


@dataclass(frozen=True)
class View:
    """Everything the page shows of one worker."""

    detail: WorkerDetail
    ending: Ending
    checks: list[Check]
    facts: list[tuple[str, str]]
    words: list[Word]
    dead: bool
    logs_href: str
    permalink: str
    others: list[tuple[Worker, tuple[Curve | None, float]]]
    """The other workers of the service with the most memory, each with its hour."""
    others_more: int
    earlier: str
    later: str


async def page(request: Request) -> Response:
    """Render one worker."""
    visit = await Visit.begin(request)
    service = unquote(request.path_params["service"])
    worker, at, host = unquote(request.path_params["name"]).rpartition("@")
    if not at or "\0" in f"{service}{worker}{host}":
        return visit.problem(Fault(Reason.NOT_FOUND, detail="A worker is named worker@host."))
    source = visit.site.source
    component = f"{service}/{worker}@{host}"
    detail, activity, alerts = await together(
        visit.panel("Worker", lambda: source.worker(service, worker, host), component),
        visit.panel("Lines by worker", source.activity),
        visit.open_alerts(),
    )
    if detail.code == Reason.NOT_FOUND:
        return visit.problem(
            Fault(Reason.NOT_FOUND, detail=f"No worker is known as {component}."), "Workers"
        )
    since = visit.clock.now - DAY
    query = worker_filter(service, worker, host)
    history, lines = await together(
        visit.panel(
            "Last 24 h", lambda: source.history(component, since, visit.clock.now), component
        ),
        visit.panel(
            "Lines of the day",
            lambda: source.histogram(parse(query), since, visit.clock.now, DAY_BARS),
            component,
        ),
    )
    charts: list[SmallChart] = []
    view = None
    if detail.value is not None:
        then = visit.clock if detail.fresh else visit.clock.at(detail.good_at)
        view = _view(detail.value, query, then, visit.site.gauges)
        charts = small_charts(
            detail.value.worker,
            visit.site.gauges,
            activity.value,
            visit.clock,
            first_seen(detail.value.history, detail.value.worker),
        )
    return visit.page(
        "worker.html",
        "Workers",
        alerts,
        panel=detail,
        view=view,
        service=service,
        name=worker,
        history=history,
        charts=charts,
        draw=lambda changes: day(
            changes,
            detail.value.alerts if detail.value else [],
            lines.value,
            visit.clock,
            detail.value.worker if detail.value else None,
        ),
        stale=not (detail.fresh and alerts.fresh),
    )


def worker_filter(service: str, worker: str, host: str) -> str:
    """Return the filter that finds one worker's lines."""
    named = {"service": service, "worker": worker, "host": host}
    return " ".join(f"{field}:{filter_text.quoted(value)}" for field, value in named.items())


def _view(detail: WorkerDetail, query: str, clock: timing.Clock, gauges: GaugeHistory) -> View:
    worker = detail.worker
    dead = worker.state == "dead"
    said = [w.ts for w in detail.last_words if w.event in ENDS]
    end = said[-1] if said and abs(said[-1] - ended_at(worker)) < _SAME_END else ended_at(worker)
    reference = end if dead else clock.now
    others = sorted(detail.others, key=lambda w: w.worker)
    living = [w for w in others if w.state != "retired"]
    hungry = sorted(living, key=lambda w: w.gauges.rss_bytes or 0, reverse=True)
    names = sorted([worker, *others], key=lambda w: (w.worker, w.host))
    place = next(i for i, w in enumerate(names) if w.name == worker.name)
    return View(
        detail=detail,
        ending=ending(detail, clock),
        checks=checks(detail, clock),
        facts=facts(detail, clock),
        words=[
            Word(
                row,
                timing.offset((row.ts - reference).total_seconds()),
                dead and row.event in ENDS and abs((row.ts - end).total_seconds()) < 1,
            )
            for row in detail.last_words
        ],
        dead=dead,
        logs_href="/logs?" + urlencode(_around(query, reference if dead else None)),
        permalink=sentences.worker_href(worker.name),
        others=[(w, memory_hour(w, gauges)) for w in hungry[:MOST_OTHERS]],
        others_more=max(0, len(hungry) - MOST_OTHERS),
        earlier=sentences.worker_href(names[place - 1].name) if place else "",
        later=sentences.worker_href(names[place + 1].name) if place + 1 < len(names) else "",
    )


def _around(query: str, moment: datetime | None) -> dict[str, str]:
    if moment is None:
        return {"q": query}
    around = ranges.LENGTHS["15m"]
    return {
        "q": query,
        "from": ranges.write(moment - around),
        "to": ranges.write(moment + ranges.LENGTHS["5m"]),
    }


def first_seen(changes: Sequence[StateChange], worker: Worker | None) -> datetime | None:
    """Return when a worker was first seen; None: before what ``changes`` cover."""
    if not changes:
        return worker.since if worker else None
    first = min(changes, key=lambda change: change.at)
    return first.at if first.from_state is None else None


def day(
    changes: Sequence[StateChange],
    alerts: Sequence[Alert],
    lines: Sequence[Bucket] | None,
    clock: timing.Clock,
    worker: Worker | None = None,
) -> Day:
    """Draw the last 24 hours: states, restarts, alerts, lines; unmeasured before it lived."""
    scale = TimeScale(clock.now - DAY, clock.now)
    ordered = sorted(changes, key=lambda change: change.at)
    seen = first_seen(changes, worker)
    before = (ordered[0].from_state if ordered else None) or UNMEASURED
    entered = [(c.at, c.to_state) for c in ordered]
    if not ordered and worker is not None:
        entered = [(worker.since, worker.state)]
    restarts = [
        Mark(scale.percent(c.at), 0, clock.plain(c.at), "")
        for c in ordered
        if c.from_state in {"dead", "retired"} and c.to_state == "up"
    ]
    counts = [Counts(b.debug + b.info, 0, b.warn, b.error) for b in lines or []]
    return Day(
        states=intervals(entered, scale, before),
        lived_from=scale.percent(seen) if seen and seen > scale.start else 0.0,
        restarts=restarts,
        alerts=[_alert_mark(alert, scale) for alert in alerts],
        lines=bar_chart(counts, 24, 14) if lines else None,
        ticks=scale.ticks(8, clock.axis),
        few_ticks=scale.ticks(4, clock.axis),
        grid=[round(100 * i / 8, 3) for i in range(9)],
    )


def _alert_mark(alert: Alert, scale: TimeScale) -> Mark:
    start = scale.percent(alert.fired_at or alert.started_at)
    end = scale.percent(alert.resolved_at) if alert.resolved_at else 100.0
    width = max(0.3, end - start)
    tone = "bad" if alert.priority == "critical" else "warn"
    return Mark(min(start, 100 - width), width, alert.rule, tone, f"/alerts/{alert.id}")
