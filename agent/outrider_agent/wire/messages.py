"""Between the agent's own values and the wire's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from outrider_agent.streams import Place, Stream
from outrider_protos.v1 import ingest_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider.columns import DictionaryColumn
    from outrider_agent.records import Packed
    from outrider_agent.streams import Loss

# Smaller payloads gain nothing that a frame's header does not cost.
_MIN_COMPRESSED_BYTES = 512


def columns_payload(packed: Packed) -> bytes:
    """Serialize columns as the ``Columns`` message."""
    return log_pb2.Columns(
        ts_us=packed.ts_us,
        observed_us=packed.observed_us,
        stream_offset=packed.stream_offset,
        severity=packed.severity,
        message=packed.message,
        attributes=packed.attributes,
        logger=_dictionary(packed.logger),
        event=_dictionary(packed.event),
        error_code=_dictionary(packed.error_code),
        trace_id=packed.trace_id,
        correlation_id=packed.correlation_id,
    ).SerializeToString()


def _dictionary(column: DictionaryColumn) -> log_pb2.Dictionary | None:
    if not column.index:
        return None
    return log_pb2.Dictionary(values=column.values, index=column.index)


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
    ) -> log_pb2.Batch:
        """Make the message of one batch."""
        payload = b"" if packed is None else columns_payload(packed)
        compressed = self.compress and len(payload) >= _MIN_COMPRESSED_BYTES
        return log_pb2.Batch(
            stream_id=stream_id,
            begin=begin,
            end=end,
            previous_digest=previous_digest,
            digest=digest,
            record_count=0 if packed is None else packed.count,
            columns=self._zstd.compress(payload) if compressed else payload,
            compression=log_pb2.COMPRESSION_ZSTD if compressed else log_pb2.COMPRESSION_NONE,
            columns_bytes=len(payload),
            gaps=map(gap, losses),
            watermark_us=watermark_us,
            replayed=replayed,
            final=final,
        )


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
    return Place(message.committed, message.digest)
