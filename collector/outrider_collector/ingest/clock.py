"""The database's clock as this process estimates it, between measurements half a minute apart.

The monotonic clock carries the last measurement on, so a step of this host's wall clock changes
nothing. A measurement is taken at the middle of its round trip; one that took long says little and
is only taken when the last good one has grown old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.instants import from_unix_us

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD_ROUND_TRIP_S = 0.1
OLD_AFTER_S = 300.0


class DatabaseClock:
    """Tells database time in microseconds since 2000."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # Until the database was asked, this host's clock must do.
        self._at_s = monotonic()
        self._then_us = from_unix_us(int(wall() * 1e6))
        self._measured = False

    def now_us(self) -> int:
        """Return the database's time now, estimated."""
        return self._then_us + int((self._monotonic() - self._at_s) * 1e6)

    def measured(self, database_us: int, asked_s: float, answered_s: float) -> None:
        """Take a measurement; the times are the monotonic clock's before and after the question."""
        slow = answered_s - asked_s > GOOD_ROUND_TRIP_S
        if slow and self._measured and answered_s - self._at_s < OLD_AFTER_S:
            return
        self._at_s = (asked_s + answered_s) / 2
        self._then_us = database_us
        self._measured = True
