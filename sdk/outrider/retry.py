"""The one retry: full jitter, the server's delay as a floor, one deadline over all attempts.

What may be repeated is decided by the failure's class (:class:`outrider.errors.RetryClass`), never
by the caller's mood: NEVER and VERIFY are raised at once, SAFE waits a random part of a growing
bound, AFTER waits at least what the server asked for. Retry at one layer only: what is called in
here must not retry by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from outrider.errors import Fault, RetryClass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

# Jitter over a server's delay is at least this share of it: everybody who was told "in 5 s" must
# not come back in the same instant.
_FLOOR_SPREAD = 0.1


class Backoff:
    """Growing waits with full jitter: uniform between 0 and min(cap, base * 2^n)."""

    def __init__(
        self,
        base_s: float = 0.2,
        cap_s: float = 5.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        """Begin at ``base_s`` seconds and never wait longer than ``cap_s`` (a floor aside)."""
        if not 0 < base_s <= cap_s:
            raise ValueError(f"base_s {base_s} must be above 0 and not above cap_s {cap_s}")
        self._base_s = base_s
        self._cap_s = cap_s
        self._random = random
        self._bound_s = base_s

    def next(self, floor_s: float = 0.0) -> float:
        """Seconds to wait now: ``floor_s`` (what a server asked for) plus jitter."""
        spread_s = max(self._bound_s, floor_s * _FLOOR_SPREAD) if floor_s > 0 else self._bound_s
        self._bound_s = min(self._cap_s, self._bound_s * 2)
        return max(0.0, floor_s) + self._random() * spread_s

    def reset(self) -> None:
        """Begin anew after a success."""
        self._bound_s = self._base_s


class Verdict(NamedTuple):
    """What a failure allows: its class, and the delay a server asked for, in seconds."""

    retry: RetryClass
    after_s: float = 0.0


def classify(error: Exception) -> Verdict:
    """Judge a :class:`Fault` by its class; any other exception is NEVER: nothing is known of it."""
    if isinstance(error, Fault):
        return Verdict(error.retry, error.retry_after_s or 0.0)
    return Verdict(RetryClass.NEVER)


def _wait_s(
    error: Exception,
    classify: Callable[[Exception], Verdict],
    backoff: Backoff,
    remaining_s: float,
) -> float | None:
    """Seconds until the next attempt, or None when there must be none."""
    verdict = classify(error)
    if verdict.retry not in {RetryClass.SAFE, RetryClass.AFTER}:
        return None
    floor_s = verdict.after_s if verdict.retry is RetryClass.AFTER else 0.0
    wait_s = backoff.next(floor_s)
    return wait_s if wait_s < remaining_s else None


async def retry(
    fn: Callable[[], Awaitable[T]],
    *,
    deadline_s: float,
    classify: Callable[[Exception], Verdict] = classify,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    backoff: Backoff | None = None,
) -> T:
    """Await ``fn()`` until it succeeds, may not be repeated, or ``deadline_s`` seconds are used up.

    The deadline spans all attempts and waits; a wait that would pass it is not begun. Raises the
    last attempt's own error. It does not interrupt an attempt: give ``fn`` a time-out of its own.
    """
    end = clock() + deadline_s
    waits = backoff or Backoff()
    while True:
        try:
            return await fn()
        except Exception as error:
            wait_s = _wait_s(error, classify, waits, end - clock())
            if wait_s is None:
                raise
        await sleep(wait_s)


def retry_sync(
    fn: Callable[[], T],
    *,
    deadline_s: float,
    classify: Callable[[Exception], Verdict] = classify,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    backoff: Backoff | None = None,
) -> T:
    """:func:`retry` for code without an event loop."""
    end = clock() + deadline_s
    waits = backoff or Backoff()
    while True:
        try:
            return fn()
        except Exception as error:
            wait_s = _wait_s(error, classify, waits, end - clock())
            if wait_s is None:
                raise
        sleep(wait_s)
