"""The database's clock as this host can know it: the midpoint of a question and its answer."""

from __future__ import annotations

MAX_ROUND_TRIP_US = 2_000_000
"""A slower answer says too little about the clock."""


class SteadyAge:
    """The age of something whose time the wall clock told, once it was seen: blind to its steps.

    The wall clock says how old it is when it is new. Afterwards it may be set as it likes; and what
    is new is no older than the look before, or at the first look than the host: monotonic seconds
    count from its start.
    """

    def __init__(self) -> None:
        self._told_us = 0
        self._since_s: float | None = None
        self._looked_s = 0.0

    def look(self, told_us: int, now_us: int, now_s: float) -> float:
        """Return its age in seconds; ``told_us`` and ``now_us`` are the wall clock's."""
        if self._since_s is None or self._told_us != told_us:
            age_s = (now_us - told_us) / 1e6
            # Older than the look before, or at the first look than the host: the clock was set.
            is_possible = 0 <= age_s <= now_s - self._looked_s
            self._told_us, self._since_s = told_us, now_s - (age_s if is_possible else 0.0)
        self._looked_s = now_s
        return now_s - self._since_s


class DatabaseClock:
    """Database time minus this host's time, microseconds."""

    def __init__(self) -> None:
        self.offset_us = 0
        self._round_trip_us = MAX_ROUND_TRIP_US

    def sample(self, sent_us: int, database_us: int, received_us: int) -> bool:
        """Take a question's and its answer's times; True when the offset changed.

        A quick answer is better than a slow one, but an old one gets worse: what was measured
        before counts a little less each time.
        """
        round_trip_us = received_us - sent_us
        if not 0 <= round_trip_us <= MAX_ROUND_TRIP_US or database_us <= 0:
            return False
        if round_trip_us > self._round_trip_us:
            self._round_trip_us = self._round_trip_us * 5 // 4 + 100
            return False
        self._round_trip_us = max(round_trip_us, 100)
        offset_us = database_us - (sent_us + received_us) // 2
        changed, self.offset_us = offset_us != self.offset_us, offset_us
        return changed
