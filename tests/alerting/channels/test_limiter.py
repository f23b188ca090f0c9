"""The limiter: windows, priority, holds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.channels.limiter import (
    TELEGRAM_CHAT,
    TELEGRAM_GROUP,
    Candidate,
    Limiter,
    Limits,
    Rate,
)


def candidate(
    number: int, conversation: str = "chat", priority: int = 1, limits: Limits = TELEGRAM_CHAT
) -> Candidate:
    """Make a candidate of the one bot."""
    return Candidate(number, "bot", conversation, priority, limits)


def test_a_chat_gets_one_message_a_second() -> None:
    """Ten messages for one chat leave at least a second apart, in order."""
    limiter, now, left = Limiter(), 0.0, []
    waiting = [candidate(number) for number in range(10)]

    while waiting:
        for chosen in limiter.choose(waiting, now):
            left.append((now, chosen.id))
            waiting.remove(chosen)
        now += 0.05

    assert [number for _, number in left] == list(range(10))
    assert all(b - a >= 1.0 for (a, _), (b, _) in pairwise(left))


def test_a_group_gets_twenty_messages_in_any_minute() -> None:
    """No minute of a group holds more than 20, however long messages waited before."""
    limiter, now, left = Limiter(), 0.0, []
    waiting = [candidate(number, "group", limits=TELEGRAM_GROUP) for number in range(50)]

    while waiting:
        for chosen in limiter.choose(waiting, now):
            left.append(now)
            waiting.remove(chosen)
        now += 0.5

    assert max(sum(t <= other < t + 60 for other in left) for t in left) <= 20


def test_a_bot_sends_no_more_than_thirty_a_second_over_all_chats() -> None:
    """A hundred chats at once leave at most 30 in any second."""
    limiter, now, left = Limiter(), 0.0, []
    waiting = [candidate(number, f"chat {number}") for number in range(100)]

    while waiting:
        for chosen in limiter.choose(waiting, now):
            left.append(now)
            waiting.remove(chosen)
        now += 0.1

    assert max(sum(t <= other < t + 1 for other in left) for t in left) <= 30


def test_critical_overtakes_what_waited_longer() -> None:
    """Of 500 warnings and one critical alert for a chat, the critical one leaves first."""
    limiter = Limiter()
    waiting = [candidate(number, priority=1) for number in range(500)]

    chosen = limiter.choose([*waiting, candidate(500, priority=2)], 0.0)

    assert [c.id for c in chosen] == [500]


def test_a_held_chat_does_not_hold_another() -> None:
    """After 429 only the chat concerned waits, exactly as long as it was told."""
    limiter = Limiter()
    limiter.hold_conversation("chat", 35.0)
    held, other = candidate(1), candidate(2, "other")

    assert [c.id for c in limiter.choose([held, other], 34.9)] == [2]
    assert [c.id for c in limiter.choose([held], 35.0)] == [1]


def test_a_hold_is_never_shortened() -> None:
    """A second, shorter hold does not lift the first."""
    limiter = Limiter()
    limiter.hold_sender("bot", 30.0)
    limiter.hold_sender("bot", 2.0)

    assert limiter.choose([candidate(1)], 10.0) == []
    assert limiter.free_at(candidate(1)) == 30.0


def test_departures_of_another_deliverer_count() -> None:
    """What somebody else sent into the chat delays our own message."""
    limiter = Limiter()
    limiter.departed("bot", "chat", TELEGRAM_CHAT, 100.0)

    assert limiter.choose([candidate(1)], 100.5) == []
    assert [c.id for c in limiter.choose([candidate(1)], 101.1)] == [1]


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=60),
)
def test_no_window_is_ever_overfull(steps: list[tuple[float, int, int]]) -> None:
    """Whatever arrives when, no window of any length holds more than its limit."""
    limits = Limits(sender=(Rate(4, 2.0),), conversation=(Rate(2, 1.5), Rate(3, 6.0)))
    limiter, now = Limiter(), 0.0
    waiting: list[Candidate] = []
    left: dict[str, list[float]] = {"bot": []}

    for number, (pause, chat, priority) in enumerate(steps):
        now += pause
        waiting.append(candidate(number, f"c{chat}", priority, limits))
        for chosen in limiter.choose(waiting, now):
            waiting.remove(chosen)
            left["bot"].append(now)
            left.setdefault(chosen.conversation, []).append(now)

    for name, times in left.items():
        for rate in limits.sender if name == "bot" else limits.conversation:
            for start in times:
                assert sum(start <= t < start + rate.period_s for t in times) <= rate.limit
