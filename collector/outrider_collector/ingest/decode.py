"""From a Batch on the wire to columns, checked as far as C-speed allows.

An agent is authenticated but not trusted: a batch may lie about its sizes, its offsets and its
columns. What would cost memory or time before the database sees it is checked here (sizes, counts,
decompression, indexes of dictionaries); what is inside a text column is checked by Postgres, which
refuses a malformed array element, and the writer then keeps the record in quarantine. Nothing is
done for each record in Python: a check that cannot be had in C is not made.

Whatever is wrong raises ``Fault(BATCH_INVALID)`` or ``Fault(BATCH_TOO_LARGE)`` with the place; the
session that sent it ends, and the agent says so where people look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import zstandard
from google.protobuf.message import DecodeError

from outrider.columns import ColumnError, Columns, DictionaryColumn, unpack_int64
from outrider.errors import Fault, Reason
from outrider.severity import MAXIMUM
from outrider_protos.limits import MAX_RECORDS
from outrider_protos.v1 import log_pb2

if TYPE_CHECKING:
    from array import array

MAX_COLUMNS_BYTES = 8 * 1024 * 1024
MAX_FRAMER_STATE_BYTES = 256
MAX_DICTIONARY_VALUES = 65_535
MAX_DICTIONARY_VALUE_BYTES = 256
MAX_GAPS = 1_000
MAX_REASON_BYTES = 64
MAX_DETAIL_BYTES = 512
MAX_OFFSET = 2**63 - 1
MAX_TIME_US = 3_155_760_000_000_000
"""Year 2100; a later time is no statement, and far later ones Postgres could not even hold."""

_DIGEST_BYTES = 16
_SEVERITIES = bytes(range(1, 25))
_NARROW = bytes(range(256))
_NO_DICTIONARY = DictionaryColumn()


class Origin(NamedTuple):
    """The constants of a stream's records: who wrote them, where."""

    service: str
    worker: str
    host: str
    source: str


def check_frame(batch: log_pb2.Batch) -> None:
    """Check what a batch says about itself, before anything of it is decompressed."""
    _require(0 <= batch.begin <= batch.end <= MAX_OFFSET, "begin and end are out of order")
    _require(
        len(batch.previous_digest) in {0, _DIGEST_BYTES}
        and len(batch.digest) in {0, _DIGEST_BYTES},
        "a digest has not 16 bytes",
    )
    _require(batch.record_count == 0 or batch.end > batch.begin, "records in an empty range")
    _require(len(batch.framer_state) <= MAX_FRAMER_STATE_BYTES, "framer_state is too long")
    _require(0 <= batch.watermark_us <= MAX_TIME_US, "watermark_us is no time")
    if batch.record_count > MAX_RECORDS or batch.columns_bytes > MAX_COLUMNS_BYTES:
        raise Fault(
            Reason.BATCH_TOO_LARGE,
            records=batch.record_count,
            columns_bytes=batch.columns_bytes,
            limit_records=MAX_RECORDS,
            limit_bytes=MAX_COLUMNS_BYTES,
        )
    if batch.gaps:
        _check_gaps(batch)


def decode_columns(batch: log_pb2.Batch, payload: bytes, origin: Origin) -> Columns | None:
    """Return the batch's records as columns, or None when it has none. Raises Fault.

    ``payload`` is ``batch.columns``, which protobuf copies at every look.
    """
    n = batch.record_count
    if n == 0:
        _require(not payload, "columns without records")
        return None
    try:
        message = log_pb2.Columns.FromString(_decompress(batch, payload))
        _require(bool(message.observed_us), "observed_us is missing")
        columns = Columns(
            n=n,
            stream=batch.stream_id,
            service=origin.service,
            worker=origin.worker,
            host=origin.host,
            source=origin.source,
            ts_us=unpack_int64(message.ts_us, n),
            observed_us=unpack_int64(message.observed_us, n),
            stream_offset=unpack_int64(message.stream_offset, n),
            severity=message.severity,
            message_raw=message.message,
            attributes_raw=message.attributes,
            trace_id_raw=message.trace_id,
            correlation_id_raw=message.correlation_id,
            logger=_dictionary(message.logger, n, "logger"),
            event=_dictionary(message.event, n, "event"),
            error_code=_dictionary(message.error_code, n, "error_code"),
        )
    except (ColumnError, DecodeError, UnicodeDecodeError) as error:
        raise _invalid(str(error)) from error
    _check_columns(columns, batch.begin, batch.end)
    return columns


def _decompress(batch: log_pb2.Batch, payload: bytes) -> bytes:
    if batch.compression != log_pb2.COMPRESSION_ZSTD:
        _require(len(payload) <= MAX_COLUMNS_BYTES, "columns are larger than 8 MiB")
        return payload
    size = batch.columns_bytes
    _require(size > 0, "columns_bytes is missing")
    try:
        # The frame's own header is not believed: the reader stops one byte past what was announced,
        # so a bomb costs what it said it would and no more.
        zstd = zstandard.ZstdDecompressor(max_window_size=MAX_COLUMNS_BYTES)
        data = zstd.stream_reader(payload).read(size + 1)
    except zstandard.ZstdError as error:
        raise _invalid(f"columns cannot be decompressed: {error}") from error
    _require(len(data) == size, f"columns_bytes says {size}, the columns hold other than that")
    return data


def _dictionary(column: log_pb2.Dictionary, n: int, name: str) -> DictionaryColumn:
    index = column.index
    if not index:
        return _NO_DICTIONARY
    values = tuple(column.values)
    count = len(values)
    _require(count <= MAX_DICTIONARY_VALUES, f"{name} has too many values")
    # A character is at most four bytes, so most values pass without being encoded.
    if max(map(len, values), default=0) * 4 > MAX_DICTIONARY_VALUE_BYTES:
        longest = max(len(value.encode()) for value in values)
        _require(longest <= MAX_DICTIONARY_VALUE_BYTES, f"a value of {name} is too long")
    decoded = DictionaryColumn(values, index)
    indexes = decoded.indexes(n)
    if count < 256:
        # What is left after every valid index is deleted: one pass in C.
        _require(not index.translate(None, _NARROW[: count + 1]), f"{name} names no value")
    else:
        _require(max(indexes) <= count, f"{name} names no value")
    return decoded


def _check_columns(columns: Columns, begin: int, end: int) -> None:
    n, severity = columns.n, columns.severity
    _require(len(severity) == n, f"{len(severity)} severities where {n} were announced")
    _require(not severity.translate(None, _SEVERITIES), "a severity is not in 1 to 24")
    # A text column of n values has n length prefixes at least.
    for name, raw in columns.raw_texts.items():
        _require(not raw or len(raw) >= 4 * n, f"{name} is too short for {n} values")
    _check_offsets(columns.stream_offset, begin, end)


def _check_offsets(offsets: array[int], begin: int, end: int) -> None:
    """Strictly rising within [begin, end): its own sorted copy, nothing twice, edges that fit."""
    values = offsets.tolist()
    inside = begin <= values[0] and values[-1] < end and len(set(values)) == len(values)
    # Sorting what is sorted compares neighbours once, in C; comparing lists of the same objects
    # compares pointers.
    _require(inside and values == sorted(values), "offsets do not rise within the batch's range")


def _check_gaps(batch: log_pb2.Batch) -> None:
    _require(len(batch.gaps) <= MAX_GAPS, "too many gaps")
    for gap in batch.gaps:
        _require(0 < len(gap.reason) <= MAX_REASON_BYTES, "a gap has no reason")
        _require(len(gap.detail.encode()) <= MAX_DETAIL_BYTES, "a gap's detail is too long")
        _require(gap.begin <= gap.end <= MAX_OFFSET, "a gap's begin and end are out of order")
        times = max(abs(gap.from_us), abs(gap.to_us))
        _require(times <= MAX_TIME_US, "a gap's times are no times")
        _require(gap.records <= MAX_OFFSET, "a gap's count overflows")
        _require(gap.severity_max <= MAXIMUM, "a gap's severity is none")
        _require(len(gap.gap_id) == 16, "a gap_id has not 16 bytes")


def _require(condition: bool, detail: str) -> None:  # noqa: FBT001  reads as an assertion
    if not condition:
        raise _invalid(detail)


def _invalid(detail: str) -> Fault:
    return Fault(Reason.BATCH_INVALID, detail=detail)
