"""Whether the inbox has room: logs never take the last of a disk, and the agent may say so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outrider.inbox import room
from tests.sdk.test_writer import opened, slot_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("free", "expected"), [(99, False), (100, True)])
def test_a_hundredth_is_left_to_others(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: bool
) -> None:
    """Below that there is no room, on a small file system as on a large one."""
    values = os.statvfs("/")[:10]
    full = os.statvfs_result((4096, 4096, 10_000, free, free, *values[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)

    assert room.has_room(inbox) is expected


def test_a_file_system_that_cannot_be_asked_has_room(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing tells the rest."""

    def fails(_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "statvfs", fails)

    assert room.has_room(inbox)


def test_the_agent_is_believed_for_half_a_minute(inbox: Path) -> None:
    """Its word holds while it is fresh; one that was killed holds nobody up for longer."""
    inbox.mkdir(exist_ok=True)
    room.say_full(inbox, is_full=True)
    said_s = (inbox / room.FULL).stat().st_mtime

    assert not room.has_room(inbox)
    assert not room.has_room(inbox, said_s + 30)
    assert room.has_room(inbox, said_s + 31)
    room.say_full(inbox, is_full=False)
    assert room.has_room(inbox)
    room.say_full(inbox, is_full=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of others are root's to make")
def test_nobody_else_can_say_it(inbox: Path) -> None:
    """A worker of another account stops no other by a file of that name."""
    inbox.mkdir(exist_ok=True)
    room.say_full(inbox, is_full=True)
    os.chown(inbox / room.FULL, 12_345, -1)

    assert room.has_room(inbox)
    os.chown(inbox, 12_345, -1)
    assert not room.has_room(inbox)


def test_only_a_file_says_it(inbox: Path) -> None:
    """A directory of that name stops no worker, fresh as it may be."""
    (inbox / room.FULL).mkdir(parents=True)

    assert room.has_room(inbox)


@pytest.mark.parametrize(
    "kind", ["link", "dangling link", "second name", "pipe", "directory", "of others"]
)
def test_what_others_put_in_its_place_is_replaced(inbox: Path, tmp_path: Path, kind: str) -> None:
    """Nothing outside the inbox is made or touched, nothing waits, and it is said all the same."""
    inbox.mkdir(exist_ok=True)
    outside, said = tmp_path / "outside", inbox / room.FULL
    if kind != "dangling link":
        outside.touch()
        os.utime(outside, (1, 1))
    if kind in {"link", "dangling link"}:
        said.symlink_to(outside)
    elif kind == "second name":
        said.hardlink_to(outside)
    elif kind == "directory":
        said.mkdir()
    elif kind == "pipe":
        os.mkfifo(said)
    elif os.geteuid() == 0:
        said.touch()
        os.chown(said, 12_345, -1)
    room.say_full(inbox, is_full=True)

    assert not room.has_room(inbox)
    assert outside.exists() is (kind != "dangling link")
    assert not outside.exists() or outside.stat().st_mtime == 1


def test_a_writer_stops_and_goes_on(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not write is counted; it looks every 256 KiB, and each time while full."""
    looks: list[Path] = []
    has_room = room.has_room

    def look(where: Path) -> bool:
        looks.append(where)
        return has_room(where)

    monkeypatch.setattr(room, "has_room", look)
    mine = opened(inbox)
    line = b"x" * 1023 + b"\n"
    for _ in range(256):
        assert mine.append(line)
    assert len(looks) == 1
    room.say_full(inbox, is_full=True)

    assert not any(mine.append(line) for _ in range(10))
    assert (len(looks), slot_of(mine).dropped) == (11, 10)
    room.say_full(inbox, is_full=False)
    assert mine.append(line)
    assert (len(looks), slot_of(mine).dropped) == (12, 10)
    assert mine.path is not None
    assert mine.path.stat().st_size == 257 * 1024
