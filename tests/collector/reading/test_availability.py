"""Shares and budgets."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.store.reading.availability import (
    BUDGET_DAYS,
    DAY_MS,
    HealthConfig,
    budget_left,
    seen_from_all,
    share_up,
)
from outrider_collector.store.reading.types import Day

MINUTE_MS = 60_000


def a_day(number: int, *cuts: int) -> Day:
    """A day that is cut into five parts."""
    marks = [0, *sorted(cuts), DAY_MS]
    parts = [later - sooner for sooner, later in pairwise(marks)]
    return Day(date(2026, 1, 1) + timedelta(days=number), *parts)


cuts = st.tuples(*[st.integers(0, DAY_MS)] * 4)
some_days = st.lists(cuts, min_size=1, max_size=100).map(
    lambda all_cuts: [a_day(number, *each) for number, each in enumerate(all_cuts)]
)


@given(some_days)
def test_share_is_a_share_and_blind_to_what_does_not_count(days: list[Day]) -> None:
    """Between 0 and 1; maintenance and the unmeasured change nothing, however long they are."""
    share = share_up(days)
    without = [day._replace(maintenance_ms=0, unmeasured_ms=0) for day in days]

    assert share == share_up(without)
    assert share is None or 0 <= share <= 1
    assert (share is None) == (not any(d.up_ms + d.degraded_ms + d.down_ms for d in days))


@given(some_days, st.floats(0, 1), st.integers(0, 99), st.integers(0, DAY_MS))
def test_more_time_down_never_gives_budget_back(
    days: list[Day], target: float, which: int, more_ms: int
) -> None:
    """Between 0 and 1, falls with time not up, rises with a lower target; old days do not count."""
    left = budget_left(days, target)
    worse = list(days)
    day = worse[which % len(worse)]
    worse[which % len(worse)] = day._replace(down_ms=day.down_ms + more_ms)

    assert 0 <= budget_left(worse, target) <= left <= budget_left(days, target / 2) <= 1
    assert left == budget_left(days[-BUDGET_DAYS:], target)


@pytest.mark.parametrize(
    ("down_minutes", "target", "left"),
    [
        (0, 0.999, 1.0),
        (21.6, 0.999, 0.5),
        (43.2, 0.999, 0.0),
        (300, 0.999, 0.0),
        (0, 1.0, 1.0),
        (0.001, 1.0, 0.0),
    ],
)
def test_what_a_target_allows(down_minutes: float, target: float, left: float) -> None:
    """99.9 % of thirty days allows 43.2 minutes; 100 % allows nothing."""
    down_ms = int(down_minutes * MINUTE_MS)
    days = [Day(date(2026, 1, 1), DAY_MS - down_ms, 0, down_ms, 0, 0)]

    assert budget_left(days, target) == pytest.approx(left, abs=1e-9)


@given(st.lists(cuts, min_size=1, max_size=5))
def test_places_count_the_same(places: list[tuple[int, ...]]) -> None:
    """What several places see is their mean: within what each saw, and never more than a day."""
    days = [a_day(0, *each) for each in places]
    (mean,) = seen_from_all([[day] for day in days])

    assert DAY_MS - 5 <= sum(mean[1:]) <= DAY_MS
    assert min(day.down_ms for day in days) <= mean.down_ms <= max(day.down_ms for day in days)


def test_targets_by_kind_and_name() -> None:
    """The first entry that fits decides; what none names has the common target."""
    config = HealthConfig(target=99.0, targets={"worker/pay/*": 99.99, "worker": 95.0})

    assert config.of("worker", "pay/w1@h") == pytest.approx(0.9999)
    assert config.of("worker", "etl/w1@h") == pytest.approx(0.95)
    assert config.of("agent", "7") == pytest.approx(0.99)
