"""Files on a real file system: when one can grow no more, what is found, where one begins."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_agent import endings
from outrider_agent.configuration import SourceConfig
from outrider_agent.digests import digest
from outrider_agent.discovery import Discovery, open_regular
from outrider_agent.evidence import is_telling
from outrider_agent.parsing import Parser
from outrider_agent.reports import Reports
from outrider_agent.start import start_offset
from outrider_agent.streams import Place, Stream
from outrider_agent.tail import Look, Tail

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32


def tail_of(path: Path) -> Tail:
    """Follow a file from its start."""
    fd, _ = open_regular(str(path), follow_links=False)
    stream = Stream(
        stream_id=1, service="s", worker="w", source="file", path=str(path), host="h",
        head_digest=digest(KEY, path.read_bytes()[:10]), head_bytes=min(10, path.stat().st_size),
    )  # fmt: skip
    return Tail(fd, stream, Parser("plain", UTC), KEY)


@pytest.mark.usefixtures("leases")
def test_a_file_with_a_writer_is_not_at_its_end(tmp_path: Path) -> None:
    """The kernel tells whether anybody can still append."""
    path = tmp_path / "a"
    path.write_text("x\n")
    fd = os.open(path, os.O_RDONLY)
    try:
        with path.open("a"):
            assert endings.has_writer(fd) is True
        if endings.has_writer(fd) is None:
            pytest.skip("this file system grants no leases")
        assert endings.has_writer(fd) is False
        with path.open("a") as again:  # our lease stands in nobody's way
            again.write("y\n")
    finally:
        os.close(fd)


def test_without_leases_nobody_guesses(tmp_path: Path) -> None:
    """Where the signal of a broken lease would end the process, none is asked for."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert endings.has_writer(fd) is None
    finally:
        os.close(fd)


def test_a_tail_reads_on_and_goes_back(tmp_path: Path) -> None:
    """It can be sent back to any place whose bytes it still has, and to no other."""
    path = tmp_path / "a"
    path.write_text("one\ntwo\n")
    tail = tail_of(path)
    assert tail.look(5, 1.0, may_read=True) is Look.READ
    first = tail.flush()
    with path.open("a") as file:
        file.write("three\nfo")
    assert tail.look(6, 2.0, may_read=True) is Look.READ
    second = tail.flush()

    assert (first.begin, first.end, second.begin, second.end) == (0, 8, 8, 14)
    assert first.previous_digest == b""
    assert first.digest == second.previous_digest != second.digest
    assert tail.go_back(Place(8, first.digest), 1)
    assert tail.look(7, 3.0, may_read=True) is Look.READ
    assert tail.flush().records.message == [b"three"]
    assert not tail.go_back(Place(8, second.digest), 2)
    assert not tail.go_back(Place(1000, first.digest), 3)
    assert tail.go_back(Place(0, b""), 4)
    tail.close()


@pytest.mark.parametrize("content", ["", "new\n", "eno\nowt\n", "eno\nowt\nmore and more\n"])
def test_replaced_content_is_noticed(tmp_path: Path, content: str) -> None:
    """Shorter, of the same length or longer: other bytes where lines were read are no addition."""
    path = tmp_path / "a"
    path.write_text("one\ntwo\n")
    tail = tail_of(path)
    tail.look(5, 1.0, may_read=True)
    path.write_text(content)
    os.utime(path, ns=(1, time.time_ns() + 10_000_000_000))

    assert tail.look(6, 2.0, may_read=True) is Look.REPLACED
    tail.close()


def test_reading_waits_for_room(tmp_path: Path) -> None:
    """Without room in the window a file is looked at and not read."""
    path = tmp_path / "a"
    path.write_text("one\n")
    tail = tail_of(path)

    assert tail.look(5, 1.0, may_read=False) is Look.MORE
    assert not tail.has_pending
    assert tail.look(5, 1.0, may_read=True) is Look.READ
    tail.close()


def test_files_are_found_once_and_changes_are_noticed(tmp_path: Path) -> None:
    """The first source that fits wins; compressed and excluded files are left alone."""
    logs, inbox = tmp_path / "logs", tmp_path / "inbox"
    (logs / "deep").mkdir(parents=True)
    inbox.mkdir()
    for name in ("a.log", "b.log", "c.log.gz", "deep/d.log"):
        (logs / name).write_text("x")
    (inbox / "e.jsonl").write_text("{}")
    (inbox / "f.txt").write_text("x")
    first = SourceConfig(paths=(f"{logs}/a*",), service="first")
    second = SourceConfig(paths=(f"{logs}/**/*.log*",), exclude=("*/b.log",), service="second")
    finder = Discovery([first, second], inbox)
    found, trouble = finder.look()

    assert trouble == []
    names = {one.path.removeprefix(str(tmp_path)): one.source for one in found}
    assert names == {
        "/inbox/e.jsonl": None,
        "/logs/a.log": first,
        "/logs/deep/d.log": second,
    }
    later_ns = time.time_ns() + 10_000_000_000
    assert not finder.changed(later_ns)
    (logs / "deep" / "g.log").write_text("x")
    assert finder.changed(later_ns)


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    """Nothing else is read, and opening it never blocks."""
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(OSError, match="it is"):
        open_regular(str(path), follow_links=True)


def test_an_age_finds_its_line(tmp_path: Path) -> None:
    """`start = "1h"` begins at the first lines of the last hour of a large file."""
    now = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
    path = tmp_path / "a.log"
    with path.open("w") as file:
        for second in range(20_000, 0, -1):
            stamp = (now - timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"{stamp} INFO line of {second} s ago\n")
    os.utime(path, (now.timestamp(), now.timestamp()))
    source = SourceConfig(paths=("/x",), service="s", timezone="UTC", start="1h")
    fd = os.open(path, os.O_RDONLY)
    try:
        offset = start_offset(fd, source, now.timestamp())
        line = os.pread(fd, 60, offset).split(b"\n")[0].decode()
        late = start_offset(fd, source, (now + timedelta(hours=2)).timestamp())
    finally:
        os.close(fd)

    age = int(line.split(" of ")[1].split()[0])
    assert 3600 <= age < 3600 + 64 * 1024 / len(line) + 10
    assert late == path.stat().st_size


def test_the_same_thing_is_said_once_a_minute() -> None:
    """A message repeats after a minute with the number of times it was held back."""
    moment = [0.0]
    lines: list[str] = []
    reports = Reports(clock=lambda: moment[0], write=lines.append)
    for _ in range(10):
        reports.say("k", "trouble")
    moment[0] = 61.0
    reports.say("k", "trouble")

    assert lines == [
        "outrider agent: trouble\n",
        "outrider agent: trouble (and 9 times before this)\n",
    ]
    assert reports.settle("k")
    assert not reports.settle("k")


def test_things_are_said_and_settled_from_several_threads_at_once() -> None:
    """The disk thread says things while the loop settles others and lists them all."""
    reports = Reports(write=lambda _: None)
    over = threading.Event()

    def say() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            reports.say(f"k {number % 1500}", "trouble")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    talker = threading.Thread(target=say)
    talker.start()
    try:
        for _ in range(300):
            reports.settle_prefix("k ")
            reports.recent()
    finally:
        over.set()
        talker.join()
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("content", "telling"),
    [
        (b"same line\n" * 1000, False),
        (b"ab\ncd\nef\n" * 1000, False),
        (b"".join(b"line %d\n" % n for n in range(1000)), True),
        (b"".join(b"line %d\n" % n for n in range(20)), False),
        (b"", False),
    ],
)
def test_bytes_that_are_in_other_files_too_are_no_proof(
    tmp_path: Path, content: bytes, telling: bool
) -> None:
    """Repeated lines and a few first ones do not tell a file from another; others do."""
    path = tmp_path / "a.log"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert is_telling(fd, len(content)) is telling
    finally:
        os.close(fd)
