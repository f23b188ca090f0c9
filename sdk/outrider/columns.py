"""Columns: how many records of one stream are held, sent and stored without an object for each.

A batch is a set of columns of equal length n. The encodings are the wire's (``log.proto``) and, by
intent, Postgres's own binary array elements, so that an agent encodes a value once and a collector
stores it without touching it:

* **text column**: n values back to back, each a 4-byte big-endian signed length followed by that
  many bytes of UTF-8 without NUL. Length -1 is null and has no bytes. Raw 16-byte trace ids use the
  same framing.
* **int64 column**: n values back to back, 8 bytes each, big-endian. Times are microseconds since
  2000-01-01T00:00:00Z, Postgres's epoch.
* **severity**: one byte a record, the OpenTelemetry number, 1 to 24.
* **dictionary**: a list of distinct values and an index for each record; index 0 is null and index
  i is ``values[i - 1]``. One byte an index while there are fewer than 256 values, else two.

An empty text column means that every value is null.

:class:`Columns` decodes lazily: what a filter does not ask for is never turned into Python strings.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_NULL = b"\xff\xff\xff\xff"
_LENGTH = struct.Struct(">i")
# Most values are short: a table look-up costs a third of a struct.pack.
_LENGTHS = [_LENGTH.pack(i) for i in range(4096)]


class ColumnError(ValueError):
    """A column does not hold what its batch says it holds."""


def pack_text(values: Sequence[bytes | None]) -> bytes:
    """Encode UTF-8 values (or None for null) as a text column; b"" when all are null."""
    parts: list[bytes] = [b""] * (2 * len(values))
    try:
        # The common case in C: no nulls, all short.
        parts[0::2] = map(_LENGTHS.__getitem__, map(len, values))  # type: ignore[arg-type]
        parts[1::2] = values  # type: ignore[assignment]
    except (TypeError, IndexError):
        if all(value is None for value in values):
            return b""
        parts[0::2] = [_NULL if v is None else _LENGTH.pack(len(v)) for v in values]
        parts[1::2] = [b"" if v is None else v for v in values]
    return b"".join(parts)


def unpack_bytes(column: bytes, n: int) -> list[bytes | None]:
    """Decode a text column of ``n`` values as bytes.

    Raises ColumnError when it does not hold exactly ``n``.
    """
    if not column:
        return [None] * n
    values: list[bytes | None] = []
    position, end = 0, len(column)
    unpack = _LENGTH.unpack_from
    try:
        while position < end:
            (length,) = unpack(column, position)
            position += 4
            if length < 0:
                if length != -1:
                    raise ColumnError(f"length {length} before byte {position}")
                values.append(None)
                continue
            values.append(column[position : position + length])
            position += length
    except struct.error as error:
        raise ColumnError(f"cut off at byte {position} of {end}") from error
    if position != end or len(values) != n:
        raise ColumnError(f"{len(values)} values in {end} bytes where {n} were announced")
    return values


def unpack_text(column: bytes, n: int) -> list[str | None]:
    """Decode a text column of ``n`` values; bytes that are not UTF-8 become U+FFFD."""
    return [
        None if value is None else value.decode("utf-8", "replace")
        for value in unpack_bytes(column, n)
    ]


def pack_int64(values: Sequence[int] | array[int]) -> bytes:
    """Encode integers as an int64 column."""
    column = array("q", values)
    if sys.byteorder == "little":
        column.byteswap()
    return column.tobytes()


def unpack_int64(column: bytes, n: int) -> array[int]:
    """Decode an int64 column of ``n`` values; an empty column is n zeros."""
    if not column:
        return array("q", bytes(8 * n))
    if len(column) != 8 * n:
        raise ColumnError(f"{len(column)} bytes where {8 * n} were announced")
    values = array("q")
    values.frombytes(column)
    if sys.byteorder == "little":
        values.byteswap()
    return values


@dataclass(frozen=True, slots=True)
class DictionaryColumn:
    """Repeated strings: distinct ``values`` and one index a record (0 is null)."""

    values: tuple[str, ...] = ()
    index: bytes = b""

    def indexes(self, n: int) -> Sequence[int]:
        """One index a record; all zeros when the column is absent."""
        if not self.index:
            return bytes(n)
        if len(self.values) < 256:
            if len(self.index) != n:
                raise ColumnError(f"{len(self.index)} indexes where {n} were announced")
            return self.index
        if len(self.index) != 2 * n:
            raise ColumnError(f"{len(self.index)} index bytes where {2 * n} were announced")
        wide = array("H")
        wide.frombytes(self.index)
        if sys.byteorder == "little":
            wide.byteswap()
        return wide

    def texts(self, n: int) -> list[str | None]:
        """Return the value of each record."""
        table: list[str | None] = [None, *self.values]
        try:
            return [table[i] for i in self.indexes(n)]
        except IndexError as error:
            raise ColumnError("an index names no value") from error


def pack_dictionary(values: Sequence[str | None]) -> DictionaryColumn:
    """Encode one string (or None) a record; an all-null column is empty."""
    table: dict[str | None, int] = {None: 0}
    indexes = [table.setdefault(value, len(table)) for value in values]
    if len(table) == 1:
        return DictionaryColumn()
    distinct = tuple(value for value in table if value is not None)
    if len(distinct) < 256:
        return DictionaryColumn(distinct, bytes(indexes))
    wide = array("H", indexes)
    if sys.byteorder == "little":
        wide.byteswap()
    return DictionaryColumn(distinct, wide.tobytes())


@dataclass(slots=True)
class Columns:
    """The records of one batch: ``n`` of them, all of one stream.

    Raw columns are as they came over the wire; the properties decode on first use.
    """

    n: int
    stream: int
    service: str
    worker: str
    host: str
    source: str
    ts_us: array[int]
    observed_us: array[int]
    stream_offset: array[int]
    severity: bytes
    message_raw: bytes = b""
    attributes_raw: bytes = b""
    trace_id_raw: bytes = b""
    correlation_id_raw: bytes = b""
    logger: DictionaryColumn = DictionaryColumn()
    event: DictionaryColumn = DictionaryColumn()
    error_code: DictionaryColumn = DictionaryColumn()
    # A changed copy of a batch (dataclasses.replace) begins without what was derived from this one.
    _decoded: dict[str, list[str | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    cache: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What readers derive from the columns and share, such as a filter's lowered text."""

    @property
    def raw_texts(self) -> dict[str, bytes]:
        """The text columns as they came, by name."""
        return {
            "message": self.message_raw,
            "attributes": self.attributes_raw,
            "trace_id": self.trace_id_raw,
            "correlation_id": self.correlation_id_raw,
        }

    @property
    def dictionaries(self) -> dict[str, DictionaryColumn]:
        """The columns of values that repeat, by name."""
        return {"logger": self.logger, "event": self.event, "error_code": self.error_code}

    @property
    def message(self) -> list[str | None]:
        """The message of each record."""
        return self._text("message", self.message_raw)

    @property
    def attributes(self) -> list[str | None]:
        """The attributes of each record, a JSON object as text."""
        return self._text("attributes", self.attributes_raw)

    @property
    def correlation_id(self) -> list[str | None]:
        """The correlation id of each record."""
        return self._text("correlation_id", self.correlation_id_raw)

    @property
    def trace_id(self) -> list[str | None]:
        """The trace id of each record, 32 hexadecimal digits."""
        if "trace_id" not in self._decoded:
            self._decoded["trace_id"] = [
                None if value is None else value.hex()
                for value in unpack_bytes(self.trace_id_raw, self.n)
            ]
        return self._decoded["trace_id"]

    def _text(self, name: str, raw: bytes) -> list[str | None]:
        if name not in self._decoded:
            self._decoded[name] = unpack_text(raw, self.n)
        return self._decoded[name]
