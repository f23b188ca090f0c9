"""Batches on the wire: what is put together by hand is what protobuf would have made."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from outrider_agent.records import Records
from outrider_agent.streams import Loss
from outrider_agent.wire.messages import BatchEncoder, joined
from outrider_protos.v1 import ingest_pb2, log_pb2

TEXT = st.one_of(st.none(), st.text(max_size=40))


def records(rows: list[tuple[str | None, str | None, str | None]]) -> Records:
    """Return records with these messages, loggers and correlation ids."""
    found = Records()
    for number, (message, logger, correlation) in enumerate(rows):
        found.stream_offset.append(number * 10)
        found.ts_us.append(number)
        found.observed_us.append(number + 1)
        found.severity.append(9)
        found.message.append(None if message is None else message.encode())
        found.attributes.append(b"{}" if number % 2 else None)
        found.logger.append(logger or None)
        found.event.append(None)
        found.error_code.append("E" * number if 0 < number < 300 else None)
        found.trace_id.append(b"t" * 16 if number % 3 == 0 else None)
        found.correlation_id.append(correlation.encode() if correlation else None)
    return found


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=20), st.booleans())
def test_a_batch_is_read_as_it_was_meant(
    rows: list[tuple[str | None, str | None, str | None]], compress: bool
) -> None:
    """Every field arrives; sizes are what they say; columns are as packed."""
    packed = records(rows).pack(clock_offset_us=5)
    encoder = BatchEncoder()
    encoder.compress = compress
    loss = Loss(
        gap_id=b"g" * 16, stream_id=7, begin=1, end=2, reason="truncated", detail="é" * 600,
        severity_max=9,
    )  # fmt: skip
    raw = encoder.encode(
        stream_id=7, begin=0, end=1 << 40, previous_digest=b"p" * 16, digest=b"d" * 16,
        packed=packed, losses=[loss], watermark_us=99, replayed=True, final=True,
    )  # fmt: skip
    batch = ingest_pb2.PushRequest.FromString(raw).batch

    assert (batch.stream_id, batch.begin, batch.end) == (7, 0, 1 << 40)
    assert (batch.previous_digest, batch.digest) == (b"p" * 16, b"d" * 16)
    assert (batch.watermark_us, batch.replayed, batch.final) == (99, True, True)
    assert batch.record_count == len(rows)
    (gap,) = batch.gaps
    assert (gap.gap_id, gap.reason, len(gap.detail.encode())) == (b"g" * 16, "truncated", 512)
    assert gap.severity_max == 9
    payload = batch.columns
    if batch.compression == log_pb2.COMPRESSION_ZSTD:
        payload = zstandard.ZstdDecompressor().decompress(payload)
    assert len(payload) == batch.columns_bytes
    columns = log_pb2.Columns.FromString(payload)
    for name in ("ts_us", "observed_us", "stream_offset", "severity", "message", "attributes",
                 "trace_id", "correlation_id"):  # fmt: skip
        assert getattr(columns, name) == getattr(packed, name)
    for name in ("logger", "event", "error_code"):
        assert tuple(getattr(columns, name).values) == getattr(packed, name).values
        assert getattr(columns, name).index == getattr(packed, name).index


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 300_000])
def test_lengths_of_every_width_are_right(size: int) -> None:
    """A length is a varint of one to five bytes: each border is met."""
    rows: list[tuple[str | None, str | None, str | None]] = [("x" * size, None, None)]
    raw = BatchEncoder().encode(
        stream_id=1, begin=0, end=9, previous_digest=b"", digest=b"", packed=records(rows).pack()
    )
    batch = ingest_pb2.PushRequest.FromString(raw).batch

    assert log_pb2.Columns.FromString(batch.columns).message[4:] == b"x" * size


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=5))
def test_batches_in_one_message_are_read_in_their_order(streams: list[int]) -> None:
    """Joining serialized messages is what protobuf would have made of all their batches."""
    alone = [
        BatchEncoder().encode(stream_id=s, begin=1, end=2, previous_digest=b"", digest=b"d" * 16)
        for s in streams
    ]
    message = ingest_pb2.PushRequest.FromString(joined(alone))
    found = [message.batch, *message.more_batches]

    assert found == [ingest_pb2.PushRequest.FromString(one).batch for one in alone]
    assert [batch.stream_id for batch in found] == streams
