r"""Lines of JSON to records, by the thousand: the agent's hot path.

A whole run of lines is decoded in one call into structs of the known fields, with ``attributes``
left as the bytes they are, and each field then becomes a column with one list operation. That is
right only under conditions that are checked first, cheaply, over the whole run:

* Every line begins with ``{`` and ends with ``}``, and there are as many objects as lines. The
  decoder refuses control characters inside strings, and ``}`` followed by ``{`` is valid JSON
  nowhere inside a value, so no value spans two lines; hence each line is exactly one object and a
  hostile line can never shift its neighbours.
* The bytes are UTF-8, and neither an escaped NUL nor an endless number hides in raw attributes.
* Times, severities and names are what they should be, all of them.

A run that fails goes to :mod:`outrider_agent.json_fields`, which reads anything, object by object:
decoded in one call under the first condition, else (in runs of 64) line by line. A line that alone
would be fit is read as it would be alone, so its record does not depend on its neighbours.

In attributes that stay as they are written, characters that are written as escapes (``\u00e9``,
``\/``) are written as themselves, for words are sought in them as they are stored.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from outrider import severity as severities
from outrider_agent import json_fields
from outrider_agent.records import MAX_CORRELATION_BYTES, MAX_NAME_BYTES, Records
from outrider_agent.time_columns import TimeColumnReader, may_be_read

if TYPE_CHECKING:
    from outrider_agent.times import TimeReader

_RUN_LINES = 64
_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_OPEN, _CLOSE = {ord("{")}, {ord("}")}
_NO_RAW = msgspec.Raw(b"")
_NUMBERS_TO_9 = bytes.maketrans(b"0123456789+-E", b"999999999999e")
_EXPONENT = b"9e99999"
_MAX_DIGITS = 301
_ESCAPES = re.compile(rb"\\(?:u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*|[^u])")


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line as the SDK writes it; any other key sends its run the careful way."""

    ts: str | None = None
    severity: int | None = None
    level: str | None = None
    message: str | None = None
    logger: str | None = None
    event: str | None = None
    error_code: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    attributes: msgspec.Raw = _NO_RAW


class _Unfit(Exception):  # noqa: N818  not an error: the run goes the careful way
    """A run of lines that the quick way must not take."""


_decode_lines = msgspec.json.Decoder(_Line).decode_lines
_decode_any_lines = msgspec.json.Decoder().decode_lines
_decode_text = msgspec.json.Decoder(str).decode
_encode_text = msgspec.json.Encoder().encode
_KNOWN = frozenset(_Line.__struct_fields__)
_UNFIT = (_Unfit, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)

Plain = Callable[[bytes, int], None]
"""Takes a line that is no JSON object, and its offset."""


class JsonReader:
    """Reads the lines of one stream."""

    def __init__(self, times: TimeReader) -> None:
        self._objects = json_fields.ObjectReader(times)
        self._time_columns = TimeColumnReader(times)
        # A stream of foreign JSON fails the quick way each time: it is tried less and less often.
        self._foreign_runs = 0
        self._skip_quick = 0

    def read(
        self,
        lines: list[bytes],
        starts: list[int],
        observed_us: int,
        into: Records,
        plain: Plain,
    ) -> None:
        """Append one record for each line, in order; lines that are no object go to ``plain``."""
        if self._quick(lines, starts, observed_us, into):
            return
        for first in range(0, len(lines), _RUN_LINES):
            run, run_starts = lines[first : first + _RUN_LINES], starts[first : first + _RUN_LINES]
            if not self._quick(run, run_starts, observed_us, into) and not self._as_objects(
                run, run_starts, observed_us, into
            ):
                self._one_by_one(run, run_starts, observed_us, into, plain)

    def _quick(
        self, lines: list[bytes], starts: list[int], observed_us: int, into: Records
    ) -> bool:
        if self._skip_quick:
            self._skip_quick -= 1
            return False
        try:
            found = self._structs(lines, observed_us)
        except _UNFIT:
            self._foreign_runs = min(self._foreign_runs + 1, 64)
            self._skip_quick = self._foreign_runs if self._foreign_runs > 4 else 0
            return False
        self._foreign_runs = 0
        found.stream_offset = starts
        found.observed_us = [observed_us] * len(lines)
        into.extend(found)
        return True

    def _structs(self, lines: list[bytes], observed_us: int) -> Records:
        chunk = one_object_a_line(lines)
        if not chunk.isascii():
            chunk.decode()
        objects = _decode_lines(chunk)
        if len(objects) != len(lines):
            raise _Unfit
        messages = [o.message for o in objects]
        return Records(
            ts_us=self._time_columns.read([o.ts for o in objects], observed_us),
            severity=_severities(objects),
            message=_messages(messages),
            attributes=_raw_attributes([o.attributes for o in objects]),
            logger=_names([o.logger for o in objects]),
            event=_names([o.event for o in objects]),
            error_code=_names([o.error_code for o in objects]),
            trace_id=_traces([o.trace_id for o in objects]),
            correlation_id=_correlations([o.correlation_id for o in objects]),
        )

    def _as_objects(
        self, lines: list[bytes], starts: list[int], observed_us: int, into: Records
    ) -> bool:
        try:
            found = _decode_any_lines(one_object_a_line(lines))
        except _UNFIT:
            return False
        if len(found) != len(lines):
            return False
        self._append(lines, found, starts, observed_us, into)
        return True

    def _append(
        self,
        lines: list[bytes],
        found: list[dict[str, Any]],
        starts: list[int],
        observed_us: int,
        into: Records,
        *,
        changed: bool = False,
    ) -> None:
        """Append objects; the attributes of those that are only near unfit ones stay as written."""
        near = [number for number, one in enumerate(found) if _may_be_fit(one)]
        first = len(into)
        for one, start in zip(found, starts, strict=True):
            self._objects.append(one, start, observed_us, into, changed=changed)
        for number, raw in self._fit(lines, near, observed_us):
            into.attributes[first + number] = raw

    def _fit(
        self, lines: list[bytes], numbers: list[int], observed_us: int
    ) -> Iterator[tuple[int, bytes | None]]:
        """Yield which of these lines are fit, and their attributes as written: by halving."""
        if not numbers:
            return
        try:
            found = self._structs([lines[number] for number in numbers], observed_us)
        except _UNFIT:
            if len(numbers) > 1:
                half = len(numbers) // 2
                yield from self._fit(lines, numbers[:half], observed_us)
                yield from self._fit(lines, numbers[half:], observed_us)
        else:
            yield from zip(numbers, found.attributes, strict=True)

    def _one_by_one(
        self,
        lines: list[bytes],
        starts: list[int],
        observed_us: int,
        into: Records,
        plain: Plain,
    ) -> None:
        for line, start in zip(lines, starts, strict=True):
            # Who writes a file anew from pieces leaves byte order marks in its middle.
            text = line.removeprefix(BOM_UTF8)
            loaded = json_fields.load(text)
            if loaded is None:
                plain(line, start)
            else:
                found, changed = loaded
                self._append([text], [found], [start], observed_us, into, changed=changed)


def _may_be_fit(one: dict[str, Any]) -> bool:
    """Tell cheaply of most objects with attributes that the quick way would not take them."""
    return (
        "attributes" in one
        and may_be_read(one.get("ts"))
        and not isinstance(one.get("severity"), str)
        and one.keys() <= _KNOWN
    )


def one_object_a_line(lines: list[bytes]) -> bytes:
    """Join lines that each look like one JSON object; raises _Unfit for any others."""
    if set(map(_FIRST, lines)) != _OPEN or set(map(_LAST, lines)) != _CLOSE:
        raise _Unfit
    return b"\n".join(lines)


def _severities(objects: list[_Line]) -> bytearray:
    numbers = [o.severity for o in objects]
    if None in numbers:
        words = [o.level for o in objects]
        if any(number is not None for number in numbers) or None in words:
            raise _Unfit
        table = {word: severities.parse(word) for word in set(words) if word is not None}
        numbers = [table[word] for word in words if word is not None]
        if None in numbers:
            raise _Unfit
    elif any([o.level for o in objects]):  # noqa: C419  half the cost of a generator
        raise _Unfit
    packed = bytearray(numbers)  # type: ignore[arg-type]  # over 255: ValueError
    if min(packed) < severities.MINIMUM or max(packed) > severities.MAXIMUM:
        raise _Unfit
    return packed


def _messages(messages: list[str | None]) -> list[bytes | None]:
    try:
        if "\0" in "".join(messages):  # type: ignore[arg-type]
            raise _Unfit
    except TypeError:
        raise _Unfit from None
    return list(map(str.encode, messages))  # type: ignore[arg-type]


def _raw_attributes(raws: list[msgspec.Raw]) -> list[bytes | None]:
    values: list[bytes | None] = list(map(bytes, raws))
    joined = b"".join(values)  # type: ignore[arg-type]
    # A backslash alone is found far quicker than the escapes, and most runs have none.
    if b"\\" in joined and (b"\\u" in joined or b"\\/" in joined):
        if b"\\u0000" in joined:
            raise _Unfit
        values = [_ESCAPES.sub(_unescaped, value) for value in values if value is not None]
    if _has_endless_number(joined.translate(_NUMBERS_TO_9)):
        raise _Unfit
    if b"" in values:
        values = [value or None for value in values]
    if {value[0] for value in values if value is not None} - _OPEN:
        raise _Unfit
    return values


def _unescaped(escapes: re.Match[bytes]) -> bytes:
    """Write escaped characters as themselves, where JSON lets them stand so in a text.

    Raises msgspec.DecodeError for half of a surrogate pair.
    """
    written = escapes[0]
    if written[1:2] not in {b"u", b"/"}:
        return written
    return _encode_text(_decode_text(b'"%b"' % written))[1:-1]


def _has_endless_number(nines: bytes) -> bool:
    """Whether there is a number with hundreds of digits or an exponent of five.

    Postgres's jsonb refuses some of them. Digits and signs were made alike. What looks so within a
    text (an id in hexadecimal) is told by what stands before its digits.
    """
    if b"9" * _MAX_DIGITS in nines:
        return True
    at = nines.find(_EXPONENT)
    while at >= 0:
        before = nines[max(0, at - 400) : at + 1].rstrip(b"9.")
        if before[-1:] in b":,[ \t\r\n":
            return True
        at = nines.find(_EXPONENT, at + len(_EXPONENT))
    return False


def _names(values: list[str | None]) -> list[str | None]:
    for value in set(values):
        if value is None:
            continue
        if not value or "\0" in value or len(value.encode()) > MAX_NAME_BYTES:
            raise _Unfit
    return values


def _traces(values: list[str | None]) -> list[bytes | None]:
    if not any(values):
        return [None] * len(values)
    found = [None if value is None else bytes.fromhex(value) for value in values]
    if {len(value) for value in found if value is not None} != {16}:
        raise _Unfit
    return found


def _correlations(values: list[str | None]) -> list[bytes | None]:
    if not any(values):
        return [None] * len(values)
    found = [None if value is None else value.encode() for value in values]
    if any(len(v) > MAX_CORRELATION_BYTES or b"\0" in v for v in found if v is not None):
        raise _Unfit
    return found
