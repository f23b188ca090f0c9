"""Reading a file in pieces gives the lines of the file, whatever their lengths."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_agent.batches import Pace
from outrider_agent.digests import Mark, digest
from outrider_agent.framing import Framer, Lines
from outrider_agent.multiline import rule
from outrider_agent.parsing import Parser
from outrider_agent.record_framing import RecordFramer
from outrider_agent.records import Records
from outrider_agent.streams import Stream
from outrider_agent.tail import CHUNK_BYTES, PIECE_BYTES, Look, Tail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_LOOKS = 100
LENGTHS = st.one_of(
    st.integers(1, 300),
    st.sampled_from([PIECE_BYTES - 1, PIECE_BYTES, 200_000, CHUNK_BYTES - 1, CHUNK_BYTES, 900_000]),
)


def plain(offset: int, _: bytes) -> Framer:
    """Lines as they are."""
    return Framer(offset)


def tail_of(path: Path, framing: Callable[[int, bytes], Framer | RecordFramer] = plain) -> Tail:
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
    return Tail(os.open(path, os.O_RDONLY), stream, Parser("auto", UTC), b"k" * 32, framing)


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


class Truncating(Framer):
    """Truncates its file as soon as it has given out a line, before anything else is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(0)
        self.path = path

    def feed(self, data: bytes, most_lines: int = 1 << 30, *, closing: bool = False) -> Lines:
        lines = super().feed(data, most_lines, closing=closing)
        if lines.lines:
            os.truncate(self.path, 0)
        return lines

    def flush(self, data: bytes) -> Lines:
        os.truncate(self.path, 0)
        return super().flush(data)


@pytest.mark.parametrize("length", [10, 5_000, PIECE_BYTES, CHUNK_BYTES, 2 * CHUNK_BYTES - 1])
@pytest.mark.parametrize("ends", [True, False])
def test_what_is_truncated_while_it_is_read_is_named_by_what_was_read(
    tmp_path: Path, length: int, ends: bool
) -> None:
    """No batch has an empty digest, as if its stream had ended; the next look tells the loss."""
    path = tmp_path / "w1.log"
    line = bytes(n % 251 + 1 for n in range(length)).replace(b"\n", b"x") + b"\n" * ends
    path.write_bytes(line)
    tail = tail_of(path, lambda *_: Truncating(path))
    for look_number in range(3):
        tail.look(1, float(look_number), may_read=True)
    if not ends:
        assert tail.flush_partial(1, 9.0)
    draft = tail.flush()

    assert (draft.end, draft.digest) == (len(line), digest(b"k" * 32, line[-4096:]))
    assert tail.look(1, 10.0, may_read=True) is Look.REPLACED
    tail.close()


def test_an_unfinished_line_that_is_truncated_away_ends_nothing(tmp_path: Path) -> None:
    """What was there at the last look and is not now is a loss, which the next look finds."""
    path = tmp_path / "w1.log"
    path.write_bytes(b"one\nunfinished")
    tail = tail_of(path)
    tail.look(1, 1.0, may_read=True)
    os.truncate(path, 4)

    assert not tail.flush_partial(1, 2.0)
    path.write_bytes(b"two\nunfinished")
    assert not tail.flush_partial(1, 2.0)
    assert tail.look(1, 3.0, may_read=True) is Look.REPLACED
    tail.close()


def test_a_record_is_not_closed_by_bytes_of_another_file(tmp_path: Path) -> None:
    """A file as long as the one that was read, with other bytes before the record."""
    path = tmp_path / "w1.log"
    indented = rule("indented")
    assert indented is not None
    path.write_bytes(b"one\ntwo\n")
    tail = tail_of(path, lambda offset, state: RecordFramer(Framer(offset), indented, state))
    tail.look(1, 1.0, may_read=True)
    assert tail.holds
    path.write_bytes(b"six\nten\n")

    assert not tail.close_record(1, 2.0)
    path.write_bytes(b"one\ntwo\n")
    assert tail.close_record(1, 2.0)
    assert tail.flush().digest == digest(b"k" * 32, b"one\ntwo\n")
    tail.close()
