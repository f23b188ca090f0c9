"""The clocks of a look: the end of its time, and what it writes down of the hour."""

from __future__ import annotations

import time

from outrider.instants import from_unix_us


class Deadline:
    """A moment of the monotonic clock that every wait of a look is bounded by.

    However many steps a look has, together they take no longer than its time.
    """

    __slots__ = ("_ends", "_started", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._started = time.monotonic()
        self._ends = self._started + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when none are."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self.timeout_s:g} s")
        return left

    def took_ms(self) -> float:
        """Return the milliseconds since the look began."""
        return (time.monotonic() - self._started) * 1_000


def now_us() -> int:
    """Return this host's clock, microseconds since 2000."""
    return from_unix_us(time.time_ns() // 1_000)
