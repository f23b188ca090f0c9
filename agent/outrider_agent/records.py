"""Records on their way to a batch: parallel lists, never an object for each record.

:class:`Records` collects what parsers found in the lines of one stream; :meth:`Records.pack`
encodes the lists as the wire's columns (``outrider.columns``). Values are clean by then: UTF-8
without NUL, attributes valid for any JSON reader, names within their limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

from outrider.columns import DictionaryColumn, pack_dictionary, pack_int64, pack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.shedding import Shed

MAX_NAME_BYTES = 256
"""Limit of logger, event and error code."""

MAX_CORRELATION_BYTES = 128


@dataclass(frozen=True, slots=True)
class Packed:
    """The columns of a batch in wire encoding; a column whose values are all null is empty."""

    count: int
    ts_us: bytes
    observed_us: bytes
    stream_offset: bytes
    severity: bytes
    message: bytes
    attributes: bytes
    logger: DictionaryColumn
    event: DictionaryColumn
    error_code: DictionaryColumn
    trace_id: bytes
    correlation_id: bytes


@dataclass(slots=True)
class Records:
    """Records of one stream in the order of their offsets."""

    stream_offset: list[int] = field(default_factory=list)
    ts_us: list[int] = field(default_factory=list)
    observed_us: list[int] = field(default_factory=list)
    severity: bytearray = field(default_factory=bytearray)
    message: list[bytes | None] = field(default_factory=list)
    attributes: list[bytes | None] = field(default_factory=list)
    logger: list[str | None] = field(default_factory=list)
    event: list[str | None] = field(default_factory=list)
    error_code: list[str | None] = field(default_factory=list)
    trace_id: list[bytes | None] = field(default_factory=list)
    correlation_id: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.stream_offset)

    def extend(self, later: Records) -> None:
        """Append the records of ``later``, whose offsets are all higher."""
        self.stream_offset += later.stream_offset
        self.ts_us += later.ts_us
        self.observed_us += later.observed_us
        self.severity += later.severity
        self.message += later.message
        self.attributes += later.attributes
        self.logger += later.logger
        self.event += later.event
        self.error_code += later.error_code
        self.trace_id += later.trace_id
        self.correlation_id += later.correlation_id

    def chosen(self, keep: Sequence[bool]) -> Records:
        """Return those of the records that ``keep`` says."""
        return Records(
            stream_offset=list(compress(self.stream_offset, keep)),
            ts_us=list(compress(self.ts_us, keep)),
            observed_us=list(compress(self.observed_us, keep)),
            severity=bytearray(compress(self.severity, keep)),
            message=list(compress(self.message, keep)),
            attributes=list(compress(self.attributes, keep)),
            logger=list(compress(self.logger, keep)),
            event=list(compress(self.event, keep)),
            error_code=list(compress(self.error_code, keep)),
            trace_id=list(compress(self.trace_id, keep)),
            correlation_id=list(compress(self.correlation_id, keep)),
        )

    def pack(self, clock_offset_us: int = 0) -> Packed:
        """Encode as columns; ``clock_offset_us`` turns this host's times into the database's."""
        return Packed(
            count=len(self.stream_offset),
            ts_us=_times(self.ts_us, clock_offset_us),
            observed_us=_times(self.observed_us, clock_offset_us),
            stream_offset=pack_int64(self.stream_offset),
            severity=bytes(self.severity),
            message=pack_text(self.message),
            attributes=_sparse(self.attributes),
            logger=_dictionary(self.logger),
            event=_dictionary(self.event),
            error_code=_dictionary(self.error_code),
            trace_id=_sparse(self.trace_id),
            correlation_id=_sparse(self.correlation_id),
        )


def _times(values: list[int], offset_us: int) -> bytes:
    if offset_us:
        return pack_int64([value + offset_us for value in values])
    return pack_int64(values)


def _sparse(values: list[bytes | None]) -> bytes:
    """Pack a column that is often all null and never holds an empty value."""
    return pack_text(values) if any(values) else b""


def _dictionary(values: Sequence[str | None]) -> DictionaryColumn:
    """:func:`outrider.columns.pack_dictionary`, at a fifth of its cost where values repeat."""
    distinct = dict.fromkeys(values)
    distinct.pop(None, None)
    if not distinct:
        return DictionaryColumn()
    if len(distinct) >= 256:
        return pack_dictionary(values)
    table: dict[str | None, int] = {value: i for i, value in enumerate(distinct, start=1)}
    table[None] = 0
    return DictionaryColumn(tuple(table)[:-1], bytes(map(table.__getitem__, values)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a batch is made of."""

    begin: int
    end: int
    previous_digest: bytes
    digest: bytes
    records: Records
    framer_state: bytes = b""
    shed: Shed | None = None
