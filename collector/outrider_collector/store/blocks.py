"""Blocks: the columns of many batches, merged into the binary parameters of one INSERT.

A block is a row whose columns are arrays, one element for each record. A batch's columns come over
the wire in Postgres's own element encoding (see :mod:`outrider.columns`), so a text column of a
block is a header and the batches' bytes behind it. What a binary array looks like::

    int32 dimensions (1), int32 has nulls, int32 element oid, int32 length, int32 lower bound (1)
    then each element: int32 size (-1: null), that many bytes

Nothing here makes a Python object for a record that stays: integers are put between their size
prefixes by strided copies, constants by multiplying bytes, dictionaries by one join.

Event times are admitted in [1970, arrival + 1 hour]. The upper bound makes it exact to pass over
hours of arrival in a search by event time; the lower keeps times that readers can represent. A time
outside is replaced by the observed time, and kept in the attributes as
``outrider.event_time_us`` (microseconds since 2000), because an absurd time is evidence too.

Pure: no I/O, no clock. Not what is checked here: the framing inside a text column. Postgres checks
it, and :mod:`~outrider_collector.store.quarantine` sorts out what it refuses.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outrider.columns import (
    ColumnError,
    Columns,
    DictionaryColumn,
    pack_text,
    unpack_bytes,
)
from outrider.instants import from_unix_us
from outrider_protos.limits import MAX_RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_BYTES = 8 * 1024 * 1024
"""Size of a block's columns, before compression; one batch may fill it alone."""
FUTURE_US = 3_600_000_000
"""How far after its arrival a record's event time may lie. The schema's queries rely on it."""

OID_BOOL, OID_INT2, OID_INT4, OID_INT8, OID_TEXT, OID_TIMESTAMPTZ, OID_UUID, OID_BYTEA = (
    16, 21, 23, 20, 25, 1184, 2950, 17,
)  # fmt: skip
OID_JSONB = 3802

_EARLIEST_US = from_unix_us(0)
_HEADER = struct.Struct(">iiIii")
_NULL = b"\xff\xff\xff\xff"
_EIGHT = b"\x00\x00\x00\x08"
_LITTLE = sys.byteorder == "little"
# An int64 element as three native 32-bit words: its size, and room for the value.
_SLOT = array("I", [int.from_bytes(_EIGHT, sys.byteorder), 0, 0])
LEVELS = bytes([0, *(min(n - 1, 23) // 4 for n in range(1, 256))])
"""Translates severities to levels: trace, debug, info, warn, error, fatal."""
_LEVEL_COUNT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One row of ``blocks_fresh``, ready to be sent: arrays are binary, None is NULL."""

    team: int
    service: str
    replayed: bool
    n: int
    ts_min_us: int
    ts_max_us: int
    level_counts: bytes
    stream_ids: bytes
    events: bytes | None
    error_codes: bytes | None
    columns: dict[str, bytes | None]
    """Those of RECORD_COLUMNS."""


def pack_blocks(
    team: int, service: str, batches: Sequence[Columns], *, replayed: bool = False
) -> Iterator[Block]:
    """Merge batches of one (team, service) into as few blocks as the limits allow.

    Event times must have been admitted (:func:`admit_times`). Raises ColumnError for a column that
    does not hold what its batch says.
    """
    for group in _groups(batches):
        yield _pack(team, service, group, replayed=replayed)


def column_bytes(columns: Columns) -> int:
    """Return about how large a batch is inside a block, before compression."""
    return sum(map(len, columns.raw_texts.values())) + 70 * columns.n


def admit_times(columns: Columns, now_us: int) -> Columns:
    """Return the batch with every event and observed time in [1970, ``now_us`` + 1 hour].

    ``now_us`` is the arrival, microseconds since 2000. Almost always the batch itself.
    """
    latest = now_us + FUTURE_US
    observed = columns.observed_us
    low, high = _bounds(observed)
    if low < _EARLIEST_US or high > latest:
        observed = array("q", (t if _EARLIEST_US <= t <= latest else now_us for t in observed))
        columns = replace(columns, observed_us=observed)
    low, high = _bounds(columns.ts_us)
    if low >= _EARLIEST_US and high <= latest:
        return columns
    times = array("q", columns.ts_us)
    attributes = unpack_bytes(columns.attributes_raw, columns.n)
    for i, t in enumerate(times):
        if not _EARLIEST_US <= t <= latest:
            times[i] = observed[i]
            attributes[i] = _with_event_time(attributes[i], t)
    return replace(columns, ts_us=times, attributes_raw=pack_text(attributes))


def cut(columns: Columns, start: int, stop: int) -> Columns:
    """Return records [start, stop) of a batch as a batch. Slow: for bisecting only.

    Raises ColumnError where a text column's framing is broken.
    """
    n = columns.n

    def text(raw: bytes) -> bytes:
        return pack_text(unpack_bytes(raw, n)[start:stop]) if raw else b""

    def dictionary(column: DictionaryColumn) -> DictionaryColumn:
        width = 1 if len(column.values) < 256 else 2
        return DictionaryColumn(column.values, column.index[start * width : stop * width])

    return replace(
        columns,
        n=stop - start,
        ts_us=columns.ts_us[start:stop],
        observed_us=columns.observed_us[start:stop],
        stream_offset=columns.stream_offset[start:stop],
        severity=columns.severity[start:stop],
        message_raw=text(columns.message_raw),
        attributes_raw=text(columns.attributes_raw),
        trace_id_raw=text(columns.trace_id_raw),
        correlation_id_raw=text(columns.correlation_id_raw),
        logger=dictionary(columns.logger),
        event=dictionary(columns.event),
        error_code=dictionary(columns.error_code),
    )


# ------------------------------------------------------------------ arrays


def array_of_elements(oid: int, n: int, elements: Iterable[bytes]) -> bytes:
    """Return a binary array of ``n`` elements that are framed already."""
    return b"".join((_HEADER.pack(1, 1, oid, n, 1), *elements))


def array_of_values(oid: int, values: Sequence[bytes | None]) -> bytes:
    """Return a binary array of values in their binary form; None is null."""
    if not values:
        return _HEADER.pack(0, 0, oid, 0, 1)[:12]
    framed = pack_text(values) or _NULL * len(values)
    return array_of_elements(oid, len(values), (framed,))


def array_of_int64(oid: int, parts: Iterable[array[int]]) -> bytes:
    """Return a binary array of 8-byte integers, the parts one after another."""
    values = array("q")
    for part in parts:
        values.extend(part)
    n = len(values)
    if n == 0:
        return _HEADER.pack(0, 0, oid, 0, 1)[:12]
    if _LITTLE:
        values.byteswap()
    words = array("I", values.tobytes())
    elements = _SLOT * n
    elements[1::3] = words[0::2]
    elements[2::3] = words[1::2]
    return array_of_elements(oid, n, (elements.tobytes(),))


def _pack(team: int, service: str, batches: Sequence[Columns], *, replayed: bool) -> Block:
    n = sum(batch.n for batch in batches)
    severity = b"".join(batch.severity for batch in batches)
    if len(severity) != n:
        raise ColumnError(f"{len(severity)} severities where {n} were announced")
    bounds = [_bounds(batch.ts_us) for batch in batches]
    streams = dict.fromkeys(batch.stream for batch in batches)

    def column(name: str, parts: Sequence[bytes]) -> bytes | None:
        if not any(parts):
            return None
        return array_of_elements(
            OID_UUID if name == "trace_id" else OID_TEXT,
            n,
            (part or _NULL * b.n for part, b in zip(parts, batches, strict=True)),
        )

    texts = [batch.raw_texts for batch in batches]
    dictionaries = [batch.dictionaries for batch in batches]
    columns: dict[str, bytes | None] = {
        "ts": array_of_int64(OID_TIMESTAMPTZ, (batch.ts_us for batch in batches)),
        "observed_at": array_of_int64(OID_TIMESTAMPTZ, (batch.observed_us for batch in batches)),
        "stream": array_of_elements(
            OID_INT8, n, ((_EIGHT + batch.stream.to_bytes(8)) * batch.n for batch in batches)
        ),
        "stream_offset": array_of_int64(OID_INT8, (batch.stream_offset for batch in batches)),
        "severity": array_of_severities(severity),
    }
    for name in texts[0]:
        columns[name] = column(name, [raw[name] for raw in texts])
    for name in dictionaries[0]:
        parts = [
            _dictionary(found[name], batch.n)
            for found, batch in zip(dictionaries, batches, strict=True)
        ]
        columns[name] = column(name, parts)
    return Block(
        team=team,
        service=service,
        replayed=replayed,
        n=n,
        ts_min_us=min(low for low, _ in bounds),
        ts_max_us=max(high for _, high in bounds),
        level_counts=level_counts(severity),
        stream_ids=array_of_int64(OID_INT8, (array("q", streams),)),
        events=_distinct(batch.event for batch in batches),
        error_codes=_distinct(batch.error_code for batch in batches),
        columns=columns,
    )


def _groups(batches: Sequence[Columns]) -> Iterator[Sequence[Columns]]:
    start = records = size = 0
    for i, batch in enumerate(batches):
        more = column_bytes(batch)
        if i > start and (records + batch.n > MAX_RECORDS or size + more > MAX_BYTES):
            yield batches[start:i]
            start, records, size = i, 0, 0
        records += batch.n
        size += more
    if start < len(batches):
        yield batches[start:]


def _bounds(times: array[int]) -> tuple[int, int]:
    """Return the least and the greatest; quick where times are constant or nearly in order."""
    if times == times[:1] * len(times):
        return times[0], times[0]
    values = times.tolist()
    # Logs are written nearly in order, and sorting what is sorted costs a third of min() and max().
    values.sort()
    return values[0], values[-1]


def array_of_severities(severity: bytes) -> bytes:
    """Return a binary array of smallints, one for each byte."""
    elements = bytearray(b"\x00\x00\x00\x02\x00\x00" * len(severity))
    elements[5::6] = severity
    return array_of_elements(OID_INT2, len(severity), (bytes(elements),))


def level_counts(severity: bytes) -> bytes:
    """Return a binary array of how many records each level has."""
    levels = severity.translate(LEVELS)
    counts = [levels.count(level) for level in range(_LEVEL_COUNT)]
    return array_of_values(OID_INT4, [count.to_bytes(4) for count in counts])


def _dictionary(column: DictionaryColumn, n: int) -> bytes:
    """Return a dictionary column as elements; b"" when all are null."""
    if not column.index:
        return b""
    table = [_NULL, *(_framed(value) for value in column.values)]
    indexes = column.indexes(n)
    try:
        if isinstance(indexes, bytes) and indexes.count(indexes[0]) == n:
            return table[indexes[0]] * n
        return b"".join(map(table.__getitem__, indexes))
    except IndexError as error:
        raise ColumnError("an index names no value") from error


def _framed(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(4) + encoded


def _distinct(columns: Iterable[DictionaryColumn]) -> bytes | None:
    values: dict[str, None] = {}
    for column in columns:
        values.update(dict.fromkeys(column.values))
    if not values:
        return None
    return array_of_elements(OID_TEXT, len(values), map(_framed, values))


def _with_event_time(attributes: bytes | None, event_time_us: int) -> bytes:
    mark = json.dumps({"outrider.event_time_us": event_time_us}).encode()
    body = (attributes or b"{}").strip()
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return attributes or mark  # no JSON object: leave it as it is
    inner = body[1:-1].strip()
    return mark[:-1] + (b", " + inner if inner else b"") + b"}"
