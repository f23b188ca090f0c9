"""How a process appends records to its segment.

One ``os.write`` per record, no thread, no buffer: a record whose call returned is in the kernel and
survives whatever becomes of the process. Now and then it asks whether the inbox has room
(:mod:`.room`). A write that finds none never raises into the program: the record is counted in the
slot, and standard error is told, at most once a minute. The slot is written when the segment is
opened, so that its room is there when none is left; where there was none even then, the count waits
in memory until there is. After a short write the next record begins with a newline, so that a torn
record spoils no other.

The descriptor's number stays the same for the life of the process. A new segment is put under it
with dup2, so that a thread that is about to write finds either the old file or the new one.
"""

from __future__ import annotations

import errno
import math
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from outrider.inbox import descriptors, room, segment, slot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_COMPLAINT_INTERVAL_S = 60.0
_RETRY_INTERVAL_S = 10.0
# Whether there is room is looked at after so many bytes; while there is none, for each record.
_LOOK_BYTES = 256 << 10
# How long a thread waits for another one that opens the inbox, which takes milliseconds.
_PATIENCE_S = 5.0


EVERY_S = 300
"""Who reports progress does so again within five minutes, unless it says otherwise."""


class Progress(NamedTuple):
    """What ``progress()`` said last."""

    done: int = 0
    total: int = 0
    note: str = ""
    at_us: int = 0
    every_s: int = EVERY_S


class Writer:
    """The inbox of one process. A forked child needs a Writer of its own."""

    def __init__(
        self,
        inbox: Path,
        service: str,
        worker: str,
        *,
        numbered: bool,
        max_bytes: int = segment.MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Open nothing yet; ``numbered`` and the limits are those of :mod:`.segment`."""
        self.inbox = inbox
        self.service = service
        self.worker = worker
        """The name asked for; after ``open`` the one that was free."""
        self.dropped = 0
        """Records that found no room in this segment, those of the processes before included."""
        self._numbered = numbered
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._wall_us = wall_us
        self._segment: segment.Segment | None = None
        self._descriptor = -1
        self._size_bytes = 0
        self._look_at_bytes = 0
        """Whether there is room is looked at when the segment is longer than this."""
        self._torn = False
        self._slot_owed = False
        """The slot does not say what it should: there was no room for it."""
        self._told_dropped = 0
        """How many dropped records the slot tells of."""
        self._opened_us = 0
        self._progress = Progress()
        self._flags = 0
        self._not_before = 0.0
        self._complained_at: float | None = None
        # Taken only to open and to change segments, never to write a record.
        self._opening = threading.Lock()
        self._opener = 0

    @property
    def path(self) -> Path | None:
        """The current segment."""
        return self._segment.path if self._segment else None

    @property
    def is_open(self) -> bool:
        """True while there is a segment to write to."""
        return self._descriptor >= 0

    def open(self) -> slot.Slot | None:
        """Take over or create a segment; return the slot its last writer left, if it died.

        Raises OSError, and soon again without trying: one attempt every 10 seconds.
        """
        if self._monotonic() < self._not_before:
            raise BlockingIOError("waiting before the inbox is tried again")
        # A signal handler that logs may interrupt this very function: it must not wait for itself.
        if self._opener == threading.get_ident() or not self._opening.acquire(timeout=_PATIENCE_S):
            raise BlockingIOError("the inbox is being opened")
        try:
            self._opener = threading.get_ident()
            if self.is_open:
                return None
            held = segment.open_segment(
                self.inbox, self.service, self.worker, numbered=self._numbered
            )
            self.worker = held.name.worker
            self._begin(held)
        except OSError:
            self._not_before = self._monotonic() + _RETRY_INTERVAL_S
            raise
        finally:
            self._opener = 0
            self._opening.release()
        before = held.predecessor
        return before if before is not None and before.died else None

    def append(self, line: bytes) -> bool:
        """Write one record, a line with its newline.

        False when it could not be written. It was counted, unless ``is_open`` is false:
        then somebody closed the descriptor, and the record may be appended after ``open``.
        """
        if self._size_bytes >= self._look_at_bytes and not self._has_room():
            self._drop(None)
            return False
        if self._torn:
            # Until a write succeeds: one that finds no room leaves the torn record as it was.
            line = b"\n" + line
        descriptor = self._descriptor
        try:
            written = os.write(descriptor, line)
        except OSError as error:
            if error.errno == errno.EBADF:
                self._lose(descriptor)
            else:
                self._drop(error)
            return False
        self._size_bytes += written
        self._torn = written != len(line)
        if self._torn:
            self._drop(None)
            return False
        if self._slot_owed:
            self._write_slot()
        if self._size_bytes > self._max_bytes:
            self._continue()
        return True

    def _has_room(self) -> bool:
        if self._segment is not None and not room.has_room(self.inbox):
            return False
        self._look_at_bytes = self._size_bytes + _LOOK_BYTES
        return True

    def progress(
        self,
        done: int | None,
        total: int | None,
        note: str | None,
        every_s: float | None = None,
    ) -> None:
        """Overwrite the slot; None leaves a part as it was."""
        told = self._progress
        self._progress = Progress(
            told.done if done is None else done,
            told.total if total is None else total,
            told.note if note is None else note,
            self._wall_us(),
            told.every_s if every_s is None else math.ceil(min(every_s, slot.MAX_EVERY_S)),
        )
        self._write_slot()

    def end(self, *, crashed: bool = False) -> None:
        """Mark the end, clean or already recorded as a crash.

        The segment stays open and locked until the process is gone.
        """
        self._flags |= slot.DEATH_RECORDED if crashed else slot.ENDED
        self._write_slot()

    def _begin(self, held: segment.Segment) -> None:
        self._segment = held
        self._size_bytes = held.size_bytes
        self._look_at_bytes = held.size_bytes
        self._torn = held.ends_torn
        self._descriptor = held.descriptor
        self._opened_us = self._wall_us()
        self._flags = 0
        # Whoever counts must miss nothing that the process before could not write, nor what was
        # counted here and no slot could take.
        untold = self.dropped - self._told_dropped
        self._told_dropped = 0 if held.predecessor is None else held.predecessor.dropped
        self.dropped = self._told_dropped + untold
        self._write_slot()

    def _continue(self) -> None:
        """Go on in a new segment, so that the agent can retire this one."""
        old = self._segment
        if old is None or not self._opening.acquire(blocking=False):
            return
        try:
            new = segment.open_next(self.inbox, old.name)
            if new is None:
                # Another process is opening at this moment: try again a little later.
                self._size_bytes = self._max_bytes - self._max_bytes // 64
                self._look_at_bytes = self._size_bytes
                return
            self._flags |= slot.CONTINUED
            self._write_slot()
            descriptors.replace(old.descriptor, new.descriptor)
            descriptors.close(old.slot_descriptor)
            self._begin(new._replace(descriptor=old.descriptor))
        except OSError as error:
            # Better a large segment than none; the next attempt comes after as many bytes again.
            self._size_bytes = self._look_at_bytes = 0
            self._complain(error)
        finally:
            self._opening.release()

    def _lose(self, descriptor: int) -> None:
        """Forget a descriptor that somebody else closed, as programs do that become daemons.

        Nothing is closed here: the numbers may belong to other files by now.
        """
        lost = self._segment
        if lost is not None and lost.descriptor == descriptor:
            self._segment, self._descriptor = None, -1
            descriptors.forget(lost.descriptor)
            descriptors.forget(lost.slot_descriptor)

    def _drop(self, error: OSError | None) -> None:
        self.dropped += 1
        self._write_slot()
        self._complain(error)

    def _write_slot(self) -> None:
        held = self._segment
        if held is None or held.slot_descriptor < 0:
            return
        told, dropped = self._progress, self.dropped
        raw = slot.pack(
            slot.Slot(
                os.getpid(),
                self._opened_us,
                told.done,
                told.total,
                told.at_us,
                dropped,
                self._flags,
                told.note,
                told.every_s if told.at_us else 0,
            )
        )
        try:
            written = os.pwrite(held.slot_descriptor, raw, 0)
        except OSError as error:
            self._slot_owed = True
            self._complain(error)
            return
        self._slot_owed = written != slot.SIZE
        if not self._slot_owed:
            self._told_dropped = dropped

    def _complain(self, error: OSError | None) -> None:
        now = self._monotonic()
        if self._complained_at is not None and now - self._complained_at < _COMPLAINT_INTERVAL_S:
            return
        self._complained_at = now
        what = error.strerror if error is not None and error.strerror else "no room for the record"
        complain(f"record not written, {what.lower()}", str(self.path), "free space on that disk")


def complain(what: str, where: str, what_to_do: str) -> None:
    """Tell standard error, by the descriptor: neither logging nor a replaced stream is involved."""
    line = f"outrider: {what}: {where}: {what_to_do}\n"
    try:
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:  # standard error is closed: there is nobody to tell
        return
