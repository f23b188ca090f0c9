"""Reading a file in pieces gives the lines of the file, whatever their lengths."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_agent.batches import Pace
from outrider_agent.digests import Mark, digest
from outrider_agent.parsing import Parser
from outrider_agent.records import Records
from outrider_agent.streams import Stream
from outrider_agent.tail import CHUNK_BYTES, PIECE_BYTES, Look, Tail

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MAX_LOOKS = 100
LENGTHS = st.one_of(
    st.integers(1, 300),
    st.sampled_from([PIECE_BYTES - 1, PIECE_BYTES, 200_000, CHUNK_BYTES - 1, CHUNK_BYTES, 900_000]),
)


def tail_of(path: Path) -> Tail:
    """A tail from the file's first byte on."""
    stream = Stream(
        stream_id=1,
        service="bots",
        worker="w1",
        source="logs",
        path=str(path),
        uid=0,
        start_offset=0,
        device=1,
        inode=1,
        head_digest=b"",
        head_bytes=0,
        host="host-1",
    )
    return Tail(os.open(path, os.O_RDONLY), stream, Parser("auto", UTC), b"k" * 32)


def read_to_end(tail: Tail) -> Records:
    """Everything that looks find, in batches as they become due."""
    found = Records()
    for look_number in range(MAX_LOOKS):
        look = tail.look(1, float(look_number), may_read=True)
        found.extend(tail.flush().records)
        if look in {Look.READ, Look.NOTHING}:
            return found
    raise AssertionError(f"not at the end after {MAX_LOOKS} looks")


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(LENGTHS, min_size=1, max_size=12), grown=st.integers(0, 2_000_000))
def test_lines_longer_than_a_piece_are_read_whole(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], grown: int
) -> None:
    """Each line once, at its offset, also when a file is found half written."""
    path = tmp_path_factory.mktemp("tail") / "w1.log"
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    path.write_bytes(data[:grown])
    tail = tail_of(path)
    found = read_to_end(tail)
    with path.open("ab") as file:
        file.write(data[grown:])
    found.extend(read_to_end(tail))
    tail.close()

    assert found.stream_offset == [sum(lengths[:i]) + i for i in range(len(lengths))]
    for text, length in zip(found.message, lengths, strict=True):
        assert len(text or b"") == min(length, 256 * 1024)


def test_an_urgent_record_is_noticed_in_any_piece(tmp_path: Path) -> None:
    """A look reads several pieces; one error in the first makes all of them leave at once."""
    path = tmp_path / "w1.log"
    plain = b'{"severity":9,"message":"' + b"x" * 200 + b'"}\n'
    path.write_bytes(b'{"severity":17,"message":"m"}\n' + plain * (PIECE_BYTES // len(plain) + 10))
    tail = tail_of(path)

    assert tail.look(1, 1.0, may_read=True) is Look.READ
    assert len(tail.latest) == 2
    assert Pace().urgent(tail)
    tail.flush()
    assert not Pace().urgent(tail)
    tail.close()


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_mark_is_its_bytes_whether_it_rests_or_not(content: bytes, other: bytes) -> None:
    """It knows its bytes from any others, and its digest is the one that is sent."""
    mark = Mark(b"k" * 32, content)
    resting = Mark(b"k" * 32, content)
    resting.rest()

    for one in (mark, resting):
        assert one.fits(content)
        assert one.fits(other) == (content == other)
        assert one.digest == digest(b"k" * 32, content)
