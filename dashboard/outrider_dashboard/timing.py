"""How times and ages are written. Pure: now and zone are arguments.

Every page writes its zone once (the clock in the header, a column head, the first time in a
sentence), so the forms here come with and without it. A time of another day carries its day. Ages
are written as everywhere (:func:`outrider.durations.said`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from outrider import durations

if TYPE_CHECKING:
    from collections.abc import Callable

MINUS = "\u2212"
"""The true minus sign, as wide as a digit."""

DASH = "\u2013"
"""Means: there is nothing to say."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTES_DIFFER = timedelta(minutes=6)
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


def short_age(seconds: float) -> str:
    """Write a duration by its largest unit alone, where space is dear: ``4 min``, ``3 h``."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h"
    return durations.said(whole)


def span(seconds: float) -> str:
    """Write the length of a range after ``in``: ``the hour``, ``5 min``, ``24 h``, ``7 days``."""
    whole = round(seconds)
    if whole == _HOUR_S:
        return "the hour"
    if whole % _HOUR_S == 0 and whole <= 2 * _DAY_S:
        return f"{whole // _HOUR_S} h"
    return durations.said(whole)


def offset(seconds: float) -> str:
    """Write a time relative to another one: ``-0.91 s`` (with a true minus), ``0``."""
    size = abs(seconds)
    if size < 0.005:
        return "0"
    sign = MINUS if seconds < 0 else "+"
    if size >= _MINUTE_S:
        return f"{sign}{durations.said(size)}"
    return f"{sign}{size:.1f} s" if size >= 10 else f"{sign}{size:.2f} s"


def latency(milliseconds: float) -> str:
    """Write a latency: ``412 ms``, from one second on ``2.8 s``."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms" if 0 < milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 59.95 else durations.said(seconds)


def utc_text(moment: datetime) -> str:
    """Write a moment for links and machines: RFC 3339, UTC, microseconds where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def zone_named(name: str) -> tzinfo | None:
    """Return the zone of an IANA name, or None where there is none: the name is a visitor's."""
    if name == "UTC":
        return UTC
    if len(name) > 60 or not _ZONE_NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


@dataclass(frozen=True)
class Clock:
    """One view's now and zone; all its times are written by the same one."""

    now: datetime
    zone: tzinfo = UTC

    @property
    def zone_name(self) -> str:
        """The zone as it is written beside times: ``UTC``, ``CEST``, ``+03``."""
        return self.now.astimezone(self.zone).tzname() or "UTC"

    @property
    def time(self) -> str:
        """The header's clock: ``14:03:24``."""
        return self._local(self.now).strftime("%H:%M:%S")

    def at(self, now: datetime) -> Clock:
        """Return the clock as it stood at another time."""
        return Clock(now, self.zone)

    def row(self, moment: datetime) -> str:
        """Write the time of a log row: ``14:03:22.418``, on another day ``13 Jul 22:41:07``."""
        local = self._local(moment)
        if self._today(local):
            return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
        return self._other_day(local)

    def full(self, moment: datetime) -> str:
        """Write all that is known of a time, zone included: ``14:02:44.690118 UTC``."""
        local = self._local(moment)
        day = "" if self._today(local) else f"{local.day} {_MONTHS[local.month - 1]} "
        if local.year != self._local(self.now).year:
            day += f"{local.year} "
        return f"{day}{local:%H:%M:%S}.{local.microsecond:06d} {local.tzname()}"

    def plain(self, moment: datetime) -> str:
        """Write a time whose zone is already said: ``14:03:22``."""
        local = self._local(moment)
        return local.strftime("%H:%M:%S") if self._today(local) else self._other_day(local)

    def sentence(self, moment: datetime) -> str:
        """Write the first time of a sentence: ``14:03:22 UTC``."""
        return f"{self.plain(moment)} {self._local(moment).tzname()}"

    def minute(self, moment: datetime) -> str:
        """Write an axis label: ``14:03``; on another day with it: ``13 Jul 22:41``."""
        local = self._local(moment)
        if self._today(local):
            return local.strftime("%H:%M")
        return f"{local.day} {_MONTHS[local.month - 1]} {local:%H:%M}"

    def axis(self, moment: datetime) -> str:
        """Write an axis label where the day is plain from its neighbours: ``14:03``."""
        return self._local(moment).strftime("%H:%M")

    def axis_of(self, span: timedelta) -> Callable[[datetime], str]:
        """Return how an axis of a length writes its labels: with seconds where minutes repeat."""
        return self.axis if span >= _MINUTES_DIFFER else self.plain

    def typed(self, moment: datetime) -> str:
        """Write a time as a person types it into a form, in this zone."""
        return self._local(moment).strftime("%Y-%m-%d %H:%M:%S")

    def day(self, moment: datetime) -> str:
        """Write a day: ``13 Jul``."""
        local = self._local(moment)
        return f"{local.day} {_MONTHS[local.month - 1]}"

    def title(self, moment: datetime) -> str:
        """Write a moment in the other zone, for the title of a ``<time>``."""
        if self.zone is UTC:
            return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC"

    def age(self, since: datetime) -> str:
        """Write how long ago a moment was."""
        return durations.said((self.now - since).total_seconds())

    def short_age(self, since: datetime) -> str:
        """Write how long ago a moment was, by its largest unit."""
        return short_age((self.now - since).total_seconds())

    def left(self, until: datetime) -> str:
        """Write how long it is until a moment, by its largest unit."""
        return short_age((until - self.now).total_seconds())

    def same_day(self, moment: datetime) -> bool:
        """Whether a moment lies on the day of now, in this zone."""
        return self._today(self._local(moment))

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone)

    def _today(self, local: datetime) -> bool:
        return local.date() == self._local(self.now).date()

    def _other_day(self, local: datetime) -> str:
        text = f"{local.day} {_MONTHS[local.month - 1]} {local:%H:%M:%S}"
        if abs(self.now - local) > timedelta(days=300):
            return f"{local.year} {text}"
        return text
