"""The slot: 64 bytes beside a segment that a process overwrites to say how it is.

It is read whole with every heartbeat, however far behind the log itself is. All numbers are
little-endian; times are microseconds since 1970, 0 for never:

    offset  size
    0       4     the letters ORS1
    4       4     pid of the writer
    8       8     when the writer opened the segment
    16      8     progress: done
    24      8     progress: total, 0 when not known
    32      8     when progress was last reported
    40      4     records dropped in this segment, because they found no room; who takes it over
                  goes on counting
    44      1     version of this layout: 1
    45      1     flags: 1 ended clean, 2 continued in another segment, 4 death recorded
    46      16    a note, UTF-8, filled up with NUL
    62      2     progress is reported again within so many seconds; 0: nothing is said of it

A segment that nobody holds a lock on and whose slot has none of the flags belongs to a process that
died. Whoever finds that first, the agent or the next writer, takes the segment's exclusive lock,
writes the record ``worker.died`` and, if it is the agent, sets flag 4, so that there is one record.

A writer gives the file its 64 bytes, zeros at first, when it opens the segment. One that stays
empty found no room: what such a writer lost nobody knows, its segment is not taken over, and the
agent tells a gap of an unknown number of records.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SIZE = 64
MAGIC = b"ORS1"
VERSION = 1
NOTE_BYTES = 16
FLAGS_OFFSET = 45
MAX_EVERY_S = (1 << 16) - 1

ENDED, CONTINUED, DEATH_RECORDED = 1, 2, 4

PLAUSIBLE_DROPPED = 10_000_000
"""So many records a worker can drop in no time worth counting."""

_LAYOUT = struct.Struct("<4sIqQQqIBB16sH")
# In the year 2255: later than any writer opened anything.
_LATEST_US = 1 << 53
_MAX_U64 = (1 << 64) - 1
_MAX_U32 = (1 << 32) - 1


class Slot(NamedTuple):
    """What a slot says."""

    pid: int = 0
    opened_us: int = 0
    done: int = 0
    total: int = 0
    progress_us: int = 0
    dropped: int = 0
    flags: int = 0
    note: str = ""
    every_s: int = 0

    @property
    def died(self) -> bool:
        """True when the writer, once it holds no lock any more, must have died, untold so far."""
        return self.pid != 0 and not self.flags & (ENDED | CONTINUED | DEATH_RECORDED)

    def dropped_plausibly(self, unix_us: int) -> bool:
        """Whether its writer can have dropped so many until now: at most one each microsecond.

        The highest number that fits is none: there the count ends, or there never was one.
        """
        return (
            0 <= self.opened_us < _LATEST_US
            and self.dropped < _MAX_U32
            and self.dropped <= max(PLAUSIBLE_DROPPED, unix_us - self.opened_us)
        )


def pack(slot: Slot) -> bytes:
    """Return the 64 bytes; numbers are brought into range, the note is cut between characters."""
    return _LAYOUT.pack(
        MAGIC,
        slot.pid & _MAX_U32,
        slot.opened_us,
        min(max(slot.done, 0), _MAX_U64),
        min(max(slot.total, 0), _MAX_U64),
        slot.progress_us,
        min(slot.dropped, _MAX_U32),
        VERSION,
        slot.flags,
        cut(slot.note),
        min(max(slot.every_s, 0), MAX_EVERY_S),
    )


def cut(note: str) -> bytes:
    """Return as much of the note as fits, without a broken character at its end."""
    raw = note.encode("utf-8", "replace").replace(b"\0", b"?")[:NOTE_BYTES]
    return raw.decode("utf-8", "ignore").encode()


def unpack(raw: bytes) -> Slot | None:
    """Return what the bytes say, or None when they are no slot of a layout known here."""
    if len(raw) != SIZE:
        return None
    magic, pid, opened, done, total, progress, dropped, version, flags, note, every_s = (
        _LAYOUT.unpack(raw)
    )
    if magic != MAGIC or version != VERSION:
        return None
    text = note.rstrip(b"\0").decode("utf-8", "replace")
    return Slot(pid, opened, done, total, progress, dropped, flags, text, every_s)
