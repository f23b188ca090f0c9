"""When the budget is used up: a forecast that knows what retention will drop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.store.budget.forecast import Forecast, Stock, Table, forecast
from outrider_collector.store.budget.limits import Budget, Level, Measured
from outrider_collector.store.budget.services import Quota, Written
from outrider_collector.store.budget.words import judge

DAY = timedelta(days=1)
GB = 1_000_000_000
NOON = datetime(2031, 5, 20, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=500)


def stock(kept_days: int, *sizes: int, now: datetime = NOON) -> Stock:
    """Tables of the days up to today, today's last."""
    today = now.replace(hour=0)
    tables = [Table(today - (len(sizes) - 1 - i) * DAY, DAY, size) for i, size in enumerate(sizes)]
    return Stock("app", kept_days * DAY, tables)


def ahead(one: Stock, limit: int | None, *, fixed: int = 0, since: datetime = LONG_AGO) -> Forecast:
    """A forecast of one class at noon."""
    return forecast([one], one.size_bytes + fixed, limit, NOON, since)


def test_a_store_that_retention_holds_is_never_full() -> None:
    """As much goes as comes: however long it goes on, it stays where it is."""
    coming = ahead(stock(3, 10 * GB, 10 * GB, 10 * GB, 5 * GB), 50 * GB)

    assert coming.full_in_days is None
    assert coming.a_day_bytes == 10 * GB
    assert coming.most_bytes <= 50 * GB


def test_a_store_that_grows_is_full_on_the_day_that_its_rate_says() -> None:
    """Nothing is old enough to go yet: what is free, by what comes a day."""
    coming = ahead(stock(30, 10 * GB, 10 * GB, 5 * GB), 145 * GB)

    assert coming.full_in_days == pytest.approx(12.0)


def test_what_will_go_next_week_is_known() -> None:
    """A large old day that goes tomorrow leaves its room to what comes."""
    with_old = stock(2, 60 * GB, 10 * GB, 5 * GB)

    assert ahead(with_old, 100 * GB).full_in_days is None
    assert ahead(with_old, 80 * GB).full_in_days == pytest.approx(0.5, abs=0.01)


def test_what_belongs_to_no_class_stays() -> None:
    """Alerts, health and the write-ahead log take their room for good."""
    assert ahead(stock(30, 10 * GB, 5 * GB), 145 * GB, fixed=10 * GB).full_in_days == pytest.approx(
        12.0
    )


def test_a_young_store_says_that_it_is_too_early_then_counts_from_its_beginning() -> None:
    """Half an hour says nothing of a day; six hours are a quarter of one."""
    today = stock(30, 5 * GB)
    assert not ahead(today, 100 * GB, since=NOON - timedelta(minutes=30)).is_known
    assert ahead(today, 100 * GB, since=NOON - timedelta(hours=6)).a_day_bytes == 20 * GB
    assert not forecast([], 0, 100 * GB, NOON, None).is_known


def test_a_month_counts_as_a_day_does() -> None:
    """The audit log's rows lie in months."""
    month = datetime(2031, 5, 1, tzinfo=UTC)
    rows = Stock("audit log", 400 * DAY, [Table(month, 31 * DAY, 39 * GB)])
    coming = forecast([rows], 39 * GB, 139 * GB, NOON, month)

    assert coming.a_day_bytes == pytest.approx(2 * GB)
    assert coming.full_in_days == pytest.approx(50)


@given(
    st.lists(st.integers(0, 10**12), max_size=40),
    st.integers(0, 60),
    st.integers(1, 10**13),
    st.floats(0, 800),
)
def test_a_forecast_holds_together(
    sizes: list[int], kept_days: int, limit: int, age_days: float
) -> None:
    """It is full exactly where the most there will be reaches the limit."""
    coming = ahead(stock(kept_days, *sizes), limit, since=NOON - age_days * DAY)

    assert coming.a_day_bytes >= 0
    if coming.is_known:
        assert (coming.full_in_days is not None) == (coming.most_bytes >= limit)
    else:
        assert coming.full_in_days is None


BUDGET = Budget(100 * GB, is_disk=False)


def said(
    used: int, now_level: Level, coming: Forecast | None, budget: Budget | None = BUDGET
) -> str:
    """State and reason."""
    return ": ".join(judge(Measured(used, 0, None), budget, now_level, coming))


def test_the_line_says_what_decides() -> None:
    """How full, until when, and what is done about it."""
    grows = ahead(stock(30, 10 * GB, 10 * GB, 5 * GB), 145 * GB)
    soon = ahead(stock(30, 10 * GB, 10 * GB, 5 * GB), 50 * GB)
    stays = ahead(stock(3, 10 * GB, 10 * GB, 10 * GB, 5 * GB), 100 * GB)

    assert said(25 * GB, Level.WELL, grows) == (
        "up: 25.0 GB of 100.0 GB (25 %), full in 12 days at the last day's rate, 10.0 GB a day"
    )
    assert said(25 * GB, Level.WELL, soon).startswith("degraded: 25.0 GB of 100.0 GB (25 %), full")
    assert "(35 %), stays under it, at most 4" in said(35 * GB, Level.WELL, stays)
    assert said(91 * GB, Level.SHED, grows) == (
        "degraded: 91.0 GB of 100.0 GB (91 %): debug records go before their time"
    )
    assert said(96 * GB, Level.HOLD, grows) == (
        "down: 96.0 GB of 100.0 GB (96 %): agents keep all but audit records and errors"
    )
    assert said(25 * GB, Level.WELL, None, None) == "up: 25.0 GB, without a budget"
    disk = said(25 * GB, Level.WELL, None, Budget(50 * GB, is_disk=True))
    assert disk == "up: 25.0 GB of the disk's 50.0 GB (50 %)"


def test_a_service_over_its_quota_is_named() -> None:
    """It is a warning: nothing of it is dropped."""
    quota = Quota(2 * GB, {"trading": 10 * GB})
    judged = judge(
        Measured(25 * GB, 0, None), BUDGET, Level.WELL, None, [Written("bots", 3 * GB, 9)], quota
    )

    assert judged.state == "degraded"
    assert judged.reason.startswith("service bots wrote 3.0 GB in a day, more than its 2.0 GB; ")
