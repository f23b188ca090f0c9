"""The rest of a rotated file, out of what compressed it.

A stream whose file is nowhere is sought in the compressed files beside where it was, by the same
evidence as in any other file: the digest of its head, then that of the bytes before the committed
offset. Names prove nothing. From there on its content is unpacked into ``keep/`` (see
:mod:`outrider_agent.held`), at its own offsets, and is followed there as any kept copy is; so it
goes on in the same stream, whatever is killed or restarted meanwhile.

What is unpacked takes room: a part at a time, of at most 64 MiB, and no further part before that
one is delivered. What is delivered lies there until the next part is, and counts no more; streams
of which a part was delivered go before those that are not begun, so at most one part lies there
beyond the limit, and nothing waits for itself. A mark beside the copy (``keep/ID.more``) says that
it may not be all; the next part is sought like the first, or read on where the last one ended.

Decompressing is done in small steps between which everything else goes on.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_agent import held
from outrider_agent.archives import READABLE, Archive, Damaged
from outrider_agent.digests import digest, same, tail_length
from outrider_agent.evidence import TELLING_BYTES, tells
from outrider_agent.journal import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from outrider_agent.configuration import AgentConfig
    from outrider_agent.followed import Followed
    from outrider_agent.streams import Place, Stream

MOST_BYTES = 1 << 40
"""What is compressed and larger than that is no log."""

_MOST_PART_BYTES = 64 << 20
_LEAST_PART_BYTES = 1 << 20
_MOST_LINE_BYTES = 1 << 30
_STEP_BYTES = 2 << 20
_SILENT_COST_BYTES = 64 << 10
"""What gives nothing takes about as long as so much that does."""
_MOST_ARCHIVES = 1000
_TICK_NS = 1_000_000_000
"""Some tools keep a file's time in whole seconds."""
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


@dataclass(slots=True, eq=False)
class Sought:
    """A stream that is sought in archives from ``place`` on, and what came of it."""

    stream: Stream
    place: Place
    not_before_ns: int = 0
    """Modification time of its file when it was last seen; 0: not known."""
    followed: Followed | None = None
    """Set where a part of it is followed already, or it was in a file that was truncated."""
    is_copy: bool = False
    """Whether the file itself is still there, truncated: only an archive that proves it will do."""
    archive: str = ""
    """What has it."""
    path: str = ""
    """The copy that has the stream from ``place`` on; empty where no archive has it."""
    end: int = 0
    """Where the copy ends, as an offset of the stream."""
    trouble: str = ""
    """Which archive should have more and is damaged."""
    steps: Generator[int] | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a part of it is followed, all of which is stored."""
        return self.followed is not None and self.followed.kept


@dataclass(slots=True, eq=False)
class _Reading:
    """An archive and how far it was read."""

    archive: Archive
    path: str
    offset: int = 0
    head: bytes = b""

    def read(self, head_bytes: int) -> bytes | None:
        piece = self.archive.read()
        if piece is None:
            return None
        if self.offset + len(piece) > MOST_BYTES:
            raise Damaged(f"it has more than {MOST_BYTES} bytes")
        if len(self.head) < head_bytes:
            self.head = (self.head + piece)[:head_bytes]
        self.offset += len(piece)
        return piece


class Unpacking:
    """Streams that are sought in archives, one at a time; ``key`` is that of the digests."""

    def __init__(self, key: bytes, agent: AgentConfig, directory: Path) -> None:
        self.limits = agent
        """May be replaced."""
        self._key = key
        self._directory = directory
        self._queue: deque[Sought] = deque()
        self._open: dict[int, _Reading] = {}
        """Archives of which a part is followed, by stream."""
        self._stalled = False
        """Whether there is no room for a part now."""

    @property
    def busy(self) -> bool:
        """Whether there is something to do now."""
        return bool(self._queue) and not self._stalled

    @property
    def waits(self) -> bool:
        """Whether streams are sought for which there is no room now; :meth:`retry` looks again."""
        return bool(self._queue) and self._stalled

    def __contains__(self, stream_id: int) -> bool:
        """Whether a stream is being sought."""
        return any(one.stream.stream_id == stream_id for one in self._queue)

    def __bool__(self) -> bool:
        """Whether any stream is being sought."""
        return bool(self._queue)

    def seek(self, sought: Sought) -> bool:
        """Begin to seek a stream; False where no archive lies beside its file."""
        if not archives_beside(sought.stream.path):
            return False
        self._queue.append(sought)
        return True

    def go_on(self, followed: Followed) -> None:
        """Seek what comes after the part of a stream that is followed, all of which is stored."""
        stream = followed.tail.stream
        if stream.stream_id not in self:
            before = sum(one.goes_on or one.steps is not None for one in self._queue)
            self._queue.insert(before, Sought(stream, followed.tail.place, followed=followed))

    def moved(self, stream_id: int, place: Place) -> bool:
        """Seek a stream from another place on: the collector stands there. False if not sought."""
        for one in self._queue:
            if one.stream.stream_id == stream_id:
                if one.steps is not None:
                    one.steps.close()
                one.place, one.steps = place, None
                return True
        return False

    def has_more(self, stream_id: int) -> bool:
        """Whether what is kept of a stream may not be all of it."""
        return self._mark(stream_id).exists()

    def retry(self) -> None:
        """See whether there is room by now."""
        self._stalled = False

    def step(self) -> Sought | None:
        """Do a little; return a stream of which is known now what archives have of it."""
        if not self.busy:
            return None
        one = self._queue[0]
        if one.steps is None:
            if not self._has_room():
                self._stalled = True
                return None
            one.path, one.trouble, one.steps = "", "", self._sought(one)
        done = 0
        try:
            for size in one.steps:
                done += size
                if done >= _STEP_BYTES:
                    return None
        except OSError as error:
            if error.errno in _NO_ROOM:
                one.steps, self._stalled = None, True
                return None
            one.trouble = f"{self._directory}: {(error.strerror or str(error)).lower()}"
        self._queue.popleft()
        return one

    def forget(self, stream_id: int) -> None:
        """Forget a stream that has ended."""
        reading = self._open.pop(stream_id, None)
        if reading is not None:
            reading.archive.close()
        for suffix in ("", ".more", ".draft"):
            with suppress(OSError):
                (self._directory / f"{stream_id}{suffix}").unlink()

    def close(self) -> None:
        """Close all archives."""
        for one in self._queue:
            if one.steps is not None:
                one.steps.close()
        for reading in self._open.values():
            reading.archive.close()

    # ---------------------------------------------------------------- within

    def _mark(self, stream_id: int) -> Path:
        return self._directory / f"{stream_id}.more"

    def _part_bytes(self) -> int:
        return min(_MOST_PART_BYTES, max(_LEAST_PART_BYTES, self.limits.held_bytes))

    def _has_room(self) -> bool:
        """Whether what is kept already leaves room for a part, and the file system does."""
        delivered = {str(one.stream.stream_id) for one in self._queue if one.goes_on}
        kept_bytes = held.kept_bytes(self._directory, but=delivered)
        if kept_bytes and kept_bytes + self._part_bytes() > self.limits.held_bytes:
            return False
        room = os.statvfs(self._directory.parent)
        free_bytes = room.f_bavail * room.f_frsize
        return free_bytes > self.limits.keep_free_bytes + _LEAST_PART_BYTES

    def _sought(self, one: Sought) -> Generator[int]:
        """Seek a stream and unpack a part of it; what is yielded are bytes that were looked at."""
        reading = self._open.pop(one.stream.stream_id, None)
        if reading is not None and one.followed is not None:
            fd, begin = one.followed.tail.fd, _evidence_begin(one.place)
            known = lambda target: held.copy(fd, target, begin, reading.offset)  # noqa: E731
            yield from self._unpack(one, reading, known)
            return
        for path in archives_beside(one.stream.path):
            try:
                found = _Reading(Archive(path), path)
            except OSError:
                continue
            try:
                recent = yield from self._prove(one, found)
                if recent is not None:
                    begin = found.offset - len(recent)
                    write = lambda fd: _write(fd, recent, begin)  # noqa: B023, E731  called at once
                    yield from self._unpack(one, found, write)
                    return
            except (Damaged, OSError) as error:
                if isinstance(error, OSError) and error.errno in _NO_ROOM:
                    raise
                one.trouble = one.trouble or f"{path}: {error}"
            finally:
                if self._open.get(one.stream.stream_id) is not found:
                    found.archive.close()

    def _prove(self, one: Sought, reading: _Reading) -> Generator[int, None, bytes | None]:
        """Return the bytes before where reading stands, if an archive has what Postgres has.

        None where it has not. Raises Damaged only where its head says that it is the one.
        """
        stream, place = one.stream, one.place
        begin, head_bytes = _evidence_begin(place), stream.head_bytes
        if reading.archive.status.st_mtime_ns < one.not_before_ns - _TICK_NS:
            return None
        recent, is_alike = b"", False
        while True:
            if not is_alike and len(reading.head) == head_bytes:
                is_alike = same(digest(self._key, reading.head), stream.head_digest)
                if not is_alike or not (place.digest or _is_likely(one, reading)):
                    return None
            if is_alike and reading.offset >= place.committed:
                break
            try:
                piece = reading.read(head_bytes)
            except Damaged:
                if is_alike:
                    raise
                return None
            if piece is None:
                return None
            yield len(piece) or _SILENT_COST_BYTES
            recent += piece
            recent = recent[max(0, begin - (reading.offset - len(recent))) :]
        tail = recent[: place.committed - begin]
        if place.digest and not same(digest(self._key, tail), place.digest):
            return None
        return None if one.is_copy and not tells(tail) else recent

    def _unpack(
        self, one: Sought, reading: _Reading, write_known: Callable[[int], object]
    ) -> Generator[int]:
        """Write the next part from where an archive was read to."""
        stream_id, head = one.stream.stream_id, reading.head
        self._directory.mkdir(mode=0o700, exist_ok=True)
        draft = self._directory / f"{stream_id}.draft"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        has_more, end = True, max(one.place.committed, reading.offset) + self._part_bytes()
        try:
            _write(fd, head[: _evidence_begin(one.place)], 0)
            write_known(fd)
            while reading.offset < end:
                try:
                    piece = reading.read(len(head))
                except (Damaged, OSError) as error:
                    one.trouble = f"{reading.path}: {error}"
                    break
                if piece is None:
                    has_more = False
                    break
                _write(fd, piece, reading.offset - len(piece))
                yield len(piece) or _SILENT_COST_BYTES
            if reading.offset - one.place.committed > _MOST_LINE_BYTES:
                one.trouble = f"{reading.path}: a line is longer than {_MOST_LINE_BYTES} bytes"
            self._publish(fd, draft, stream_id, has_more=has_more)
        finally:
            os.close(fd)
            draft.unlink(missing_ok=True)
        one.path, one.end = str(self._directory / str(stream_id)), reading.offset
        one.archive = reading.path
        if has_more and not one.trouble:
            self._open[stream_id] = reading
        else:
            reading.archive.close()

    def _publish(self, fd: int, draft: Path, stream_id: int, *, has_more: bool) -> None:
        """Put a part in its place.

        The mark is there before and goes after: one that is wrong costs another look.
        """
        mark = self._mark(stream_id)
        if has_more:
            mark.touch(mode=0o600)
        os.fsync(fd)
        draft.replace(draft.with_suffix(""))
        sync_directory(self._directory)
        if not has_more:
            mark.unlink(missing_ok=True)


def archives_beside(path: str) -> list[str]:
    """Return the compressed files in the directory of a file, the latest first."""
    found: list[tuple[int, str]] = []
    with suppress(OSError), os.scandir(os.path.dirname(path)) as entries:  # noqa: PTH120  a string
        found = [
            (-entry.stat(follow_symlinks=False).st_mtime_ns, entry.path)
            for entry in entries
            if entry.name.endswith(READABLE) and entry.is_file(follow_symlinks=False)
        ]
    return [path for _, path in sorted(found)[:_MOST_ARCHIVES]]


def _evidence_begin(place: Place) -> int:
    return place.committed - tail_length(place.committed)


def _is_likely(one: Sought, reading: _Reading) -> bool:
    """Whether an archive of which only the first bytes are known is named and dated right."""
    name = os.path.basename(one.stream.path)  # noqa: PTH119  a string
    is_named = os.path.basename(reading.path).startswith(name)  # noqa: PTH119
    is_dated = one.not_before_ns > 0 or one.stream.head_bytes >= TELLING_BYTES
    return is_named and is_dated and one.place.committed == one.stream.start_offset


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
