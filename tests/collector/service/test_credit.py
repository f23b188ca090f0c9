"""The credit budget: windows, rotation, and a sum that never exceeds the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.ingest.credit import FAST_COMMIT_MS, KIB, SLOW_COMMIT_MS, CreditBudget

START = 256 * KIB


def test_new_agents_get_the_start_window_while_there_is_room() -> None:
    """Agents beyond the budget hold zero and wait."""
    budget = CreditBudget(4 * START)

    assert [budget.join(n) for n in range(6)] == [START] * 4 + [0, 0]
    assert budget.waiting == 2


def test_window_that_was_filled_doubles_after_a_fast_commit() -> None:
    """Only an agent that used its window gets a wider one, up to the greatest."""
    budget = CreditBudget(64 * START)
    budget.join(1)
    budget.join(2)
    for _ in range(8):
        budget.received(1, budget.window(1), 0)
        budget.settled(1, budget.window(1), 0)
        budget.committed(FAST_COMMIT_MS)

    assert (budget.window(1), budget.window(2)) == (16 * START, START)


def test_slow_commit_halves_windows_down_to_the_start() -> None:
    """A slow database is answered by narrower windows, not below the start window."""
    budget = CreditBudget(64 * START)
    budget.join(1)
    budget.received(1, START, 0)
    assert budget.committed(FAST_COMMIT_MS) == [1]
    assert budget.committed(SLOW_COMMIT_MS + 1) == [1]
    assert budget.committed(SLOW_COMMIT_MS + 1) == []

    assert budget.window(1) == START


def test_turns_hand_windows_round_to_every_agent() -> None:
    """With more agents than windows each gets one in turn."""
    budget = CreditBudget(2 * START)
    for n in range(5):
        budget.join(n)
    served = {n for n in range(5) if budget.window(n)}
    for _ in range(4):
        budget.turn()
        served |= {n for n in range(5) if budget.window(n)}

    assert served == set(range(5))


def test_idle_agents_lose_their_window_before_busy_ones() -> None:
    """Who did not use a window gives it up first."""
    budget = CreditBudget(2 * START)
    for n in (1, 2, 3):
        budget.join(n)
    budget.received(1, 10, 10)
    budget.turn()

    assert (budget.window(1), budget.window(2), budget.window(3)) == (START, 0, START)


def test_agent_without_credit_may_send_one_message_at_a_time() -> None:
    """With a window of zero a watermark is read, a second one after the first is settled."""
    budget = CreditBudget(START)
    budget.join(1)
    budget.join(2)
    assert budget.may_read(2)
    budget.received(2, 100, 600)
    assert not budget.may_read(2)
    budget.settled(2, 100, 600)

    assert budget.may_read(2)


def test_full_memory_stops_reading_from_everybody() -> None:
    """The budget binds what is held in memory, decompressed, whatever windows say."""
    budget = CreditBudget(2 * START)
    budget.join(1)
    budget.join(2)
    budget.received(1, 1_000, 2 * START)

    assert not budget.may_read(2)


def test_withdrawn_credit_stays_withdrawn() -> None:
    """When a collector stops nobody gets a window any more."""
    budget = CreditBudget(4 * START)
    budget.join(1)
    assert budget.withdraw() == [1]
    budget.join(2)
    budget.turn()
    budget.committed(1.0)

    assert (budget.window(1), budget.window(2)) == (0, 0)


def test_held_credit_comes_back_in_turns() -> None:
    """While the store is nearly full nobody has a window, newcomers neither; then all have again.

    One message at a time is read meanwhile: of it, and of no more, what is vital is made.
    """
    budget = CreditBudget(4 * START)
    for n in (1, 2):
        budget.join(n)
    assert budget.hold(on=True) == [1, 2]
    assert budget.hold(on=True) == []
    assert budget.join(3) == 0
    budget.turn()
    budget.committed(1.0)
    assert [budget.window(n) for n in (1, 2, 3)] == [0, 0, 0]
    assert budget.may_read(1)
    budget.received(1, 100, 600)
    assert not budget.may_read(1)
    budget.settled(1, 100, 600)

    assert sorted(budget.hold(on=False)) == [1, 2, 3]
    assert [budget.window(n) for n in (1, 2, 3)] == [START] * 3


Act = st.tuples(
    st.sampled_from(["join", "leave", "receive", "settle", "turn", "fast", "slow", "hold", "free"]),
    st.integers(0, 7),
    st.integers(1, 2 * START),
)


@given(st.lists(Act, max_size=80))
def test_windows_never_exceed_the_budget(acts: list[tuple[str, int, int]]) -> None:
    """Whatever agents do within their windows, the budget is never exceeded, nothing leaks."""
    budget = CreditBudget(5 * START)
    joined: set[int] = set()
    held: list[tuple[int, int]] = []
    for act, n, size in acts:
        if act == "join" and n not in joined and not any(s == n for s, _ in held):
            budget.join(n)
            joined.add(n)
        elif act == "leave" and n in joined:
            budget.leave(n)
            joined.discard(n)
        elif act == "receive" and n in joined:
            sent = min(size, budget.window(n) - budget.in_flight(n))
            if sent > 0:
                budget.received(n, sent, sent)
                held.append((n, sent))
        elif act in {"hold", "free"}:
            budget.hold(on=act == "hold")
        elif act == "settle" and held:
            session, sent = held.pop(0)
            budget.settled(session, sent, sent)
        elif act == "turn":
            budget.turn()
        elif act == "fast":
            budget.committed(1.0)
        elif act == "slow":
            budget.committed(10_000.0)
        assert 0 <= budget.granted_bytes <= 5 * START
        assert budget.held_bytes == sum(sent for _, sent in held)
    for session, sent in held:
        budget.settled(session, sent, sent)
    for n in joined:
        budget.leave(n)
    assert (budget.granted_bytes, budget.held_bytes) == (0, 0)
