"""When the budget is used up, if it goes on as in the last day. Pure.

A class of records takes its bytes a day, kept for so many days: it grows until retention drops as
much as comes. What is there now goes at known days. So a store can grow every day and never be
full, and one of which much will go next week can be full before.

Days are those of event time, which is that of arrival but for what arrives late.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

HORIZON_DAYS: Final = 400
LEAST_AGE: Final = timedelta(hours=1)
"""A store that has taken logs for less long says nothing about a day."""
_DAY: Final = timedelta(days=1)


class Table(NamedTuple):
    """One table of a class."""

    begin: datetime
    span: timedelta
    """A day, or a month."""
    size_bytes: int


class Stock(NamedTuple):
    """A class of records: what there is of it, and how long it is kept."""

    label: str
    kept: timedelta
    tables: Sequence[Table]

    @property
    def size_bytes(self) -> int:
        """All there is of it now."""
        return sum(table.size_bytes for table in self.tables)


class Course(NamedTuple):
    """How one class will go on."""

    label: str
    kept: timedelta
    now_bytes: int
    a_day_bytes: float
    """What came in the last day, once compacted: what a day of retention costs."""
    then_bytes: float
    """When retention drops as much as comes."""


class Forecast(NamedTuple):
    """How the whole store will go on."""

    courses: Sequence[Course]
    fixed_bytes: int
    """What belongs to no class: fresh blocks, alerts, health; of a disk the write-ahead log."""
    limit_bytes: int | None
    full_in_days: float | None
    """None: not within HORIZON_DAYS, or there is no limit."""
    most_bytes: float
    """The most there will be within HORIZON_DAYS."""
    is_known: bool
    """False: it has not taken logs for long enough."""

    @property
    def a_day_bytes(self) -> float:
        """What came in the last day."""
        return sum(course.a_day_bytes for course in self.courses)

    @property
    def full_in_s(self) -> float | None:
        """As ``full_in_days``, in seconds."""
        return None if self.full_in_days is None else self.full_in_days * _DAY.total_seconds()


def forecast(
    stocks: Sequence[Stock],
    used_bytes: int,
    limit_bytes: int | None,
    now: datetime,
    since: datetime | None,
) -> Forecast:
    """Say how the store goes on from ``now``; it has taken logs since ``since`` (None: none)."""
    age = now - since if since is not None else timedelta()
    fixed_bytes = max(0, used_bytes - sum(stock.size_bytes for stock in stocks))
    rates = [a_day(stock, now, age) for stock in stocks]
    courses = [
        Course(
            stock.label,
            stock.kept,
            stock.size_bytes,
            rate,
            # A table goes when its newest record is old enough: a part of one more is there.
            rate * ((stock.kept + _span(stock)) / _DAY),
        )
        for stock, rate in zip(stocks, rates, strict=True)
    ]
    is_known = age >= LEAST_AGE
    steps = list(_steps(stocks, rates, used_bytes, now))
    return Forecast(
        courses,
        fixed_bytes,
        limit_bytes,
        _crossing(steps, limit_bytes) if is_known and limit_bytes is not None else None,
        max(step.most_bytes for step in steps),
        is_known,
    )


def a_day(stock: Stock, now: datetime, age: timedelta) -> float:
    """Return how many bytes a day came lately: of a day or month, the part that is over counts.

    The rest of it is taken from the one before.
    """
    if age <= timedelta():
        return 0.0
    lately = sorted(table for table in stock.tables if table.begin <= now)[-2:]
    if not lately:
        return 0.0
    span = lately[-1].span
    window = min(age, span)
    came = 0.0
    for table in lately:
        overlap = min(now, table.begin + table.span) - max(now - window, table.begin)
        # Of one that is not over, all that there is came in the part that is.
        there = min(now, table.begin + table.span) - max(now - age, table.begin)
        if overlap > timedelta() and there > timedelta():
            came += table.size_bytes * (overlap / there)
    return came / (max(window, LEAST_AGE) / _DAY)


def _span(stock: Stock) -> timedelta:
    return max((table.span for table in stock.tables), default=_DAY)


class _Step(NamedTuple):
    """A time in which nothing goes, and the store grows evenly."""

    from_day: float
    to_day: float
    begin_bytes: float
    a_day_bytes: float

    @property
    def most_bytes(self) -> float:
        return self.begin_bytes + self.a_day_bytes * (self.to_day - self.from_day)


def _steps(
    stocks: Sequence[Stock], rates: Sequence[float], used_bytes: int, now: datetime
) -> Iterator[_Step]:
    """Yield the times between one table's end and the next, up to the horizon."""
    # From that day on: so many bytes more, and so many a day more.
    changes: list[tuple[float, float, float]] = [(HORIZON_DAYS, 0, 0)]
    for stock, rate in zip(stocks, rates, strict=True):
        for table in stock.tables:
            goes = (table.begin + table.span + stock.kept - now) / _DAY
            changes.append((max(0.0, goes), -table.size_bytes, 0))
        changes.append(((stock.kept + _span(stock)) / _DAY, 0, -rate))
    day, total, growth = 0.0, float(used_bytes), sum(rates)
    for then, more_bytes, more_a_day in sorted(changes):
        end = min(then, HORIZON_DAYS)
        step = _Step(day, end, total, growth)
        yield step
        day, total = end, max(0.0, step.most_bytes + more_bytes)
        growth = max(0.0, growth + more_a_day)


def _crossing(steps: Sequence[_Step], limit_bytes: int) -> float | None:
    """Return after how many days the limit is reached."""
    for step in steps:
        if step.most_bytes >= limit_bytes:
            missing = max(0.0, limit_bytes - step.begin_bytes)
            return step.from_day + (missing / step.a_day_bytes if missing else 0.0)
    return None
