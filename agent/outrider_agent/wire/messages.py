"""Between the agent's own values and the wire's messages.

Batches are serialized by the disk thread, once. Protobuf lets the fields of a message come in any
order, one after the other, so columns of a quarter of a megabyte are copied into place a single
time, instead of into a message, out of it, and into the one around it. Small messages are made as
usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from outrider_agent.streams import Place, Stream
from outrider_protos.v1 import ingest_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider.columns import DictionaryColumn
    from outrider_agent.records import Packed
    from outrider_agent.streams import Loss

# Smaller payloads gain nothing that a frame's header does not cost.
_MIN_COMPRESSED_BYTES = 512
_MORE = bytes([ingest_pb2.PushRequest.MORE_BATCHES_FIELD_NUMBER << 3 | 2])
_COLUMNS = log_pb2.Columns


def _column_pieces(packed: Packed) -> list[bytes]:
    """Return the pieces of a serialized ``Columns`` message."""
    pieces: list[bytes] = []
    for number, column in (
        (_COLUMNS.TS_US_FIELD_NUMBER, packed.ts_us),
        (_COLUMNS.OBSERVED_US_FIELD_NUMBER, packed.observed_us),
        (_COLUMNS.STREAM_OFFSET_FIELD_NUMBER, packed.stream_offset),
        (_COLUMNS.SEVERITY_FIELD_NUMBER, packed.severity),
        (_COLUMNS.MESSAGE_FIELD_NUMBER, packed.message),
        (_COLUMNS.ATTRIBUTES_FIELD_NUMBER, packed.attributes),
        (_COLUMNS.LOGGER_FIELD_NUMBER, _dictionary(packed.logger)),
        (_COLUMNS.EVENT_FIELD_NUMBER, _dictionary(packed.event)),
        (_COLUMNS.ERROR_CODE_FIELD_NUMBER, _dictionary(packed.error_code)),
        (_COLUMNS.TRACE_ID_FIELD_NUMBER, packed.trace_id),
        (_COLUMNS.CORRELATION_ID_FIELD_NUMBER, packed.correlation_id),
    ):
        if column:
            pieces += (_head(number, len(column)), column)
    return pieces


def _dictionary(column: DictionaryColumn) -> bytes:
    if not column.index:
        return b""
    return log_pb2.Dictionary(values=column.values, index=column.index).SerializeToString()


def _head(number: int, length: int) -> bytes:
    """Return what stands before a length-delimited field: its tag, and its length as a varint."""
    head = bytearray(((number << 3) | 2,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


class BatchEncoder:
    """Makes ``Batch`` messages; ``compress`` follows the collector's settings."""

    def __init__(self) -> None:
        self.compress = False
        self._zstd = zstandard.ZstdCompressor(level=1)

    def encode(
        self,
        *,
        stream_id: int,
        begin: int,
        end: int,
        previous_digest: bytes,
        digest: bytes,
        packed: Packed | None = None,
        losses: Iterable[Loss] = (),
        watermark_us: int = 0,
        replayed: bool = False,
        final: bool = False,
        framer_state: bytes = b"",
    ) -> bytes:
        """Make the message of one batch, serialized, as it stands within a ``PushRequest``."""
        pieces = [] if packed is None else _column_pieces(packed)
        size = sum(map(len, pieces))
        compressed = self.compress and size >= _MIN_COMPRESSED_BYTES
        if compressed:
            pieces = [self._zstd.compress(b"".join(pieces))]
        batch = log_pb2.Batch(
            stream_id=stream_id,
            begin=begin,
            end=end,
            previous_digest=previous_digest,
            digest=digest,
            record_count=0 if packed is None else packed.count,
            compression=log_pb2.COMPRESSION_ZSTD if compressed else log_pb2.COMPRESSION_NONE,
            columns_bytes=size,
            gaps=map(gap, losses),
            watermark_us=watermark_us,
            replayed=replayed,
            final=final,
            framer_state=framer_state,
        ).SerializeToString()
        payload = sum(map(len, pieces))
        if payload:
            pieces = [batch, _head(log_pb2.Batch.COLUMNS_FIELD_NUMBER, payload), *pieces]
        else:
            pieces = [batch]
        length = sum(map(len, pieces))
        return b"".join([_head(ingest_pb2.PushRequest.BATCH_FIELD_NUMBER, length), *pieces])


def joined(messages: Sequence[bytes]) -> bytes:
    """Return one ``PushRequest`` of several that each hold one batch."""
    if len(messages) == 1:
        return messages[0]
    pieces = [messages[0]]
    for message in messages[1:]:
        # Tags below 16 are one byte; what follows a tag does not depend on it.
        pieces += (_MORE, message[1:])
    return b"".join(pieces)


def gap(loss: Loss) -> log_pb2.Gap:
    """Make the message of a gap."""
    return log_pb2.Gap(
        begin=loss.begin,
        end=loss.end,
        records=loss.records,
        at_least=loss.at_least,
        reason=loss.reason,
        detail=loss.detail.encode()[:512].decode("utf-8", "ignore"),
        from_us=loss.from_us,
        to_us=loss.to_us,
        gap_id=loss.gap_id,
        severity_max=loss.severity_max,
    )


def stream_message(stream: Stream) -> ingest_pb2.Stream:
    """Make the message of a stream."""
    return ingest_pb2.Stream(
        stream_id=stream.stream_id,
        service=stream.service,
        worker=stream.worker,
        source=stream.source,
        path=stream.path,
        uid=stream.uid & 0xFFFFFFFF,
        start_offset=stream.start_offset,
        device=stream.device,
        inode=stream.inode,
        head_digest=stream.head_digest,
        head_bytes=stream.head_bytes,
        host=stream.host,
    )


def stream_of(message: ingest_pb2.Stream) -> Stream:
    """Read a stream from its message."""
    return Stream(
        stream_id=message.stream_id,
        service=message.service,
        worker=message.worker,
        source=message.source,
        path=message.path,
        uid=message.uid,
        start_offset=message.start_offset,
        device=message.device,
        inode=message.inode,
        head_digest=message.head_digest,
        head_bytes=message.head_bytes,
        host=message.host,
    )


def place_of(message: ingest_pb2.StreamState | ingest_pb2.Rewind) -> Place:
    """Read where the collector stands."""
    return Place(message.committed, message.digest, message.framer_state)
