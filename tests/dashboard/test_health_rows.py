"""What several hosts see of one thing becomes one row; what the page says of all rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.instants import to_us
from outrider.probes.result import WELL
from outrider_collector.store.reading.availability import uptime
from outrider_collector.store.reading.types import Collector, Component, Day
from outrider_collector.store.reading.verdicts import WORST_FIRST, verdict
from outrider_dashboard.charts.uptime import ABOVE, BELOW, bars, hanging
from outrider_dashboard.pages import health, health_words
from outrider_dashboard.pages.health_rows import Row, rows
from outrider_dashboard.pages.pipeline import pipeline
from outrider_dashboard.timing import Clock

NOW = datetime(2026, 7, 14, 14, 3, 24, tzinfo=UTC)
CLOCK = Clock(NOW)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def seen(host: str, state: str, minutes_ago: int = 60, reason: str = "") -> Component:
    """One thing as a host sees it."""
    since = NOW - timedelta(minutes=minutes_ago)
    return Component("probe", f"shop@{host}", "shop", host, state, since, reason, NOW, 1.0, {})


@pytest.mark.parametrize(
    ("members", "state", "minutes_ago", "reason"),
    [
        ([seen("web-1", "up", 60), seen("web-2", "up", 5)], "up", 5, ""),
        ([seen("web-1", "down", 60, "refused"), seen("web-2", "down", 5)], "down", 5, "refused"),
        (
            [seen("web-1", "up"), seen("web-2", "down", 6, "no answer")],
            "degraded", 6, "not reachable from web-2: no answer",
        ),
        ([seen("web-1", "up"), seen("web-2", "degraded", 6, "slow")], "degraded", 6, "slow"),
        # Who has no result has no vote, and is named.
        ([seen("web-1", "up", 9), seen("web-2", "expired", 3)], "up", 9, "; web-2 does not say"),
        ([seen("web-1", "expired", 9, "late"), seen("web-2", "expired", 3)], "expired", 3, "late"),
        ([seen("web-1", "maintenance", 9), seen("web-2", "up", 60)], "maintenance", 9, ""),
    ],
)  # fmt: skip
def test_hosts_are_put_together(
    members: list[Component], state: str, minutes_ago: int, reason: str
) -> None:
    """Up when all say up, down when all say down, else degraded with from where."""
    found = verdict(members)

    assert (found.state, found.reason) == (state, reason)
    assert found.since == NOW - timedelta(minutes=minutes_ago)


@given(st.lists(st.sampled_from(WORST_FIRST), min_size=1, max_size=5))
def test_one_row_is_never_better_than_all_nor_worse_than_all(states: list[str]) -> None:
    """A row is well only if everybody who has a result says so, and down only if all are."""
    members = [seen(f"web-{n}", state) for n, state in enumerate(states)]
    voting = [s for s in states if s not in {"expired", "unknown", "silent"}]

    state = verdict(members).state

    assert (state in WELL) == (bool(voting) and set(voting) <= WELL)
    assert (state in {"down", "dead"}) == (bool(voting) and set(voting) <= {"down", "dead"})


def test_days_of_several_hosts_are_one_bar() -> None:
    """An hour that one of two hosts missed it is half an hour down; the target stays."""
    well = [Day(date(2026, 7, 1), DAY_MS, 0, 0, 0, 0)] * 90
    ill = [*well[:-1], Day(date(2026, 7, 1), DAY_MS - HOUR_MS, 0, HOUR_MS, 0, 0)]
    uptimes = {
        ("probe", f"shop@{host}"): uptime("probe", f"shop@{host}", days, 0.99)
        for host, days in (("web-1", well), ("web-2", ill))
    }

    (row,) = rows([seen("web-1", "up"), seen("web-2", "up")], uptimes)

    assert row.uptime is not None
    assert (row.uptime.days[-1].down_ms, row.uptime.target) == (HOUR_MS // 2, 0.99)
    assert [day.down_ms for day in row.incidents] == [HOUR_MS // 2]


def named(name: str, state: str, kind: str = "exchange") -> Row:
    """A row without history."""
    return Row(kind, name, state, NOW - timedelta(minutes=4), "")


def said(*found: Row) -> tuple[str, str]:
    """The headline of some rows."""
    headline = health_words.headline(found, CLOCK)
    return headline.title, headline.support


def test_the_headline_is_a_fact() -> None:
    """It names what is not up, counts hosts, and tells announced closings beneath."""
    up = [named(f"n{n}", "up") for n in range(22)]
    until = {"announced_until_us": to_us(NOW.replace(hour=15, minute=0, second=0))}
    closed = replace(
        named("Coinbase", "maintenance"), members=(replace(seen("a", "maintenance"), facts=until),)
    )
    kraken = named("Kraken", "degraded")
    closing = "Coinbase is closed for announced maintenance until 15:00 UTC."

    assert said() == ("Nothing is looked at yet", "No host and no probe has reported.")
    assert said(*up) == ("Nothing is wrong", "22 components are up.")
    assert said(*up, kraken, named("edge-fra-2", "silent", "agent"), closed) == (
        "Kraken is degraded and one host is silent",
        f"The other 22 components are up. {closing}",
    )
    assert said(named("OKX", "expired"), kraken)[0] == "OKX gives no result and Kraken is degraded"
    assert said(named("shop", "down"))[0] == "shop is down"
    assert said(*[named(f"h{n}", "dead", "agent") for n in range(4)])[0] == "Four hosts are dead"
    assert said(*[named(f"x{n}", s) for n, s in enumerate(WORST_FIRST)])[0] == (
        "Seven components are not up"
    )
    assert health_words.word(closed, CLOCK) == "closed to 15:00"
    assert health_words.word(kraken, CLOCK) == "degraded 4 min"


def test_hosts_in_trouble_are_shown_and_the_others_counted() -> None:
    """Every host that is not well, a few that are, and a line for one more is never spent."""
    up = [named(f"host-{n}", "up", "agent") for n in range(15)]
    silent = named("zeta", "silent", "agent")

    shown, more = health.shown_hosts([*up, silent], every_host=False)

    assert [row.name for row in shown] == ["zeta", "host-0", "host-1", "host-10"]
    assert more == 12
    assert health.shown_hosts([*up, silent], every_host=True)[1] == 0
    assert health.shown_hosts(up[:4], every_host=False)[1] == 0


def collector(
    name: str, *, alive: bool = True, stopped: bool = False, **status: object
) -> Collector:
    """What a collector last said."""
    at = NOW - timedelta(seconds=90)
    return Collector(name, at, at, at if stopped else None, alive, dict(status))


def test_the_pipeline_tells_of_collectors_and_channels() -> None:
    """One that is gone degrades, one stopped on purpose does not; unused channels say nothing."""
    channels = {"ops": {"state": "ok"}, "mail": {"state": "broken", "error": "no"}, "sms": {}}
    one = collector("one", channels=channels)

    def states(*collectors: Collector) -> list[tuple[str, str]]:
        return [(row.name, row.state) for row in pipeline(collectors, None)]

    assert states(one) == [("Collector", "up"), ("mail", "down"), ("ops", "up")]
    assert states(collector("a"), collector("b", alive=False, stopped=True)) == [
        ("Collector", "up")
    ]
    assert states(collector("a"), collector("b", alive=False)) == [("Collectors", "degraded")]
    assert states(collector("a", alive=False)) == [("Collector", "silent")]
    failing = collector("a", failing_for_s=40, failing_reason="no space left on device")
    (row,) = pipeline([failing], None)
    assert (row.state, row.reason) == ("down", "commits fail: no space left on device")


def test_each_day_is_drawn_as_what_it_was() -> None:
    """What stands is measured, what hangs was not up, a closing is a stub, the rest is hatched."""
    day = date(2026, 7, 1)
    drawn = bars(
        [
            Day(day, DAY_MS, 0, 0, 0, 0),
            Day(day, DAY_MS - HOUR_MS, 0, HOUR_MS, 0, 0),
            Day(day, DAY_MS - 2 * HOUR_MS, 0, 0, 2 * HOUR_MS, 0),
            Day(day, HOUR_MS, 0, 0, 0, DAY_MS - HOUR_MS),
            Day(day, HOUR_MS, 0, 0, 0, HOUR_MS * 5),
        ]
    )

    # Of today, the last, an hour is enough.
    assert drawn.up == "M0 0h5v16h-5zM7 0h5v16h-5zM28 0h5v16h-5z"
    assert drawn.down.startswith("M7 17h5v")
    assert drawn.closed == "M14 12h5v4h-5z"
    assert drawn.unmeasured == "M21 0h5v16h-5z"
    assert (drawn.width, ABOVE + BELOW) == (33, 28)


@given(st.integers(0, DAY_MS), st.integers(0, DAY_MS))
def test_what_hangs_stays_inside_and_is_seen(down_ms: int, degraded_ms: int) -> None:
    """Whatever was not up is at least two units high, and both together never leave the chart."""
    down, degraded = hanging(down_ms, degraded_ms)

    assert down + degraded <= BELOW
    assert (down >= 2, degraded >= 2) == (down_ms > 0, degraded_ms > 0)
