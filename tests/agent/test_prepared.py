"""Files whose writer prepares room at their end and fills it: NULs that become lines."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider_agent.framing import Framer
from outrider_agent.prepared import read_settled
from outrider_agent.tail import CHUNK_BYTES, Look
from tests.agent.harness import numbered
from tests.agent.stepped import Stepped, connected_host
from tests.agent.test_tail import MAX_LOOKS, tail_of

if TYPE_CHECKING:
    from pathlib import Path

ROOMS = st.sampled_from([1, 100, 4096, 65536, CHUNK_BYTES + 5, 700_000])
LENGTHS = st.sampled_from([1, 30, 5000, 300_000])


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent has a session."""
    return connected_host(tmp_path / "host", "window_bytes = 4194304")


def filled(path: Path, offset: int, content: bytes) -> int:
    """Write into the room of a file; return where the next line goes."""
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, content, offset)
    os.close(fd)
    return offset + len(content)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            ROOMS,
            st.lists(st.tuples(LENGTHS, st.booleans()), max_size=4),
            st.integers(0, 3),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_prepared_room_gives_each_line_once(
    tmp_path: Path, steps: list[tuple[int, list[tuple[int, bool]], int, bool]]
) -> None:
    """However room is prepared, filled, extended, cut off and looked at: no loss, nothing twice."""
    path = tmp_path / "a.log"
    path.write_bytes(b"")
    tail, at = tail_of(path), 0
    found: list[int] = []
    wanted: list[int] = []

    def look(most: int) -> None:
        for _ in range(most):
            seen = tail.look(1, 1.0, may_read=True)
            assert seen is not Look.REPLACED
            found.extend(len(message or "") for message in tail.flush().records.message)
            if seen is Look.NOTHING:
                return

    for room, lines, looks, is_cut in steps:
        os.truncate(path, max(path.stat().st_size, at + room))
        look(looks)
        for length, in_two in lines:
            line = b"x" * length + b"\n"
            begun = len(line) // 2 if in_two else 0
            filled(path, at, line[:begun])
            look(looks)
            at = filled(path, at + begun, line[begun:])
            wanted.append(min(length, 256 * 1024))
            look(looks)
        if is_cut:
            os.truncate(path, at)
            look(looks)
    look(MAX_LOOKS)
    at_end = tail.at_end()
    tail.flush_partial(1, 1.0)
    tail.close()

    assert found == wanted
    assert at_end
    assert not tail.has_pending
    assert tail.position == tail.size == at


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("room_bytes", [65_536, 1 << 20])
def test_a_mapped_file_of_prepared_rooms_is_delivered(host: Stepped, room_bytes: int) -> None:
    """Room after room, filled through a mapping: each line once, unmarked, and no gap."""
    path = host.site.write("a.log", "")
    at = sent = 0
    for n in range(1, 4):
        os.truncate(path, n * room_bytes)
        host.step(1.0)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as room:
            while at + 10_000 < n * room_bytes:
                text = numbered(sent, sent + 300).encode()
                room[at : at + len(text)] = text
                at, sent = at + len(text), sent + 300
                host.step(0.3)
    host.settle()
    behind = host.agent._files.picture.backlog_bytes if host.agent else -1
    host.stop()
    os.truncate(path, at)
    at = filled(path, at, numbered(sent, sent + 10).encode())
    host.start()
    host.connect()
    host.settle()

    database = host.collector.database
    assert database.messages() == numbered(0, sent + 10).splitlines()
    assert database.gaps == {}
    assert behind == 0
    assert not any(row.replayed for row in database.rows)
    host.crash()


@pytest.mark.usefixtures("leases")
def test_a_file_with_nothing_but_room_is_no_stream_yet(host: Stepped) -> None:
    """What proves that a file is a stream's must not be NULs that are written over."""
    path = host.site.write("a.log", "")
    os.truncate(path, 65_536)
    host.settle()
    opened = len(host.collector.database.streams)
    filled(path, 0, b"first\n")
    host.settle()
    host.crash()
    filled(path, 6, numbered(0, 200).encode())
    host.start()
    host.connect()
    host.settle()

    database = host.collector.database
    assert opened == 0
    assert database.messages() == ["first", *numbered(0, 200).splitlines()]
    assert database.gaps == {}
    host.crash()


def test_a_writer_that_overtakes_the_read_makes_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes behind NULs count only where the NULs are still there after the read."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n" + b"\0" * 4 + b"two\n")
    fd = os.open(path, os.O_RDONLY)
    pread = os.pread
    filled_later = iter([True])

    def overtaken(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        if next(filled_later, False):
            filled(path, 4, b"and\n")
        return data

    monkeypatch.setattr(os, "pread", overtaken)
    first, then = read_settled(fd, 100, 0), read_settled(fd, 100, 0)
    os.close(fd)

    assert (first, then) == (b"one\n", b"one\nand\ntwo\n")


def test_a_hole_counts_when_something_stands_behind_it() -> None:
    """NULs at the end of what was read leave the end at the line's start."""
    framer = Framer(0, 8)
    framer.feed(b"a\n" + bytes(100))
    at_first = framer.end, framer.next
    framer.written_over()
    again = framer.next
    lines = framer.feed(b"bc\n" + bytes(97))

    assert at_first == (2, 102)
    assert again == 2
    assert (lines.lines, lines.starts, framer.end) == ([b"bc"], [2], 5)
