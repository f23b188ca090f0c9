"""Decoding: right batches become columns, everything else is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from outrider.errors import Fault
from outrider_collector.ingest.decode import Origin, check_frame, decode_columns
from outrider_protos.limits import MAX_RECORDS
from outrider_protos.v1 import log_pb2
from tests.collector.service.agent_client import batch_of, columns_of, lines

ORIGIN = Origin("payments", "w1", "h", "file")


def decode(batch: log_pb2.Batch) -> Any:
    """Check and decode, as the service does."""
    check_frame(batch)
    return decode_columns(batch, batch.columns, ORIGIN)


def outcome(batch: log_pb2.Batch) -> str:
    """Reason of the refusal, empty when it was decoded."""
    try:
        decode(batch)
    except Fault as fault:
        return str(fault.reason)
    return ""


def with_columns(**fields: Any) -> log_pb2.Batch:
    """Two right records with some columns replaced."""
    batch = batch_of(1, lines(2), 0, 32)
    columns = log_pb2.Columns.FromString(batch.columns)
    for name, value in fields.items():
        if isinstance(value, log_pb2.Dictionary):
            getattr(columns, name).CopyFrom(value)
        else:
            setattr(columns, name, value)
    batch.columns = columns.SerializeToString()
    batch.columns_bytes = len(batch.columns)
    return batch


def test_right_batch_is_decoded() -> None:
    """Columns hold what the agent put in, and what the stream says of itself."""
    dictionary = log_pb2.Dictionary(values=["a", "b"], index=b"\2\0")
    columns = decode(with_columns(logger=dictionary))

    assert columns.message == ["line 0000000000", "line 0000000001"]
    assert columns.stream_offset.tolist() == [0, 16]
    assert columns.logger.texts(2) == ["b", None]
    assert (columns.service, columns.worker, columns.n) == ("payments", "w1", 2)


def test_batch_without_records_has_no_columns() -> None:
    """A watermark decodes to nothing."""
    assert decode(batch_of(1, b"", 0, 0, watermark_us=5)) is None


FRAMES: list[tuple[dict[str, Any], str]] = [
    ({"begin": 40}, "out of order"),
    ({"end": 2**63}, "out of order"),
    ({"digest": b"short"}, "16 bytes"),
    ({"record_count": MAX_RECORDS + 1}, "larger than the limit"),
    ({"columns_bytes": 9 << 20}, "larger than the limit"),
    ({"framer_state": b"x" * 257}, "framer_state"),
    ({"record_count": 0}, "columns without records"),
    ({"record_count": 3}, "announced"),
    ({"columns": b"\xff\xff"}, "arsing"),
    ({"gaps": [log_pb2.Gap(begin=1, end=2, gap_id=b"g" * 16)]}, "no reason"),
    ({"gaps": [log_pb2.Gap(begin=1, end=2, reason="x")]}, "gap_id"),
    ({"gaps": [log_pb2.Gap(begin=2, end=1, reason="x", gap_id=b"g" * 16)]}, "out of order"),
    ({"watermark_us": -1}, "watermark_us"),
    ({"watermark_us": 2**63 - 2}, "watermark_us"),
    ({"gaps": [log_pb2.Gap(end=1, reason="x", gap_id=b"g" * 16, from_us=2**63 - 1)]}, "times"),
    ({"gaps": [log_pb2.Gap(end=1, reason="x", gap_id=b"g" * 16, to_us=-(2**63))]}, "times"),
]


@pytest.mark.parametrize(("fields", "detail"), FRAMES)
def test_frame_that_lies_is_refused(fields: dict[str, Any], detail: str) -> None:
    """A batch that does not hold together is refused, with the place."""
    with pytest.raises(Fault, match=detail):
        decode(batch_of(1, lines(2), 0, 32, **fields))


COLUMNS: list[tuple[dict[str, Any], str]] = [
    ({"severity": b"\x09"}, "severities"),
    ({"severity": b"\x00\x09"}, "1 to 24"),
    ({"severity": b"\x09\x19"}, "1 to 24"),
    ({"ts_us": bytes(9)}, "bytes where"),
    ({"observed_us": b""}, "observed_us is missing"),
    ({"stream_offset": bytes(8) + (32).to_bytes(8)}, "do not rise"),
    ({"stream_offset": (16).to_bytes(8) + bytes(8)}, "do not rise"),
    ({"stream_offset": bytes(16)}, "do not rise"),
    ({"message": b"\0\0\0\1"}, "too short"),
    ({"logger": log_pb2.Dictionary(values=["a"], index=b"\1\2")}, "names no value"),
    ({"logger": log_pb2.Dictionary(values=["a"], index=b"\1")}, "indexes where"),
    ({"event": log_pb2.Dictionary(values=["a" * 257], index=b"\1\1")}, "too long"),
    ({"event": log_pb2.Dictionary(values=[str(i) for i in range(300)], index=b"\1\2\xff\xff")},
     "names no value"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "detail"), COLUMNS)
def test_column_that_lies_is_refused(fields: dict[str, Any], detail: str) -> None:
    """A column of another length, or out of its range, is refused."""
    with pytest.raises(Fault, match=detail):
        decode(with_columns(**fields))


@pytest.mark.parametrize("announced", [1, 1_000, 10**6])
def test_compressed_columns_hold_exactly_what_was_announced(announced: int) -> None:
    """More, or less, than columns_bytes is refused, and no more than that is ever produced."""
    batch = batch_of(1, lines(2), 0, 32, columns_bytes=announced)
    batch.columns = zstandard.compress(bytes(50 << 20))
    batch.compression = log_pb2.COMPRESSION_ZSTD
    with pytest.raises(Fault, match="columns_bytes"):
        decode(batch)


@given(st.binary(max_size=400), st.integers(0, 5), st.sampled_from([0, 1, 2]))
def test_any_bytes_are_refused_or_decoded(data: bytes, count: int, compression: int) -> None:
    """Whatever arrives as columns, the outcome is columns or a Fault, never another exception."""
    batch = batch_of(1, lines(2), 0, 32, columns=data, record_count=count, columns_bytes=len(data))
    batch.compression = compression  # type: ignore[assignment]
    assert outcome(batch) in {"", "BATCH_INVALID"}


@given(st.integers(0, 200), st.integers(0, 255))
def test_right_batch_with_one_byte_changed_never_breaks_the_decoder(at: int, value: int) -> None:
    """A flipped byte is either noticed or harmless."""
    columns = bytearray(columns_of(0, [b"a", b"bb", b"ccc"]))
    columns[at % len(columns)] = value
    batch = batch_of(
        1, lines(2), 0, 32, columns=bytes(columns), record_count=3, columns_bytes=len(columns)
    )
    assert outcome(batch) in {"", "BATCH_INVALID"}
