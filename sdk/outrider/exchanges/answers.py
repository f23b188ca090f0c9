"""What an answer says, by path: JSON from a stranger, which may be anything.

A path is the names from the outside inwards with dots between them, a number for an element of a
list: ``data.0.ts``. The empty path is the whole answer.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from outrider.instants import from_unix_us

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider.probes.http import Response

Unit = Literal["s", "ms", "us", "ns", "iso"]
UNITS: Final[tuple[Unit, ...]] = ("s", "ms", "us", "ns", "iso")

MISSING: Final = object()
"""What stands at a path that leads nowhere."""

_PER_SECOND: Final[dict[str, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_CENTURY_US: Final = 36_525 * 86_400_000_000
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?", re.ASCII)
_WORD_CHARACTERS: Final = 100


class AnswerError(Exception):
    """An answer is not what it should be; the message says how, fit to be shown."""


def parse(response: Response) -> Any:
    """Return the JSON value of an answer. Raises AnswerError."""
    if response.is_cut:
        raise AnswerError(f"an answer of more than {len(response.body):,} bytes")
    if response.body.lstrip()[:1] == b"<":
        raise AnswerError("HTML instead of JSON")
    try:
        return json.loads(response.body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise AnswerError("the answer is not JSON") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def at(answer: Any, path: str) -> Any:
    """Return what stands at a path, or MISSING."""
    found = answer
    for step in path.split(".") if path else ():
        if isinstance(found, dict):
            found = found.get(step, MISSING)
        elif isinstance(found, list) and step.isdecimal() and len(step) < 7:
            found = found[int(step)] if int(step) < len(found) else MISSING
        else:
            return MISSING
    return found


def check(answer: Any, ok: Iterable[tuple[str, Any]], has: Iterable[str]) -> None:
    """Check that values at paths are as they should be, and that others are there at all.

    Raises AnswerError: many exchanges answer 200 to everything and tell errors in the body.
    """
    for path, wanted in ok:
        found = at(answer, path)
        if not _is_same(found, wanted):
            told = "missing" if found is MISSING else shown(found)
            raise AnswerError(f"{_named(path)} is {told}, expected {shown(wanted)}")
    for path in has:
        found = at(answer, path)
        if found is MISSING or found is None:
            raise AnswerError(f"{_named(path)} is missing")


def word(value: Any) -> str | None:
    """Return a short text or a whole number as a word, None for anything else."""
    if isinstance(value, str) and len(value) <= _WORD_CHARACTERS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return str(value)
    return None


def words(value: Any) -> list[str]:
    """Return the words of a list, or of a value that is one."""
    found = map(word, value if isinstance(value, list) else [value])
    return [one for one in found if one is not None]


def time_us(value: Any, unit: Unit) -> int:
    """Return a time as microseconds since 2000. Raises AnswerError for what is none of our days.

    A number or its digits in a text, or with ``iso`` a text such as ``2026-01-05T12:00:00Z``.
    """
    unix_us = _iso_us(value) if unit == "iso" else _count_us(value, _PER_SECOND[unit])
    if unix_us is None or not 0 <= from_unix_us(unix_us) < _CENTURY_US:
        raise AnswerError("no time" if value is MISSING else f"{shown(value)} is no time")
    return from_unix_us(unix_us)


def _count_us(value: Any, per_second: int) -> int | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return int(value * 1_000_000 / per_second) if abs(value) < 1e20 else None
    return value * 1_000_000 // per_second


def _iso_us(value: Any) -> int | None:
    if not isinstance(value, str) or len(value) > _WORD_CHARACTERS:
        return None
    try:
        read = datetime.fromisoformat(value)
        return None if read.tzinfo is None else int(read.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def plain(text: str, max_bytes: int) -> str:
    """Return a stranger's text fit for a line: printable characters, single spaces, cut to fit."""
    told = "".join(c if c.isprintable() else " " for c in text[: 4 * max_bytes])
    told = " ".join(told.split())
    raw = told.encode()
    if len(raw) <= max_bytes and len(text) <= 4 * max_bytes:
        return told
    return raw[: max_bytes - 3].decode("utf-8", "ignore").rstrip() + "…"


def shown(value: Any) -> str:
    """Return a value of an answer, or of what was expected, fit for a line."""
    if isinstance(value, str):
        return f"`{plain(value, 60)}`"
    if isinstance(value, list) and value:
        return f"`{plain(', '.join(words(value)), 60)}`" if words(value) else "a list"
    if isinstance(value, dict) and value:
        return "an object"
    # A number may have thousands of digits: what Python refuses to write out is not shown.
    is_long = isinstance(value, int) and value.bit_length() > 64
    return "a huge number" if is_long else f"`{json.dumps(value)}`"


def _named(path: str) -> str:
    return f"`{path}`" if path else "the answer"


def _is_same(found: Any, wanted: Any) -> bool:
    # For Python, True is 1.
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)
