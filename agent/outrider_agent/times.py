"""Event times: what writers put into their lines, as microseconds since 2000.

Lines of one second share all but their fraction, so the expensive part of reading a time (calendar
and zone) is cached by everything before the fraction; what remains is a look-up and an addition.

Times without a zone are read in the zone of their source. Times without a year (syslog, klog) get
the year that brings them nearest to when they were read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from outrider.instants import from_unix_us, from_us, to_us

MAX_AHEAD_US = 3600 * 1_000_000
"""A time further ahead of its reading is absurd: observed time is taken instead."""

EARLIEST_US = to_us(datetime(1990, 1, 1, tzinfo=UTC))
"""An earlier time is absurd."""

_ISO = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?\Z"
)
_CACHED_SECONDS = 4096


def absurd(ts_us: int, observed_us: int) -> bool:
    """Tell whether a time cannot be meant: over an hour ahead of its reading, or before 1990."""
    return ts_us > observed_us + MAX_AHEAD_US or ts_us < EARLIEST_US


def zone_of(text: str | None) -> tzinfo | None:
    """Read a zone as it stands in times: ``Z``, ``+02:00``, ``-0530``; None for none."""
    if not text:
        return None
    if text in {"Z", "UTC", "GMT"}:
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0))
    if offset >= timedelta(hours=24):
        return None
    return timezone(-offset if text[0] == "-" else offset)


class TimeReader:
    """Reads times in every known spelling; ``zone`` is for those that name none."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._seconds: dict[tuple[str, str | None, str], int | None] = {}

    def iso(self, text: str) -> int | None:
        """Read RFC 3339 and its relatives (space, comma, no zone); None if it is none of them."""
        match = _ISO.match(text)
        if match is None:
            return None
        second, fraction, zone = match.groups()
        base = self.second(second.replace("T", " "), "%Y-%m-%d %H:%M:%S", zone)
        return None if base is None else base + fraction_us(fraction)

    def second(self, text: str, layout: str, zone: str | None = None) -> int | None:
        """Read a time without fraction by a ``strptime`` layout; cached."""
        key = (text, zone, layout)
        try:
            return self._seconds[key]
        except KeyError:
            pass
        value = self._calculate(text, layout, zone)
        if len(self._seconds) >= _CACHED_SECONDS:
            self._seconds.clear()
        self._seconds[key] = value
        return value

    def without_year(
        self, text: str, layout: str, observed_us: int, zone: str | None = None
    ) -> int | None:
        """Read a time that names no year: the year nearest to ``observed_us`` is taken."""
        year = from_us(observed_us).year
        candidates = [
            value
            for candidate in (year - 1, year, year + 1)
            if (value := self.second(f"{candidate} {text}", f"%Y {layout}", zone)) is not None
        ]
        return min(candidates, key=lambda value: abs(value - observed_us), default=None)

    def _calculate(self, text: str, layout: str, zone: str | None) -> int | None:
        try:
            if layout == "%Y-%m-%d %H:%M:%S":
                moment = datetime.fromisoformat(text)
            else:
                moment = datetime.strptime(text, layout)  # noqa: DTZ007  the zone is set below
            moment = moment.replace(tzinfo=zone_of(zone) or self._zone)
            return to_us(moment)
        except (ValueError, OverflowError):
            return None


def fraction_us(digits: str | None) -> int:
    """Turn the digits after the decimal point into microseconds, finer ones cut off."""
    if not digits:
        return 0
    return int(digits[:6].ljust(6, "0"))


def from_number(value: float) -> int | None:
    """Read a Unix time in s, ms, us or ns, told apart by size; None where it can be none.

    Seconds reach to the year 5138 before they look like milliseconds of 1973.
    """
    size = abs(value)
    if not size < 1e20:  # also NaN
        return None
    for limit, per_microsecond in ((1e11, 1e-6), (1e14, 1e-3), (1e17, 1.0)):
        if size < limit:
            return from_unix_us(round(value / per_microsecond))
    return from_unix_us(round(value / 1000))
