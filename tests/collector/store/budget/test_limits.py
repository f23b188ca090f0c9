"""At which fill what is done, and until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.store.budget.limits import (
    GB,
    Budget,
    Level,
    Measured,
    Room,
    Wanted,
    budget_of,
    is_full,
    level,
    used_of,
)

BUDGET = Budget(100 * GB, is_disk=False)


def levels(*shares: float) -> list[Level]:
    """The levels as the store goes through these fills."""
    found = [Level.WELL]
    for share in shares:
        found.append(level(found[-1], int(share * BUDGET.limit_bytes), BUDGET))
    return found[1:]


def test_what_is_begun_at_one_fill_ends_at_a_lower_one() -> None:
    """90 % sheds until 85, 95 % holds until 92: a fill that moves a little changes nothing."""
    well, shed, hold = Level.WELL, Level.SHED, Level.HOLD
    assert levels(0.89, 0.90, 0.89, 0.85, 0.84) == [well, shed, shed, shed, well]
    assert levels(0.94, 0.95, 0.94, 0.92, 0.919, 0.94, 0.84) == [
        shed, hold, hold, hold, shed, shed, well
    ]  # fmt: skip
    assert levels(0.99, 0.5) == [hold, well]


@given(st.integers(1, 10**15), st.booleans(), st.integers(0, 2 * 10**15), st.sampled_from(Level))
def test_limits_are_in_order_and_a_level_that_is_reached_stays(
    limit: int, is_disk: bool, used: int, before: Level
) -> None:
    """Whatever the budget: shedding comes first, and the same fill twice gives the same level."""
    budget = Budget(limit, is_disk)
    assert budget.shed_until <= budget.shed_from <= budget.hold_until <= budget.hold_from <= limit
    once = level(before, used, budget)
    assert level(once, used, budget) is once
    assert level(before, used, None) is Level.WELL


def test_of_a_large_disk_the_margins_are_gigabytes() -> None:
    """A terabyte of logs beside 40 GB of room is no emergency; 9 GB of room are."""

    def at(free: int) -> Level:
        measured = Measured(1_000 * GB, 0, free)
        return level(Level.WELL, measured.used_bytes, budget_of(Wanted(), measured))

    assert [at(40 * GB), at(19 * GB), at(9 * GB)] == [Level.WELL, Level.SHED, Level.HOLD]


def test_the_budget_is_what_binds_first() -> None:
    """A budget beyond the disk protects nobody; without a word the disk is it, where it is seen."""
    seen, unseen = Measured(10 * GB, GB, 20 * GB), Measured(10 * GB, GB, None)
    # A log that fills the disk binds before a budget that does not count it.
    assert budget_of(Wanted(20 * GB), Measured(10 * GB, 30 * GB, GB)) == Budget(
        41 * GB, is_disk=True
    )

    assert budget_of(Wanted(20 * GB), seen) == Budget(20 * GB, is_disk=False)
    assert budget_of(Wanted(200 * GB), seen) == Budget(31 * GB, is_disk=True)
    assert budget_of(Wanted(), seen) == Budget(31 * GB, is_disk=True)
    assert budget_of(Wanted(200 * GB), unseen) == Budget(200 * GB, is_disk=False)
    assert budget_of(Wanted(), unseen) is None
    assert budget_of(Wanted(is_off=True), seen) is None


def test_the_write_ahead_log_never_fills_a_budget_that_is_no_disk() -> None:
    """Its size is the server's choice, which no shedding changes. Of a disk it counts."""
    measured = Measured(GB // 5, 2 * GB, None)
    budget = budget_of(Wanted(GB), measured)

    assert budget is not None
    assert level(Level.WELL, used_of(budget, measured), budget) is Level.WELL
    assert Room(budget, measured.wal_bytes).used_bytes(measured.database_bytes) == GB // 5
    disk = Budget(GB, is_disk=True)
    assert used_of(disk, measured) == Room(disk, 2 * GB).used_bytes(GB // 5) == measured.used_bytes


def test_a_budget_that_no_disk_enforces_is_full_at_all_of_it() -> None:
    """From 100 % until 98: nothing is taken. A disk refuses by itself."""
    rooms = [Room(BUDGET, 50 * GB), Room(Budget(GB, is_disk=True), 0)]
    found, full = [], False
    for share in (99, 100, 99, 98, 97, 99):
        full = is_full(rooms, share * GB, was_full=full)
        found.append(full)
    assert found == [False, True, True, True, False, False]
    assert not is_full(rooms[1:], 1000 * GB, was_full=True)
