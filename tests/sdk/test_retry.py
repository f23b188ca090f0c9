"""The one retry: what is repeated, when, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.errors import Fault, RetryClass
from outrider.retry import Backoff, Verdict, retry, retry_sync

if TYPE_CHECKING:
    from collections.abc import Callable


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """The time now, seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        """Move on."""
        self.sleep(seconds)


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """A function that fails so many times, and the list of its calls."""
    calls: list[int] = []

    def call() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return call, calls


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 60))
def test_waits_are_jittered_above_the_floor(random: float, floor_s: float) -> None:
    """A wait is between the server's delay and that plus the bound, which doubles to the cap."""
    backoff = Backoff(0.2, 5.0, random=lambda: random)
    for bound_s in (0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        wait_s = backoff.next(floor_s)
        assert floor_s <= wait_s <= floor_s + max(bound_s, floor_s / 10)
    backoff.reset()
    assert backoff.next() <= 0.2


def test_everybody_told_the_same_delay_comes_at_different_times() -> None:
    """Over a long server delay the jitter is a share of it, not of the small first bound."""
    assert Backoff(random=lambda: 0.99).next(60.0) > 65.0


def test_a_safe_failure_is_repeated_until_it_works() -> None:
    """SAFE is repeated with backoff; the result is returned."""
    time, (call, calls) = Time(), failing(3, Fault("COLLECTOR_STOPPING"))

    result = retry_sync(call, deadline_s=60, clock=time.clock, sleep=time.sleep,
                        backoff=Backoff(random=lambda: 1.0))  # fmt: skip

    assert (result, len(calls), time.slept) == ("done", 4, [0.2, 0.4, 0.8])


@pytest.mark.parametrize("error", [Fault("ORDER_OUTCOME_UNKNOWN"), Fault("TOKEN_REVOKED"),
                                   Fault("MY_OWN"), ValueError("x")])  # fmt: skip
def test_what_may_not_be_repeated_is_raised_at_once(error: Exception) -> None:
    """NEVER, VERIFY and whatever is unknown are raised after the first attempt."""
    time, (call, calls) = Time(), failing(9, error)

    with pytest.raises(type(error)):
        retry_sync(call, deadline_s=60, clock=time.clock, sleep=time.sleep)
    assert len(calls) == 1


def test_the_deadline_spans_all_attempts() -> None:
    """No wait is begun that would pass the deadline; the last failure is raised."""
    time, (call, _) = Time(), failing(1000, Fault("COLLECTOR_BUSY", retry_after_s=3.0))

    with pytest.raises(Fault, match="COLLECTOR_BUSY"):
        retry_sync(call, deadline_s=10, clock=time.clock, sleep=time.sleep)
    assert time.now < 110
    assert all(wait >= 3 for wait in time.slept)


async def test_the_async_twin_does_the_same() -> None:
    """The coroutine repeats as the function does, with a verdict of the caller's own."""
    time, (call, calls) = Time(), failing(2, OSError())

    async def attempt() -> str:
        return call()

    result = await retry(
        attempt,
        deadline_s=60,
        classify=lambda _: Verdict(RetryClass.AFTER, 1.0),
        clock=time.clock,
        sleep=time.sleep_async,
        backoff=Backoff(random=lambda: 0.0),
    )

    assert (result, len(calls), time.slept) == ("done", 3, [1.0, 1.0])


async def test_cancellation_is_not_retried() -> None:
    """CancelledError passes through."""
    import asyncio

    async def attempt() -> str:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await retry(attempt, deadline_s=60, classify=lambda _: Verdict(RetryClass.SAFE))


def test_a_backoff_needs_sensible_bounds() -> None:
    """A base above the cap is a mistake of the caller's."""
    with pytest.raises(ValueError, match="base_s"):
        Backoff(6, 5)
