"""Lengths of time: ``90s``, ``5m``, ``1h30m`` in rules, ``1 h 30 min`` when told to people.

All times in this package are integers of microseconds: instants since 2000-01-01T00:00:00Z (as in
batches and in Postgres), lengths plain.
"""

from __future__ import annotations

from typing import Final

from outrider import durations
from outrider.durations import UNITS_US, microseconds
from outrider.instants import from_us

MS_US: Final = 1_000
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US


class Duration:
    """A length of time as somebody wrote it, e.g. ``Duration("1h30m").us``.

    Raises ValueError for anything but whole numbers with the units d, h, m, s, ms, largest first.
    """

    __slots__ = ("text", "us")

    text: str
    us: int

    def __init__(self, text: str) -> None:
        self.text = text
        self.us = microseconds(text)

    @classmethod
    def of(cls, us: int) -> Duration:
        """Return the duration of so many microseconds, written in the fewest terms."""
        return cls(compact(us))

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.us == self.us

    def __hash__(self) -> int:
        return hash(self.us)


def compact(us: int) -> str:
    """Write a length the way rules do: ``5m``, ``1h30m``, ``0s``. Parts below 1 ms are dropped."""
    parts: list[str] = []
    for unit, unit_us in UNITS_US.items():
        count, us = divmod(us, unit_us)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def said(us: int) -> str:
    """Say a length to people as :func:`outrider.durations.said` does; ``412 ms`` below a second."""
    if MS_US <= us < SECOND_US:
        return f"{us // MS_US} ms"
    return durations.said(us // SECOND_US)


def clock_time(at_us: int, now_us: int) -> str:
    """Say an instant: ``14:03:22 UTC``; on another day than ``now_us``, ``13 Jul 22:41:07 UTC``."""
    at, now = from_us(at_us), from_us(now_us)
    if at.date() == now.date():
        return f"{at:%H:%M:%S} UTC"
    year = "" if at.year == now.year else f" {at.year}"
    return f"{at.day} {at:%b}{year} {at:%H:%M:%S} UTC"
