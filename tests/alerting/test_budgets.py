"""Budgets: who takes more than a tenth of the time for long is found, a burst is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.budgets import DRAIN, ENTRY_MAX_S, LIMIT_S, Budgets, Overspent


def spend(costs: list[tuple[float, float]], allowed_s: float = 0.0) -> list[Overspent | None]:
    """Enter (seconds since the one before, cost)."""
    budgets: Budgets[str] = Budgets()
    now_s, found = 0.0, []
    for passed_s, cost_s in costs:
        now_s += passed_s
        found.append(budgets.spend("r", cost_s, allowed_s=allowed_s, now_s=now_s))
    return found


def test_half_of_the_time_is_too_much_after_some_seconds() -> None:
    """What is told is the share of the time that passed."""
    found = spend([(1.0, 0.5)] * 10)

    assert found[:7] == [None] * 7
    over = next(filter(None, found))
    assert over.share_pct in range(50, 55)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=60))
def test_a_tenth_of_the_time_is_never_too_much(passed: list[float]) -> None:
    """However it is spread over entries."""
    assert not any(spend([(p, DRAIN * p * 0.99) for p in passed]))


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60), st.floats(0.0, 5.0))
def test_what_is_allowed_for_the_work_costs_nothing(costs: list[float], more: float) -> None:
    """Work within its allowance leaves no debt and takes no room, however much it is."""
    budgets: Budgets[str] = Budgets()
    for now_s, cost_s in enumerate(costs):
        assert budgets.spend("r", cost_s, allowed_s=cost_s + more, now_s=float(now_s)) is None
    assert len(budgets) == 0


def test_one_entry_is_never_enough() -> None:
    """A process that stood still within one entry has not shown what a rule costs."""
    assert spend([(1.0, 1_000.0)]) == [None]
    assert int(LIMIT_S // ENTRY_MAX_S) >= 3


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.0, 2.0)), min_size=1, max_size=40))
def test_who_is_overspent_took_more_than_a_tenth_and_the_limit(
    costs: list[tuple[float, float]],
) -> None:
    """Nobody is found who took less altogether."""
    if any(spend(costs)):
        assert sum(cost for _, cost in costs) > LIMIT_S
