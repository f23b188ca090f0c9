"""Time ranges of the log page: what the URL says, and links to other ranges. Pure.

A range is relative (``1h``: the last hour, moving with the clock) or absolute (``from`` and ``to``
in UTC, as permalinks have it). A selection (the brush) lies inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

LENGTHS: dict[str, timedelta] = {
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
NAMES: dict[str, str] = {
    "5m": "Last 5 min",
    "15m": "Last 15 min",
    "1h": "Last 60 min",
    "24h": "Last 24 h",
    "7d": "Last 7 days",
}
DEFAULT = "1h"
_LONGEST = timedelta(days=400)
_SHORTEST = timedelta(milliseconds=1)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class RangeError(ValueError):
    """The URL's times cannot be read; the message says which and how to write them."""


@dataclass(frozen=True)
class Range:
    """[since, until), how it was asked for, and the selection inside it."""

    since: datetime
    until: datetime
    length: str = ""
    """Name of a relative range, or empty: absolute."""
    selection: tuple[datetime, datetime] | None = None

    @property
    def name(self) -> str:
        """``Last 60 min``, or empty for an absolute range."""
        return NAMES.get(self.length, "")

    @property
    def span(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    @property
    def shown(self) -> tuple[datetime, datetime]:
        """What the rows cover: the selection, else all of it."""
        return self.selection or (self.since, self.until)

    @property
    def shown_s(self) -> float:
        """How long that is, in seconds."""
        first, last = self.shown
        return (last - first).total_seconds()

    @property
    def moves(self) -> bool:
        """Whether it ends now and nothing is selected, so that new lines belong to it."""
        return bool(self.length) and self.selection is None

    def shifted(self, parts: int) -> Range:
        """Return the absolute range that lies ``parts`` ranges later (negative: earlier)."""
        step = self.span * parts
        return Range(self.since + step, self.until + step)

    def around(self, start: datetime, parts: int) -> Range:
        """Return the range with one of its ``parts`` selected, the one that begins at ``start``."""
        return replace(self, selection=(start, min(self.until, start + self.span / parts)))

    def without_selection(self) -> Range:
        """Return the range with nothing selected."""
        return replace(self, selection=None)

    def zoomed(self) -> Range:
        """Return the selection as a range of its own."""
        return Range(*self.shown)

    def parameters(self) -> dict[str, str]:
        """Return what the URL says for it."""
        out: dict[str, str] = {}
        if self.length:
            if self.length != DEFAULT:
                out["range"] = self.length
        else:
            out["from"] = write(self.since)
            out["to"] = write(self.until)
        if self.selection:
            out["selected"] = "~".join(map(write, self.selection))
        return out


def write(moment: datetime) -> str:
    """Write a moment for a URL: UTC, as short as it is exact."""
    utc = moment.astimezone(UTC)
    text = utc.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return f"{text}{fraction}Z"


def read(
    now: datetime,
    length: str = "",
    since: str = "",
    until: str = "",
    selected: str = "",
    *,
    zone: tzinfo = UTC,
) -> Range:
    """Read a range from the URL's words. Times without a zone are of ``zone``.

    Raises RangeError with a sentence for a person.
    """
    if since or until:
        end = now if until in {"", "now"} else moment(until, zone)
        start = moment(since, zone) if since else end - LENGTHS[DEFAULT]
        found = Range(start, end)
    else:
        name = length or DEFAULT
        if name not in LENGTHS:
            raise RangeError(
                f"There is no range {name[:20]!r}: choose one of {', '.join(LENGTHS)}."
            )
        found = Range(now - LENGTHS[name], now, name)
    _check(found)
    if not selected:
        return found
    first, tilde, last = selected.partition("~")
    if not tilde:
        raise RangeError("A selection is written from~to.")
    begin, end = moment(first, zone), moment(last, zone)
    begin, end = max(begin, found.since), min(end, found.until)
    # A selection that a moving range has left behind selects nothing any more.
    return replace(found, selection=(begin, end)) if begin < end else found


def moment(text: str, zone: tzinfo = UTC) -> datetime:
    """Read one time: ISO 8601, or ``2026-07-14 13:03:24``. Raises RangeError."""
    try:
        parsed = datetime.fromisoformat(text.strip())
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RangeError(
            f"{text.strip()[:40]!r} is not a time: write it like 2026-07-14 13:03:24."
        ) from None


def _check(found: Range) -> None:
    if found.span < _SHORTEST:
        raise RangeError("The range ends before it begins.")
    if found.span > _LONGEST:
        raise RangeError("The range is longer than 400 days.")
    if found.since < _EARLIEST:
        raise RangeError("The range begins before the year 2000.")
