"""Overview: what is wrong now, who is affected, what is not known, and how much flows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider_collector.store.reading import completeness, room
from outrider_collector.store.reading.types import STATES
from outrider_dashboard import numbers, sentences, timing
from outrider_dashboard.charts.scale import Tick, TimeScale
from outrider_dashboard.charts.waterline import Counts, Waterline, area_chart
from outrider_dashboard.pages.exchanges import exchanges
from outrider_dashboard.pages.health_rows import rows
from outrider_dashboard.pages.tiles import MOST_TILES, Service, hour_spark, services
from outrider_dashboard.site import Visit, together
from outrider_dashboard.source import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.activity import ActivityWindow
    from outrider_collector.store.reading.types import (
        Alert,
        Bucket,
        Cause,
        Collector,
        Overview,
        StoreHealth,
    )
    from outrider_dashboard.charts.spark import Spark
    from outrider_dashboard.panels import Panel

HOUR = timedelta(hours=1)
SPAN = timedelta(seconds=30)


@dataclass(frozen=True)
class Chart:
    """Lines by severity, for wide and narrow screens, with its axis and figures."""

    broad: Waterline
    narrow: Waterline
    ticks: tuple[Tick, ...]
    few_ticks: tuple[Tick, ...]
    hatch_from: float | None
    figures: list[tuple[datetime, int, int, int]]


async def page(request: Request) -> Response:
    """Render the overview."""
    visit = await Visit.begin(request)
    source = visit.site.source
    now = visit.clock.now
    overview, activity, lines, store, collectors, found, samples, alerts = await together(
        visit.panel("What is wrong now", source.overview),
        visit.panel("Lines by worker", source.activity),
        _lines(visit),
        visit.panel("Store", source.store),
        visit.panel("Collectors", source.collectors),
        visit.panel("Exchanges", source.components),
        visit.panel("Samples of exchanges", lambda: source.samples("exchange", now - HOUR, now)),
        visit.open_alerts(),
    )
    if overview.fresh and not overview.value.workers:
        state = overview.value.completeness
        blind = completeness.text(completeness.sentence(state, now)) if state.blind_login else ""
        agents = await _agents(visit)
        return visit.page("welcome.html", "Overview", alerts, agents=agents, blind=blind)
    return visit.page(
        "overview.html",
        "Overview",
        alerts,
        panel=overview,
        view=_view(visit, overview, activity) if overview.value else None,
        chart=lines,
        draw=lambda buckets: chart(buckets, visit.clock),
        store=store,
        exchanges=found,
        exchange_lines=lambda components: exchanges(
            rows(components, {}), samples.value or [], visit.clock
        ),
        has_exchanges=any(one.kind == "exchange" for one in found.value or []),
        facts=lambda health: store_facts(health, collectors.value or [], visit.clock),
        stale=overview.stale or overview.failed or not alerts.fresh,
    )


async def _agents(visit: Visit) -> Panel[list[object]]:
    return await visit.panel("Agents", visit.site.source.agents)


@dataclass(frozen=True)
class View:
    """All that comes from one snapshot of the store."""

    clock: timing.Clock
    headline: sentences.Headline
    states: list[tuple[str, int]]
    causes: list[CauseView]
    alerts: list[AlertLine]
    alerts_more: int
    completeness: list[sentences.Piece]
    services: list[Service]
    cells: bool
    workers: int


@dataclass(frozen=True)
class CauseView:
    """A cause with its age and its small chart."""

    line: sentences.CauseLine
    since: datetime
    spark: Spark | None
    spark_label: str
    priority: str = ""
    """Of the alert that it is, else empty."""


@dataclass(frozen=True)
class AlertLine:
    """An open alert in one line."""

    alert: Alert
    note: str


_MOST_ALERTS = 8
LAST_HOUR = "lines, last 60 min"


def _view(visit: Visit, panel: Panel[Overview], activity: Panel[ActivityWindow]) -> View:
    overview = panel.value
    assert overview is not None  # noqa: S101  the caller has looked
    window = activity.value
    # Of old data, ages are told as they were then: nobody knows how they went on.
    clock = visit.clock if panel.fresh or panel.good_at is None else visit.clock.at(panel.good_at)
    known = [w for w in overview.workers if w.state != "retired"]
    order = {state: i for i, state in enumerate(STATES)}
    causes = sentences.merged(overview.causes)
    return View(
        clock=clock,
        headline=sentences.headline(overview, len(causes)),
        states=sorted(
            ((s, n) for s, n in overview.states.items() if n and s != "retired"),
            key=lambda item: order.get(item[0], 9),
        ),
        causes=[_cause(cause, overview.alerts, window, clock) for cause in causes],
        alerts=[AlertLine(a, alert_note(a)) for a in overview.alerts[:_MOST_ALERTS]],
        alerts_more=max(0, len(overview.alerts) - _MOST_ALERTS),
        completeness=sentences.completeness_pieces(
            completeness.sentence(overview.completeness, overview.now)
        ),
        services=services(overview.workers, window, clock),
        cells=len(known) > MOST_TILES,
        workers=len(known),
    )


def _cause(
    cause: Cause, alerts: Sequence[Alert], window: ActivityWindow | None, clock: timing.Clock
) -> CauseView:
    line = sentences.cause_line(cause)
    alert = next((a for a in alerts if a.id == cause.alert), None)
    if alert is not None:
        tone = "bad" if alert.priority == "critical" else "warn"
        line = replace(line, state=alert.state, tone=tone, support=_alert_support(alert))
    spark = _cause_spark(cause, alert, window, clock)
    return CauseView(line, cause.since, spark, LAST_HOUR, alert.priority if alert else "")


def _cause_spark(
    cause: Cause, alert: Alert | None, window: ActivityWindow | None, clock: timing.Clock
) -> Spark | None:
    if window is None:
        return None
    names = [cause.worker] if cause.worker else list(cause.explains[:1])
    if names:
        state = {"agent_silent": "silent"}.get(cause.kind, cause.kind)
        return hour_spark(window.of(names[0]), state, cause.since, clock)
    if alert is not None and "service" in alert.labels:
        activity = window.of_service(alert.labels["service"])
        return hour_spark(activity, "firing", cause.since, clock)
    return None


def _alert_support(alert: Alert) -> str:
    note = alert_note(alert)
    return f"Rule {alert.rule}, {alert.priority}{', ' + note if note else ''}."


def alert_note(alert: Alert) -> str:
    """Say the one thing about an open alert that changes what to do."""
    if alert.acknowledged_at:
        return "acknowledged"
    if alert.suppressed_by:
        return "suppressed"
    if alert.flapping:
        return "flapping"
    return {"recovering": "recovering", "pending": "pending"}.get(alert.state, "")


def chart(buckets: Sequence[Bucket], clock: timing.Clock) -> Chart:
    """Draw lines by severity; spans that nobody counted at the right edge are hatched."""
    counts = [Counts(b.info, b.debug, b.warn, b.error) for b in buckets]
    start = buckets[0].start
    scale = TimeScale(start, start + HOUR)
    unknown = next((b.start for b in reversed(buckets) if b.known), None)
    complete = unknown is not None and unknown >= buckets[-1].start
    return Chart(
        broad=area_chart(counts, 100, 46),
        narrow=area_chart(counts, 72, 40, len(counts) // 2),
        ticks=scale.ticks(4, clock.axis),
        few_ticks=scale.ticks(2, clock.axis),
        hatch_from=None if complete or unknown is None else scale.percent(unknown),
        figures=[(b.start, b.debug + b.info, b.warn, b.error) for b in buckets],
    )


async def _lines(visit: Visit) -> Panel[list[Bucket]]:
    """Count the last hour by half minutes; the running one is left out, it is not over."""
    now = visit.clock.now
    until = now - timedelta(seconds=now.timestamp() % SPAN.total_seconds())
    return await visit.panel(
        "Lines by severity",
        lambda: visit.site.source.histogram(ALL, until - HOUR, until, int(HOUR / SPAN)),
    )


def store_facts(
    health: StoreHealth, collectors: Sequence[Collector], clock: timing.Clock
) -> list[tuple[str, str]]:
    """Return the store's figures as label and text; what is not known says so."""
    alive = [c for c in collectors if c.alive]
    delay = health.commit_delay_ms_p50
    per_second = health.lines_last_minute / 60
    facts = [
        ("Ingest", numbers.per_second(per_second, "lines")),
        ("Line to commit, p50", numbers_or_dash(delay)),
        ("Database", numbers.file_size(health.database_bytes)),
        *([("Disk", known.said)] if (known := room.room(collectors)) is not None else []),
        ("Collectors", _collectors(alive, collectors, clock)),
        ("Gaps today", _gaps(health)),
    ]
    newest = health.newest_partition_to
    if newest is None or newest <= health.now:
        facts.insert(3, ("Partitions", "none: ingest stops"))
    else:
        ahead = timing.short_age((newest - health.now).total_seconds())
        facts.insert(3, ("Partitions", f"{health.partitions}, {ahead} ahead"))
    return facts


def numbers_or_dash(milliseconds: float | None) -> str:
    """Write a latency, or a dash where nothing was measured."""
    return timing.DASH if milliseconds is None else timing.latency(milliseconds)


def _collectors(alive: Sequence[Collector], known: Sequence[Collector], clock: timing.Clock) -> str:
    if alive:
        return f"{len(alive)} up"
    last = max((c.seen_at for c in known), default=None)
    return f"none, last heard {clock.age(last)} ago" if last else "none has ever reported"


def _gaps(health: StoreHealth) -> str:
    if not health.gaps_today:
        return "none"
    lost = numbers.plural(health.lines_lost_today, "line")
    return f"{numbers.count(health.gaps_today)}, {lost} lost"
