"""A segment's life, from its writer's side.

A segment is a file of records in the inbox, written by one process. Its writer holds a shared flock
for as long as it lives; the kernel frees it whatever way the process ends, so that an unlocked
segment is one whose writer is gone. The agent retires such a segment: it takes the exclusive lock,
moves the file to ``closing/``, reads it to the end, and unlinks it.

Between a writer's open and its lock the agent may have moved the file. Hence, after it has the
lock, a writer compares what it has open with what the path names, and starts anew where they
differ.

A process that starts takes over an unlocked segment of its own service, worker name and user, so
that a process a second is not a stream a second. Taking over is exclusive: it happens under a lock
on the inbox directory, which all starting processes take for that moment, and under the segment's
exclusive lock, which is then converted to the shared one. The conversion is not atomic, the agent
may come between, so the comparison is made again after it. Where the directory's lock cannot be
had in time (a stopped process holds it, the file system has none) nothing is taken over: a new
segment is always safe.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outrider.failpoint import failpoint
from outrider.inbox import descriptors, names, slot
from outrider.inbox.descriptors import HAS_FLOCK

if HAS_FLOCK:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 64 << 20
"""A segment that has grown past this is left for a new one, so that the agent can retire it."""

FILE_MODE = 0o640
"""Owner writes; the group, which the inbox directory gives to its files, is the agent's."""

INBOX_MODE = 0o3770
"""Setgid: files belong to the inbox's group. Sticky: nobody removes another's files."""

_LOCK_TIMEOUT_S = 2.0
_LOCK_POLL_S = 0.002
_ATTEMPTS = 20


class Segment(NamedTuple):
    """A segment that this process holds."""

    path: Path
    name: names.SegmentName
    descriptor: int
    slot_descriptor: int
    """-1 when the slot could not be opened."""
    size_bytes: int
    ends_torn: bool = False
    """The last writer died within a record: its last byte is no newline."""
    predecessor: slot.Slot | None = None
    """The slot as the process before left it, when the segment was taken over."""


def prepare_inbox(inbox: Path) -> None:
    """Create the inbox directory where it is missing. Raises OSError."""
    if inbox.is_dir():
        return
    inbox.parent.mkdir(parents=True, exist_ok=True)
    try:
        inbox.mkdir(0o770)
    except FileExistsError:
        if not inbox.is_dir():
            raise
        return
    # mkdir obeys the umask and ignores the special bits on some systems.
    inbox.chmod(INBOX_MODE)


def open_segment(inbox: Path, service: str, worker: str, *, numbered: bool) -> Segment:
    """Take over or create a segment for a process of ``service``.

    With ``numbered``, when living processes hold segments under the name ``worker``, the name is
    ``worker-2``, ``worker-3`` and so on, the lowest that is free. Raises OSError.
    """
    prepare_inbox(inbox)
    directory = _lock_directory(inbox, _LOCK_TIMEOUT_S)
    try:
        if directory is None:
            return create(inbox, service, worker)
        return _open_exclusively(inbox, service, worker, numbered=numbered)
    finally:
        if directory is not None:
            descriptors.close(directory)


def open_next(inbox: Path, name: names.SegmentName) -> Segment | None:
    """Create a further segment for the holder of ``name``; None while another process is opening.

    Raises OSError.
    """
    directory = _lock_directory(inbox, timeout_s=0)
    if directory is None and HAS_FLOCK:
        return None
    try:
        return create(inbox, name.service, name.worker)
    finally:
        if directory is not None:
            descriptors.close(directory)


def create(inbox: Path, service: str, worker: str) -> Segment:
    """Create a segment of its own. Raises OSError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
    for _ in range(_ATTEMPTS):
        name = names.SegmentName(service, worker, os.urandom(8).hex())
        path = inbox / name.filename
        descriptor = descriptors.open_file(path, flags, FILE_MODE)
        with suppress(FileNotFoundError):
            path.chmod(FILE_MODE)  # whatever the umask is
        failpoint("open/flock")
        if _claim(path, descriptor):
            return _held(path, name, descriptor)
        # An agent took the empty file away before we had the lock.
        descriptors.close(descriptor)
    raise OSError(errno.EBUSY, "an agent takes every new segment away", str(inbox))


def _open_exclusively(inbox: Path, service: str, worker: str, *, numbered: bool) -> Segment:
    ours = _segments_of(inbox, service)
    number, name = 1, worker
    while True:
        paths = ours.get(names.normal(name), [])
        if not numbered or not any(map(_is_living, paths)):
            break
        number += 1
        name = f"{worker}-{number}"
    for path in paths:
        segment = _take_over(path)
        if segment is not None:
            return segment
    return create(inbox, service, name)


def _segments_of(inbox: Path, service: str) -> dict[str, list[Path]]:
    """Return the service's segments that belong to our user, by worker."""
    found: dict[str, list[Path]] = {}
    wanted, uid = names.normal(service), _uid()
    with os.scandir(inbox) as entries:
        for entry in entries:
            name = names.parse(entry.name)
            if name is None or name.service != wanted:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_uid == uid:
                found.setdefault(name.worker, []).append(Path(entry.path))
    return found


def _is_living(path: Path) -> bool:
    """Tell whether a process holds the segment for writing."""
    try:
        descriptor = descriptors.open_file(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return False  # gone
    try:
        # A writer's lock is shared; an agent's is exclusive, and it is about to take the file away.
        return not _lock(descriptor, exclusive=True) and _lock(descriptor, exclusive=False)
    finally:
        descriptors.close(descriptor)


def _take_over(path: Path) -> Segment | None:
    """Try to take a segment over; None when it is held, full, gone or being retired.

    Nor one whose slot had no room: only an agent can tell that what was lost there is not known.
    """
    name = names.parse(path.name)
    try:
        descriptor = descriptors.open_file(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None  # gone, or not ours to write
    segment: Segment | None = None
    try:
        failpoint("open/flock")
        full = os.fstat(descriptor).st_size >= MAX_BYTES
        usable = name is not None and not full
        if name and usable and _claim(path, descriptor) and not _has_empty_slot(path):
            segment = _held(path, name, descriptor)
    except OSError:
        segment = None
    finally:
        if segment is None:
            descriptors.close(descriptor)
    return segment


def _claim(path: Path, descriptor: int) -> bool:
    """Take the lock that says "living writer", unless somebody else has or had the file."""
    return (
        _lock(descriptor, exclusive=True)
        and _is_at(path, descriptor)
        and _lock(descriptor, exclusive=False)
        and _is_at(path, descriptor)
    )


def _held(path: Path, name: names.SegmentName, descriptor: int) -> Segment:
    """Return the locked segment with its slot open, if that can be opened."""
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    predecessor = None
    slot_path = path.with_name(names.slot_filename(path.name))
    try:
        slot_descriptor = _open_slot(slot_path)
        slot_path.chmod(FILE_MODE)
        found = os.read(slot_descriptor, slot.SIZE)
        predecessor = slot.unpack(found)
        if not found:
            _make_room(slot_descriptor)
        slot_descriptor = descriptors.move_up(slot_descriptor)
    except OSError:
        slot_descriptor = -1
    high = descriptors.move_up(descriptor)
    return Segment(path, name, high, slot_descriptor, size, torn, predecessor)


def _has_empty_slot(path: Path) -> bool:
    try:
        status = path.with_name(names.slot_filename(path.name)).stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _make_room(slot_descriptor: int) -> None:
    """Give a new slot its size, which it keeps when there is no room: it is only overwritten."""
    with suppress(OSError):
        os.pwrite(slot_descriptor, bytes(slot.SIZE), 0)


def _open_slot(path: Path) -> int:
    """Open the slot, made where there is none. Raises OSError where it is no regular file."""
    descriptor = descriptors.open_file(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    descriptors.close(descriptor)
    raise OSError(errno.EINVAL, "the slot is no regular file", str(path))


def _is_at(path: Path, descriptor: int) -> bool:
    """Tell whether the path still names the file that is open."""
    try:
        there, here = path.stat(follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, here) and stat.S_ISREG(here.st_mode)


def _lock(descriptor: int, *, exclusive: bool) -> bool:
    """Take a lock without waiting; True when we have it (or there are no locks on this system)."""
    if not HAS_FLOCK:
        return True
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True


def _lock_directory(
    inbox: Path,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """Return a descriptor that holds the inbox's lock, or None when it cannot be had in time."""
    if not HAS_FLOCK:
        return None
    descriptor = descriptors.open_file(inbox, os.O_RDONLY | os.O_DIRECTORY)
    end = clock() + timeout_s
    try:
        while not _lock(descriptor, exclusive=True):
            if clock() >= end:
                descriptors.close(descriptor)
                return None
            sleep(_LOCK_POLL_S)
    except OSError:  # this file system locks no directories
        descriptors.close(descriptor)
        return None
    return descriptor


def _uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0
