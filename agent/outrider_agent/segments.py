"""Segments of the inbox, from the agent's side: is the writer alive, how did it end, what then.

A writer holds a shared lock for life. Once a second the agent asks for the exclusive lock without
waiting; while it is refused the writer lives. When it is granted the writer is gone: if its slot
does not say that it ended well, it died, and whoever holds the lock writes that down, once for each
writer: a process may take the segment over and die between two looks, so writers are told apart by
pid and time of opening. Then the lock is given back, so that the next process of the same service
can take the segment over. A slot that is empty had no room: what its writer lost nobody knows.

A segment that nobody took over for a minute (`retire_after_s`) is retired: with the lock held it is
moved to ``closing/``, read to its end once more, and unlinked, lock still held, when all of it is
acknowledged and newer segments fill the kept tail. A writer that opened it meanwhile finds another
file, or none, at its path, and starts anew.

Files of other names are written without locks (open, append, close for each line). They are moved
after ten quiet minutes and end a day after that, if their size has not changed.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from outrider.failpoint import failpoint
from outrider.inbox import names, slot
from outrider.instants import from_us
from outrider_agent.discovery import CLOSING, closing_advice, open_closing, open_regular

if TYPE_CHECKING:
    from outrider_agent.tail import Tail

LOCKLESS_QUIET_S = 600.0
LOCKLESS_CLOSING_S = 86_400.0


@dataclass(slots=True, eq=False)
class SegmentWatch:
    """What is known of the process that writes a segment."""

    path: str
    locked_by_writer: bool = False
    held: bool = False
    """The agent has the exclusive lock, for good."""
    closing: bool = False
    lockless: bool = False
    ended_us: int = 0
    """When the writer was found gone, microseconds since 2000; 0 while it lives."""
    died: bool = False
    uncounted: bool = False
    """Whether the writer is gone and its slot had no room: how much was lost is not known."""
    said_goodbye: bool = False
    """Whether the last record read is a clean end; for writers whose slot cannot be read."""
    unlocked_since: float | None = None
    trouble: str = ""
    """Why it could not be moved to ``closing/`` at last, and what to do."""
    last: slot.Slot = field(default_factory=slot.Slot)
    """What the slot said last."""
    _gone: tuple[int, int] = (0, 0)
    """Pid and time of opening of the last writer that was found gone."""
    _told: tuple[int, int] = (0, 0)
    """Those of the last one whose death was told."""

    @property
    def state(self) -> tuple[bool, int, int]:
        """What changes when the process does: whether it lives, when it ended, what it noted."""
        return self.locked_by_writer, self.ended_us, self.last.flags

    def read_slot(self) -> slot.Slot:
        """Read the slot anew; what it said last where it cannot be read."""
        try:
            fd, _ = open_regular(self._slot_path(), follow_links=False)
        except OSError:
            return self.last
        try:
            found = slot.unpack(os.read(fd, slot.SIZE))
        except OSError:
            found = None
        finally:
            os.close(fd)
        if found is not None:
            self.last = found
        return self.last

    def _slot_path(self) -> str:
        return _slot_path(self.path)

    # ---------------------------------------------------------------- life and death

    def check(self, fd: int, now: float, now_us: int) -> bool:
        """See whether the writer lives; True when it was found dead just now.

        The lock is given back, unless the segment is being retired.
        """
        if self.lockless or self.held:
            return False
        if not _lock(fd):
            self.locked_by_writer, self.unlocked_since = True, None
            self.ended_us, self.died = 0, False
            return False
        try:
            return self._writer_gone(now, now_us)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _writer_gone(self, now: float, now_us: int) -> bool:
        self.locked_by_writer = False
        said = self.read_slot()
        writer = said.pid, said.opened_us
        if self.unlocked_since is None or writer != self._gone:
            self.unlocked_since, self.ended_us, self.died = now, now_us, False
        self._gone = writer
        self.uncounted = not said.pid and is_empty_slot(self.path)
        newly_dead = said.died and writer != self._told
        if said.died or said.flags & slot.DEATH_RECORDED:
            self.died, self._told = True, writer
        if newly_dead and self._record_death(said, now_us):
            self._set_flag(said.flags | slot.DEATH_RECORDED)
            return False
        return newly_dead

    def _record_death(self, said: slot.Slot, now_us: int) -> bool:
        """Append ``worker.died`` to the segment; False where the agent may not write there."""
        line = msgspec.json.encode(
            {
                "ts": _rfc3339(now_us),
                "severity": 17,
                "event": "worker.died",
                "message": f"process {said.pid} ended without a word",
                "attributes": {"pid": said.pid, "told_by": "agent"},
            }
        )
        try:
            fd, _ = open_regular(self.path, follow_links=False, mode=os.O_WRONLY | os.O_APPEND)
        except OSError:
            return False
        try:
            # The last words may lack their newline.
            record = b"\n" + line + b"\n"
            return os.write(fd, record) == len(record)
        except OSError:
            return False
        finally:
            os.close(fd)

    def _set_flag(self, flags: int) -> None:
        with suppress(OSError):
            fd, _ = open_regular(self._slot_path(), follow_links=False, mode=os.O_WRONLY)
            try:
                os.pwrite(fd, bytes([flags]), slot.FLAGS_OFFSET)
            finally:
                os.close(fd)

    # ---------------------------------------------------------------- retiring

    def wants_to_retire(self, now: float, quiet_s: float, after_s: float) -> bool:
        """Whether the segment has been left long enough: ``after_s`` where it has a lock.

        One without a slot is left at once: nobody takes it over.
        """
        if self.closing:
            return False
        if self.lockless:
            return quiet_s > LOCKLESS_QUIET_S
        if self.locked_by_writer or self.unlocked_since is None:
            return False
        continued = bool(self.last.flags & slot.CONTINUED)
        return continued or self.uncounted or now - self.unlocked_since > after_s

    def retire(self, tail: Tail) -> bool:
        """Move the segment to ``closing/`` under the exclusive lock; False if somebody has it."""
        if not self.lockless:
            if not _lock(tail.fd):
                return False
            self.held = True
            failpoint("LOCK_EX/move")
        here = Path(self.path)
        if not _is_at(here, tail.fd):
            self.closing = True
            return True
        try:
            there = _move_aside(here)
        except OSError as error:
            self._give_back(tail.fd)
            self.trouble = f"{error.strerror or error}: {closing_advice(error)}"
            return False
        self.trouble = ""
        self.read_slot()
        with suppress(OSError):
            os.unlink(self._slot_path())  # noqa: PTH108  a string
        self.path, self.closing = str(there), True
        return True

    def _give_back(self, fd: int) -> None:
        if self.held:
            fcntl.flock(fd, fcntl.LOCK_UN)
            self.held = False

    def may_end(self, fd: int, quiet_s: float) -> bool:
        """Whether a moved segment can be ended: nobody can append to it any more."""
        if not self.closing:
            return False
        if self.lockless:
            return quiet_s > LOCKLESS_CLOSING_S
        if not self.held:
            self.held = _lock(fd)
        return self.held


@dataclass(slots=True, eq=False)
class Kept:
    """A delivered segment in ``closing/`` that is kept for a while."""

    fd: int
    path: str
    size: int
    mtime_ns: int

    def unlink(self) -> None:
        """Remove it; the lock, held until now, goes with the descriptor."""
        failpoint("move/unlink")
        with suppress(OSError):
            if _is_at(Path(self.path), self.fd):
                os.unlink(self.path)  # noqa: PTH108  a string
        os.close(self.fd)


def _move_aside(here: Path) -> Path:
    """Move a segment to ``closing/`` beside it, which nobody else may have made. Raises OSError."""
    inbox = os.open(here.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileExistsError):
            os.mkdir(CLOSING, 0o700, dir_fd=inbox)
        closing = open_closing(inbox)
        try:
            os.rename(here.name, here.name, src_dir_fd=inbox, dst_dir_fd=closing)
        finally:
            os.close(closing)
    finally:
        os.close(inbox)
    return here.parent / CLOSING / here.name


def over_budget(kept: list[Kept], budget_bytes: int, most: int) -> list[Kept]:
    """Take out of ``kept`` the oldest segments beyond the budget, or beyond ``most``."""
    kept.sort(key=lambda one: one.mtime_ns)
    total, out = sum(one.size for one in kept), []
    while kept and (total > budget_bytes or len(kept) > most):
        oldest = kept.pop(0)
        total -= oldest.size
        out.append(oldest)
    return out


def has_something_to_tell(fd: int, path: str) -> bool:
    """Whether an empty segment tells of records that found no room, or of a writer that is gone.

    Nobody has it yet while it has no slot: a lock taken then would drive its writer away.
    """
    watch = SegmentWatch(path)
    said = watch.read_slot()
    if said.dropped:
        return True
    if (not said.pid and not is_empty_slot(path)) or not _lock(fd):
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def is_empty_slot(path: str) -> bool:
    """Whether the slot beside a segment is there and had no room for its 64 bytes."""
    try:
        status = os.stat(_slot_path(path), follow_symlinks=False)  # noqa: PTH116  a string
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _slot_path(path: str) -> str:
    directory, filename = os.path.split(path)
    return os.path.join(directory, names.slot_filename(filename))  # noqa: PTH118  in a loop


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(fd))
    except OSError:
        return False


def _rfc3339(us: int) -> str:
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
