"""The journal: births of streams and gaps, fsynced before what they describe is given up.

One JSON object a line, appended: ``{"birth": ...}``, ``{"gap": ...}``, ``{"opened": id}``,
``{"stored": "gap id"}``, ``{"closed": id}``. A birth is pending until the collector has stored the
stream, a gap until it is acknowledged. The gap of a full inbox names how many of the segment's
records were dropped by then (``counted``), which is kept until the stream is closed: what was
counted is not counted again. Pending ones survive any crash and are told again (under the same ids,
so they are stored once). When the file is more than a megabyte, and twice what was pending when it
was last written anew, the pending entries are written to a new file, which takes its place: however
many are pending, each is written anew less often than once for each entry.

A torn or damaged line is skipped: at worst a birth is forgotten whose file is still there and gets
a new one, or a gap is told again under a new id.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import msgspec

from outrider_agent.streams import ENDS_NOTHING, Loss, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

COMPACT_BYTES = 1 << 20
_GROWTH = 2
_MAX_BYTES = 64 << 20
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


class Counted(msgspec.Struct, frozen=True):
    """How many dropped records of a stream's writers have become gaps."""

    stream_id: int
    records: int


class _Entry(msgspec.Struct, omit_defaults=True):
    birth: Stream | None = None
    gap: Loss | None = None
    opened: int | None = None
    stored: bytes | None = None
    counted: Counted | None = None
    closed: int | None = None


_decode = msgspec.json.Decoder(_Entry).decode
_encode = msgspec.json.Encoder().encode


class Journal:
    """The journal of one agent. Raises OSError where its directory cannot be written.

    A disk without room alone is no reason: what is there is read, and goes on where it ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.births: dict[int, Stream] = {}
        """Streams that the collector may not know yet."""
        self.gaps: dict[bytes, Loss] = {}
        """Gaps that are not acknowledged."""
        self.counted: dict[int, int] = {}
        """Stream -> records of its writers that found no room, as far as gaps tell of them."""
        self._torn = False
        """A write was cut short: the file may end within a line."""
        self._read()
        try:
            self._fd = self._rewrite()
            self._compacted = os.fstat(self._fd).st_size
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # Reading goes on without room; the file as it is takes what is told when there is some.
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._torn = True
            self._compacted = 0
        self._size = os.fstat(self._fd).st_size

    def born(self, streams: list[Stream]) -> None:
        """Remember births; on the disk when this returns, else OSError and none is remembered."""
        # Before they are written: what is appended may be written anew at once.
        self.births |= {stream.stream_id: stream for stream in streams}
        try:
            self._append([_Entry(birth=stream) for stream in streams])
            os.fdatasync(self._fd)
        except OSError:
            for stream in streams:
                del self.births[stream.stream_id]
            raise

    def lost(self, loss: Loss) -> None:
        """Remember a gap; on the disk when this returns."""
        self.gaps[loss.gap_id] = loss
        self._append([_Entry(gap=loss)])
        os.fdatasync(self._fd)

    def fell_short(self, loss: Loss, counted: int) -> None:
        """Remember a gap of a full inbox and what is counted with it; on the disk as above."""
        self.gaps[loss.gap_id] = loss
        self.counted[loss.stream_id] = counted
        self._append([_Entry(gap=loss, counted=Counted(loss.stream_id, counted))])
        os.fdatasync(self._fd)

    def opened(self, stream_ids: Iterable[int]) -> None:
        """Forget births: the collector has the streams."""
        known = [i for i in stream_ids if self.births.pop(i, None) is not None]
        self._append([_Entry(opened=stream_id) for stream_id in known])

    def stored(self, gap_id: bytes) -> None:
        """Forget a gap: it is a row."""
        if self.gaps.pop(gap_id, None) is not None:
            self._append([_Entry(stored=gap_id)])

    def closed(self, stream_id: int) -> None:
        """Forget what is pending of a stream: the collector has its end, and all that was told."""
        for gap_id in [i for i, gap in self.gaps.items() if gap.stream_id == stream_id]:
            self.stored(gap_id)
        if self.counted.pop(stream_id, None) is not None:
            self._append([_Entry(closed=stream_id)])

    def gap_of(self, stream_id: int) -> Loss | None:
        """Return the pending gap that ends a stream."""
        gaps = (g for g in self.gaps.values() if g.stream_id == stream_id)
        return next((gap for gap in gaps if gap.reason not in ENDS_NOTHING), None)

    def shortfalls(self, stream_id: int) -> list[Loss]:
        """Return the pending gaps of a stream that end nothing, such as of a full inbox."""
        gaps = (g for g in self.gaps.values() if g.stream_id == stream_id)
        return [gap for gap in gaps if gap.reason in ENDS_NOTHING]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, entries: list[_Entry]) -> None:
        data = memoryview(b"".join(_encode(entry) + b"\n" for entry in entries))
        if self._torn:
            # What found no room must not swallow what comes after it.
            data = memoryview(b"\n" + data)
        while data:
            written = os.write(self._fd, data)
            self._size += written
            data = data[written:]
            self._torn = bool(data)
        if self._size > max(COMPACT_BYTES, _GROWTH * self._compacted):
            self._compact()

    def _compact(self) -> None:
        try:
            fresh = self._rewrite()
        except OSError:
            # The old file is whole; the next attempt comes after as many bytes again.
            self._size = 0
            return
        os.close(self._fd)
        self._fd, self._torn = fresh, False
        self._size = self._compacted = os.fstat(fresh).st_size

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return
        for line in data.split(b"\n"):
            try:
                entry = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            self._apply(entry)

    def _apply(self, entry: _Entry) -> None:
        if entry.birth is not None:
            self.births[entry.birth.stream_id] = entry.birth
        if entry.gap is not None:
            self.gaps[entry.gap.gap_id] = entry.gap
        if entry.opened is not None:
            self.births.pop(entry.opened, None)
        if entry.stored is not None:
            self.gaps.pop(entry.stored, None)
        if entry.counted is not None:
            self.counted[entry.counted.stream_id] = entry.counted.records
        if entry.closed is not None:
            self.counted.pop(entry.closed, None)

    def _rewrite(self) -> int:
        draft = self._path.with_suffix(".new")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        entries = [_Entry(birth=stream) for stream in self.births.values()]
        entries += [_Entry(gap=loss) for loss in self.gaps.values()]
        entries += [_Entry(counted=Counted(i, records)) for i, records in self.counted.items()]
        data = memoryview(b"".join(_encode(entry) + b"\n" for entry in entries))
        try:
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
            draft.replace(self._path)
            sync_directory(self._path.parent)
        except OSError:
            os.close(fd)
            raise
        return fd


def sync_directory(path: Path) -> None:
    """Make a directory's new names survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
