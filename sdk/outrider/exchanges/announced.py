"""The announced status: one word, or a list of announcements, in our modes and in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from outrider.exchanges.answers import MISSING, AnswerError, at, check, plain, time_us, word, words
from outrider.exchanges.modes import Announcement, Mode
from outrider.instants import from_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.exchanges.answers import Unit
    from outrider.exchanges.preset import Announced

MAX_ENTRIES: Final = 1_000
"""Of a list; one with more is refused, since the worst could be among the rest."""

TEXT_BYTES: Final = 120


class _Entry(NamedTuple):
    mode: Mode
    word: str
    title: str
    begins_us: int | None
    ends_us: int | None


def read(answer: Any, announced: Announced, now_us: int) -> Announcement:
    """Return what an answer announces. Raises AnswerError if it announces nothing readable.

    Of several announcements the worst counts; if that is "online", the next one to begin is told.
    """
    check(answer, announced.endpoint.ok, announced.endpoint.has)
    if not announced.list:
        entry = _entry(answer, announced)
        return Announcement(entry.mode, _text(entry, now_us), _future(entry.ends_us, now_us))
    listed = at(answer, announced.list)
    if not isinstance(listed, list):
        raise AnswerError(f"`{announced.list}` is no list")
    if len(listed) > MAX_ENTRIES:
        raise AnswerError(f"`{announced.list}` has more than {MAX_ENTRIES:,} entries")
    entries = [_entry(one, announced) for one in listed if _matches(one, announced.only)]
    worst = Mode.ONLINE
    for entry in entries:
        worst = entry.mode if entry.mode.is_worse_than(worst) else worst
    if worst is Mode.ONLINE:
        coming = [e for e in entries if _future(e.begins_us, now_us) is not None]
        upcoming = min(coming, key=lambda e: e.begins_us or 0, default=None)
        return Announcement(worst, _text(upcoming, now_us) if upcoming else "nothing")
    # The one that ends last: until then it stays as it is.
    entry = max((e for e in entries if e.mode is worst), key=lambda e: e.ends_us or 0)
    return Announcement(worst, _text(entry, now_us), _future(entry.ends_us, now_us))


def _entry(value: Any, announced: Announced) -> _Entry:
    said = word(at(value, announced.at))
    if said is None:
        raise AnswerError(f"no word at `{announced.at}`")
    mode = announced.words.get(said, Mode.UNKNOWN)
    is_part = bool(announced.partly) and _matches(value, announced.partly)
    if is_part and mode.is_worse_than(Mode.DEGRADED):
        mode = Mode.DEGRADED
    title = at(value, announced.title) if announced.title else None
    return _Entry(
        mode,
        plain(said, TEXT_BYTES // 2),
        plain(title, TEXT_BYTES // 2) if isinstance(title, str) else "",
        _time(value, announced.begin, announced.unit),
        _time(value, announced.end, announced.unit),
    )


def _matches(value: Any, wanted: Mapping[str, tuple[str, ...]]) -> bool:
    return all(set(words(at(value, path))) & set(allowed) for path, allowed in wanted.items())


def _time(value: Any, path: str, unit: Unit) -> int | None:
    found = at(value, path) if path else MISSING
    try:
        return time_us(found, unit)
    except AnswerError:
        # Often empty; that something is announced counts without it.
        return None


def _future(time: int | None, now_us: int) -> int | None:
    return time if time is not None and time > now_us else None


def _text(entry: _Entry, now_us: int) -> str:
    said = f"{entry.title} ({entry.word})" if entry.title else entry.word
    period = _period(entry.begins_us, entry.ends_us, now_us)
    return f"{said}, {period}" if period else said


def _period(begins_us: int | None, ends_us: int | None, now_us: int) -> str:
    today = from_us(now_us).date()
    begins, ends = (None if us is None else from_us(us) for us in (begins_us, ends_us))
    first = f"{begins:%H:%M}" if begins else ""
    if begins and begins.date() != today:
        first = f"{begins.day} {begins:%b %H:%M}"
    last = f"{ends:%H:%M}" if ends else ""
    if ends and ends.date() not in {today, begins.date() if begins else today}:
        last = f"{ends.day} {ends:%b %H:%M}"
    told = f"{first} to {last}" if first and last else f"until {last}" if last else first
    return f"{told} UTC" if told else ""
