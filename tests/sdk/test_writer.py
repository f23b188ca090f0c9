"""Appending: one write a record; what finds no room is counted and never raised."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from outrider.inbox import segment, slot
from outrider.inbox.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path


class Full:
    """An os.write that behaves like a disk without room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 30
        self.error = errno.ENOSPC
        self.told: list[bytes] = []
        self._write, self._pwrite = os.write, os.pwrite
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        """Write what there is room for."""
        if descriptor == 2:
            self.told.append(data)
            return len(data)
        if self.room == 0:
            raise OSError(self.error, os.strerror(self.error))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written

    def fill_slots_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let slots that have no room yet get none either: overwriting one takes none."""

        def pwrite(descriptor: int, data: bytes, offset: int) -> int:
            if self.room < len(data) and os.fstat(descriptor).st_size < offset + len(data):
                raise OSError(self.error, os.strerror(self.error))
            return self._pwrite(descriptor, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)


def opened(inbox: Path, **options: Any) -> Writer:
    """A writer with its segment open."""
    mine = Writer(inbox, "payments", "w1", numbered=True, **options)
    mine.open()
    return mine


def slot_of(mine: Writer) -> slot.Slot:
    """What the slot says."""
    assert mine.path is not None
    read = slot.unpack(mine.path.with_suffix(".slot").read_bytes())
    assert read is not None
    return read


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_records_without_room_are_counted(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A full disk raises nothing, counts in the slot, tells standard error once a minute, and
    writing goes on when there is room.
    """
    now = [1000.0]
    mine = opened(inbox, monotonic=lambda: now[0])
    disk = Full(monkeypatch)
    disk.room, disk.error = 0, error

    assert not any(mine.append(b"lost\n") for _ in range(5))
    now[0] += 61
    mine.append(b"lost\n")
    disk.room = 100
    assert mine.append(b"kept\n")

    assert mine.path is not None
    assert mine.path.read_bytes() == b"kept\n"
    assert slot_of(mine).dropped == mine.dropped == 6
    assert len(disk.told) == 2
    assert disk.told[0].startswith(b"outrider: record not written, ")
    assert str(mine.path).encode() in disk.told[0]


def test_a_disk_that_was_full_from_the_start_costs_no_count(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the slot finds room, its count is kept until there is some, and said once."""
    disk = Full(monkeypatch)
    disk.fill_slots_too(monkeypatch)
    disk.room = 0
    mine = opened(inbox)
    assert mine.path is not None

    assert not any(mine.append(b"lost\n") for _ in range(5))
    assert mine.path.with_suffix(".slot").read_bytes() == b""
    assert len(disk.told) == 1
    disk.room = 1000
    assert mine.append(b"kept\n")

    assert (slot_of(mine).dropped, slot_of(mine).pid) == (5, os.getpid())


def test_what_no_slot_could_take_is_told_by_the_next_one(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records counted before there was a segment, or in one whose slot had no room, are counted."""
    mine = Writer(inbox, "payments", "w1", numbered=True, max_bytes=100)
    mine.dropped += 2
    disk = Full(monkeypatch)
    disk.fill_slots_too(monkeypatch)
    disk.room = 0
    mine.open()
    mine.append(b"lost\n")
    first = mine.path
    disk.room = 60
    assert mine.append(b"kept\n".rjust(50))
    disk.room = 1000
    assert mine.append(b"kept\n".rjust(60))
    assert mine.path != first
    mine.append(b"kept\n")

    slots = [slot.unpack(path.read_bytes()) for path in inbox.glob("*.slot")]
    assert sum(one.dropped for one in slots if one is not None) == 3


def test_after_a_short_write_the_next_record_begins_a_line(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The torn record is counted; the one after it is whole on a line of its own."""
    mine = opened(inbox)
    disk = Full(monkeypatch)
    disk.room = 4

    assert not mine.append(b"torn record\n")
    disk.room = 100
    assert mine.append(b"whole\n")

    assert mine.path is not None
    assert mine.path.read_bytes() == b"torn\nwhole\n"
    assert mine.dropped == 1


def test_a_torn_record_is_remembered_while_there_is_no_room(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many records find no room after the torn one, the first that does is whole."""
    mine = opened(inbox)
    disk = Full(monkeypatch)
    disk.room = 4
    assert not any(mine.append(b"torn record\n") for _ in range(3))
    disk.room = 100
    assert mine.append(b"whole\n")

    assert mine.path is not None
    assert mine.path.read_bytes() == b"torn\nwhole\n"
    assert mine.dropped == 3


def test_a_full_segment_is_left_for_a_new_one(inbox: Path) -> None:
    """Beyond the limit the writer goes on in a new segment of the same name; the old one is
    unlocked and says that it was continued; no record is lost or torn at the border.
    """
    mine = opened(inbox, max_bytes=1000)
    first = mine.path
    assert first is not None
    mine.progress(3, 10, "on")
    for i in range(300):
        assert mine.append(f"{i:09d}\n".encode())

    lines = sorted(line for p in inbox.glob("*.jsonl") for line in p.read_bytes().splitlines())
    assert lines == [f"{i:09d}".encode() for i in range(300)]
    assert mine.path != first
    old = slot.unpack(first.with_suffix(".slot").read_bytes())
    assert old is not None and old.flags == slot.CONTINUED and not old.died
    assert (slot_of(mine).done, slot_of(mine).total, slot_of(mine).note) == (3, 10, "on")
    assert len({p.name.split("~")[1] for p in inbox.glob("*.jsonl")}) == 1


def test_threads_lose_nothing_while_segments_change(inbox: Path) -> None:
    """Threads that write while segments change find the old file or the new, never another."""
    mine = opened(inbox, max_bytes=2000)

    def run(name: int) -> None:
        for i in range(500):
            assert mine.append(f"{name}:{i}\n".encode())

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = [line for p in inbox.glob("*.jsonl") for line in p.read_bytes().splitlines()]
    assert len(lines) == 2000
    assert {*lines} == {f"{n}:{i}".encode() for n in range(4) for i in range(500)}


def test_progress_overwrites_the_slot(inbox: Path) -> None:
    """What is not named stays; the time of the report is kept; no record is written."""
    mine = opened(inbox, wall_us=lambda: 1_700_000_000_000_000)
    mine.progress(1, 100, "reading")
    mine.progress(2, None, None)

    said = slot_of(mine)

    assert (said.done, said.total, said.note) == (2, 100, "reading")
    assert said.progress_us == said.opened_us == 1_700_000_000_000_000
    assert said.pid == os.getpid()
    assert mine.path is not None and mine.path.read_bytes() == b""


def test_a_closed_descriptor_is_noticed(inbox: Path) -> None:
    """A program that closes every descriptor makes the writer open anew, not fail."""
    mine = opened(inbox)
    assert mine._segment is not None
    os.close(mine._segment.descriptor)

    assert not mine.append(b"a\n")
    assert not mine.is_open
    assert mine.dropped == 0
    mine.open()
    assert mine.append(b"a\n")


def test_an_inbox_that_cannot_be_used_is_tried_again_later(tmp_path: Path) -> None:
    """After a failure the inbox is left alone for ten seconds, then tried again."""
    now = [0.0]
    place = tmp_path / "inbox"
    place.write_text("in the way")
    mine = Writer(place, "payments", "w1", numbered=True, monotonic=lambda: now[0])
    with pytest.raises(FileExistsError):
        mine.open()
    place.unlink()
    with pytest.raises(BlockingIOError):
        mine.open()
    now[0] = 10.0

    mine.open()

    assert mine.append(b"a\n")


def test_opening_twice_at_once_opens_one(inbox: Path) -> None:
    """Threads that log first at the same time share one segment."""
    mine = Writer(inbox, "payments", "w1", numbered=True)
    threads = [threading.Thread(target=mine.open) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(inbox.glob("*.jsonl"))) == 1


def test_a_signal_handler_does_not_wait_for_itself(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging from within the opening, as a signal handler may, is refused and not a deadlock."""
    mine = Writer(inbox, "payments", "w1", numbered=True)
    real = segment.open_segment

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        with pytest.raises(BlockingIOError):
            mine.open()
        return real(*args, **kwargs)

    monkeypatch.setattr(segment, "open_segment", interrupted)
    mine.open()

    assert mine.is_open
