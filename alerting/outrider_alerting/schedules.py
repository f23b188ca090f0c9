"""Weekly windows of local time: ``mon-fri 22:00-07:00, sat 00:00-24:00``.

A window belongs to the day on which it begins: ``fri 22:00-07:00`` ends on Saturday. Without days
it is every day's. Times are what the clock on the wall shows, so a change to or from summer time
needs no rule of its own: a window holds exactly while the wall clock shows a time inside it. An
hour that is skipped is in no window, an hour that comes twice is in it twice.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outrider.instants import from_us
from outrider_alerting.durations import MINUTE_US

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS_MAX: Final = 20
_HOSTS_OWN: Final = {"localtime", "posixrules", "factory"}
DAY_MINUTES: Final = 24 * 60

_WINDOW = re.compile(r"(?:([a-z,\s-]+?)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")
# A comma after a time ends a window; one after a day's name goes on with the days.
_PARTS = re.compile(r"(?<=\d)\s*,\s*")


class ScheduleError(ValueError):
    """A schedule that cannot be read; the text says what is wrong and what to write."""


class Window(NamedTuple):
    """One span of the wall clock, on some days of the week."""

    days: frozenset[int]
    """Monday is 0; the day on which it begins."""
    begin_minute: int
    end_minute: int
    """Up to two days' minutes: more than a day's where it ends on the next day."""


class Schedule(NamedTuple):
    """Windows in one time zone."""

    windows: tuple[Window, ...]
    zone: ZoneInfo

    def holds(self, at_us: int) -> bool:
        """Whether the wall clock shows a time inside a window."""
        local = from_us(at_us).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        today = local.weekday()
        yesterday = (today - 1) % 7
        return any(
            (today in window.days and window.begin_minute <= minute < window.end_minute)
            or (yesterday in window.days and minute + DAY_MINUTES < window.end_minute)
            for window in self.windows
        )


def zone_of(name: str) -> ZoneInfo:
    """Return a zone by its name. Raises ZoneInfoNotFoundError, ValueError or OSError.

    What a host calls its own is none: another collector would mean another.
    """
    if name.lower() in _HOSTS_OWN:
        raise ZoneInfoNotFoundError(name)
    return ZoneInfo(name)


@lru_cache(maxsize=1_024)
def parse(text: str, timezone: str) -> Schedule:
    """Read windows and the name of a time zone. Raises ScheduleError."""
    try:
        zone = zone_of(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            f"no time zone '{timezone[:50]}': write a name such as Europe/Berlin or UTC"
        ) from None
    parts = [part.strip() for part in _PARTS.split(text.lower().strip())]
    if len(parts) > WINDOWS_MAX:
        raise ScheduleError(f"more than {WINDOWS_MAX} windows")
    return Schedule(tuple(_window(part) for part in parts), zone)


def minute_after(at_us: int) -> int:
    """Return the beginning of the next minute: the soonest that a window can begin or end."""
    return at_us - at_us % MINUTE_US + MINUTE_US


def _window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ScheduleError(f"'{text[:50]}' is no window: write it like 'mon-fri 22:00-07:00'")
    begin, end = _minute(match[2], match[3]), _minute(match[4], match[5])
    if begin in {end, DAY_MINUTES}:
        raise ScheduleError(f"'{text[:50]}' lasts no time: a whole day is 00:00-24:00")
    return Window(_days(match[1]), begin, end if end > begin else end + DAY_MINUTES)


def _minute(hour: str, minute: str) -> int:
    of_day = int(hour) * 60 + int(minute)
    if int(minute) > 59 or of_day > DAY_MINUTES:
        raise ScheduleError(f"{hour}:{minute} is no time of day: 00:00 to 24:00")
    return of_day


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first), _day(last) if dash else _day(first)
        days.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(days)


def _day(text: str) -> int:
    if text not in DAYS:
        raise ScheduleError(f"'{text[:20]}' is no day: {', '.join(DAYS)}")
    return DAYS.index(text)
