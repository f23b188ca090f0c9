"""Health: everything that is looked at, how it was for ninety days, and what ends soon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from outrider.instants import from_us
from outrider.probes.certificate import WARN_DAYS
from outrider.probes.result import WELL
from outrider_collector.store.reading.availability import DAYS
from outrider_collector.store.reading.components import is_number
from outrider_collector.store.reading.types import Day
from outrider_dashboard import numbers
from outrider_dashboard.charts.uptime import bars
from outrider_dashboard.pages import health_words
from outrider_dashboard.pages.exchanges import HOUR, exchanges
from outrider_dashboard.pages.health_rows import Row, rows
from outrider_dashboard.pages.pipeline import pipeline
from outrider_dashboard.sentences import listed
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.types import Collector, Component, Sample, Uptime
    from outrider_dashboard.pages.exchanges import Exchange
    from outrider_dashboard.pages.health_rows import Key
    from outrider_dashboard.sentences import Headline
    from outrider_dashboard.timing import Clock

MOST_WELL_HOSTS = 3
"""Hosts that are well and shown beside those that are not, unless all are asked for."""
MOST_HOSTS = 200
MOST_EXPIRIES = 8
MOST_INCIDENTS = 500
SOON = timedelta(days=WARN_DAYS)

_HOUR_MS = 3_600_000
LEGEND = [
    (name, bars([Day(date.min, *milliseconds)]))
    for name, milliseconds in (
        ("up", (_HOUR_MS, 0, 0, 0, 0)),
        ("degraded", (_HOUR_MS, _HOUR_MS, 0, 0, 0)),
        ("down", (_HOUR_MS, 0, _HOUR_MS, 0, 0)),
        ("maintenance", (0, 0, 0, _HOUR_MS, 0)),
        ("not measured", (0, 0, 0, 0, _HOUR_MS)),
    )
]
"""What each part of a bar means, drawn as it is drawn."""

_PROBED = ("exchange", "database", "probe")


@dataclass(frozen=True)
class Group:
    """Rows under one title."""

    title: str
    note: str
    rows: list[Row]
    more: int = 0
    """Further ones, all up, that are not shown."""


@dataclass(frozen=True)
class Expiry:
    """Something that ends at a known time."""

    label: str
    text: str
    tone: str


@dataclass(frozen=True)
class View:
    """The page."""

    headline: Headline
    first_day: datetime
    """The oldest day of the bars."""
    groups: list[Group]
    target: str
    """The target of all budgets, where it is one; else empty."""
    incidents: list[tuple[Row, Day]]
    """Days on which a row was not only up, newest first."""
    exchanges: list[Exchange]
    seen_from: str
    expiries: list[Expiry]
    probed: bool
    """Whether anything outside is looked at."""


async def page(request: Request) -> Response:
    """Render the page; ``?hosts=all`` shows every host."""
    visit = await Visit.begin(request)
    source = visit.site.source
    now = visit.clock.now
    found, uptimes, watching, samples, collectors, alerts = await together(
        visit.panel("Components", source.components),
        visit.panel("Ninety days", source.uptimes),
        visit.panel("Ninety days of the collectors", source.watching),
        visit.panel("Samples of exchanges", lambda: source.samples("exchange", now - HOUR, now)),
        visit.panel("Collectors", source.collectors),
        visit.open_alerts(),
    )
    view = None
    if found.value is not None:
        clock = visit.clock.at(found.good_at) if found.stale and found.good_at else visit.clock
        view = build(
            found.value,
            uptimes.value or {},
            watching.value,
            collectors.value or [],
            samples.value or [],
            clock,
            every_host=visit.parameter("hosts", 10) == "all",
        )
    return visit.page(
        "health.html",
        "Health",
        alerts,
        panel=found,
        days=uptimes,
        samples=samples,
        view=view,
        word=lambda row: health_words.word(row, visit.clock),
        legend_bars=LEGEND,
        stale=not (found.fresh and alerts.fresh),
    )


def build(
    found: Sequence[Component],
    uptimes: Mapping[Key, Uptime],
    watching: Uptime | None,
    collectors: Sequence[Collector],
    samples: Sequence[Sample],
    clock: Clock,
    *,
    every_host: bool = False,
) -> View:
    """Put the page together."""
    every = rows(found, uptimes)
    of_kind = {
        kind: [r for r in every if r.kind == kind] for kind in (*_PROBED, "pipeline", "agent")
    }
    machinery = [*pipeline(collectors, watching), *of_kind["pipeline"], *of_kind["database"]]
    hosts, more = shown_hosts(of_kind["agent"], every_host=every_host)
    groups = [
        group("Exchanges", of_kind["exchange"]),
        group("Pipeline", machinery),
        replace(group("Hosts", of_kind["agent"]), rows=hosts, more=more),
        group("Probes", of_kind["probe"]),
    ]
    told = [*of_kind["exchange"], *machinery, *of_kind["agent"], *of_kind["probe"]]
    targets = {row.uptime.target for row in told if row.uptime}
    seen_from = sorted({m.host for row in of_kind["exchange"] for m in row.members})
    shown = [row for one in groups for row in one.rows]
    return View(
        first_day=clock.now - timedelta(days=DAYS - 1),
        headline=health_words.headline(told, clock),
        groups=[one for one in groups if one.rows],
        target=numbers.target(targets.pop()) if len(targets) == 1 else "",
        incidents=incidents(shown),
        exchanges=exchanges(of_kind["exchange"], samples, clock),
        seen_from=listed(seen_from[:4]),
        expiries=expiries([row for row in every if row.kind != "agent"], clock),
        probed=any(of_kind[kind] for kind in _PROBED),
    )


def group(title: str, found: list[Row]) -> Group:
    """Return a group with the sentence that stands beside its title."""
    wrong = [row for row in found if row.state not in WELL]
    if not wrong:
        return Group(title, f"{len(found)}, all up" if len(found) > 1 else "", found)
    states = {row.state for row in wrong}
    count = numbers.word(len(wrong))
    what = health_words.STATE_NAMES.get(wrong[0].state, wrong[0].state)
    return Group(title, f"{len(found)}, {count} {what if len(states) == 1 else 'not up'}", found)


def shown_hosts(found: Sequence[Row], *, every_host: bool) -> tuple[list[Row], int]:
    """Return the hosts to show, those that are not well first, and how many are left out."""
    ordered = sorted(found, key=lambda row: (row.rank, row.name))
    wrong = [row for row in ordered if row.state not in WELL]
    most = MOST_HOSTS if every_host else min(MOST_HOSTS, len(wrong) + MOST_WELL_HOSTS)
    # One more line says as much as the line that there is one more.
    if len(ordered) == most + 1:
        most += 1
    return ordered[:most], max(0, len(ordered) - most)


def incidents(shown: Sequence[Row]) -> list[tuple[Row, Day]]:
    """Return the figures behind the bars: as many days as a person reads."""
    found = [(row, day) for row in shown for day in row.incidents]
    found.sort(key=lambda pair: pair[1].day, reverse=True)
    return found[:MOST_INCIDENTS]


def expiries(found: Sequence[Row], clock: Clock) -> list[Expiry]:
    """Return when the certificates that probes saw end, the next first."""
    ends: list[tuple[datetime, str]] = []
    for row in found:
        said = [m.facts.get("tls_expires_us") for m in row.members]
        known = [int(value) for value in said if is_number(value)]
        if known:
            ends.append((from_us(min(known)), row.name))
    return [_expiry(at, name, clock) for at, name in sorted(ends)[:MOST_EXPIRIES]]


def _expiry(at: datetime, name: str, clock: Clock) -> Expiry:
    left = at - clock.now
    label = f"{name} certificate"
    if left <= timedelta(0):
        return Expiry(label, f"ended {clock.age(at)} ago", "bad")
    text = clock.left(at)
    if left > SOON:
        return Expiry(label, text, "")
    return Expiry(label, f"{text}, {clock.minute(at)} {clock.zone_name}", "warn")
