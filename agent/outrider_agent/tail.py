"""Following one file: reading on, noticing that it was truncated, making batches.

A file is read by its descriptor, whatever its name has become. Each chunk is read together with
the bytes before it, whose digest must be the one known (else the content was replaced), and
checked against the file's size *after* reading (copytruncate may come between). Only complete
lines count as read; the rest of a chunk is read again with what follows.

Lines that were read gather in ``pending`` until :meth:`Tail.flush` makes a batch of them. A tail
can always go back to any line start that the collector names.
"""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING

from outrider.instants import from_unix_us
from outrider_agent.descriptors import OpenFile
from outrider_agent.digests import Mark, tail_length
from outrider_agent.evidence import digest_at, has_head, holds
from outrider_agent.framing import Framer
from outrider_agent.losses import Losses
from outrider_agent.prepared import is_prepared, read_settled
from outrider_agent.records import Draft, Records
from outrider_agent.shedding import Sifter
from outrider_agent.streams import Place
from outrider_protos.limits import MAX_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.parsing import Parser
    from outrider_agent.record_framing import RecordFramer
    from outrider_agent.streams import Stream

CHUNK_BYTES = 264 * 1024
"""Read in one look at most; also about the size of a full batch."""

PIECE_BYTES = 120 * 1024
"""Read and parsed at once, as long as lines are shorter: what is made of it stays in a processor's
cache, and the C library keeps buffers of that size instead of returning them to the system."""

_REST_US = 10_000_000


class Look(Enum):
    """What a look at the file found."""

    NOTHING = "nothing"
    READ = "read"
    MORE = "more"
    """Read, and there is more to read at once."""
    REPLACED = "replaced"
    """Shorter than what was read, or other bytes stand where they were read."""


class Tail(OpenFile):
    """One followed file.

    ``key`` is the key of the digests; ``framing`` makes the framer for an offset and its state.
    """

    def __init__(
        self,
        fd: int,
        stream: Stream,
        parser: Parser,
        key: bytes,
        framing: Callable[[int, bytes], Framer | RecordFramer] = lambda offset, _: Framer(offset),
    ) -> None:
        super().__init__(fd)
        self.stream = stream
        self.generation = 0
        self.parser = parser
        self._key = key
        self._framing = framing
        self.grown = 0.0
        """Monotonic time at which more was read last, seconds."""
        self.pending = Records()
        self.pending_since = 0.0
        """Monotonic time of the first pending line, seconds."""
        self.pending_urgent = False
        self.sifter = Sifter()
        self.size = 0
        """Size when it was last looked at."""
        self.mtime_ns = 0
        self.rested_mtime_ns = 0
        """`mtime_ns` while nothing more than `size` was there to be read; 0: not known."""
        self._looked_to = -1
        self._written_to = 0
        """Where the NULs begin that end what was read, ..."""
        self.padding_bytes = 0
        """... and how many these are where it was read to the end; no part of `size`."""
        self.read_to_end_us = 0
        """Wall-clock time at which everything the file held had been read; 0: never."""
        self.acknowledged = stream.start_offset
        self.highest_acknowledged = 0
        """Also over earlier lives and databases: bytes below are `replayed` when sent again."""
        self.last_line_us = 0
        self.seen_bytes = 0
        """The greatest size it had."""
        self.watermark_us = 0
        """The last watermark that was told."""
        self.latest: list[Records] = []
        """What the last look read, until it is in a batch."""
        self.last_event: str | None = None
        """The event of the last line read."""
        self._piece_bytes = PIECE_BYTES
        self.losses = Losses()
        self._set_position(stream.start_offset)

    # ---------------------------------------------------------------- position

    @property
    def position(self) -> int:
        """Offset after the last complete line that was read."""
        return self._framer.end

    @property
    def begin(self) -> int:
        """Offset at which the next batch begins."""
        return self._begin

    @property
    def place(self) -> Place:
        """Where Postgres stands when all that was handed over is stored: at :attr:`begin`."""
        digest = self._wire_digest(self._begin, self._begin_digest)
        return Place(self._begin, digest, self._begin_state)

    @property
    def holds(self) -> bool:
        """Whether lines were read that may be the beginning of a longer record."""
        return self._framer.holds

    @property
    def partial_bytes(self) -> int:
        """Bytes after the last newline, as of the last look that read to the end."""
        return max(0, self._looked_to - self._framer.end) if self._looked_to >= 0 else 0

    @property
    def active_us(self) -> int:
        """When the file last grew, as far as known: the last line read, or its own time."""
        return max(self.last_line_us, from_unix_us(self.mtime_ns // 1000))

    def at_end(self) -> bool:
        """Whether nothing was written since the last look, which read to the end."""
        size = os.fstat(self.fd).st_size
        return size == self._looked_to + self.padding_bytes and not self._is_written_over()

    def _is_written_over(self) -> bool:
        end = max(self._written_to + self.padding_bytes, self._framer.next)
        return not is_prepared(self.fd, self._written_to, end)

    def _set_position(self, offset: int, state: bytes = b"", digest: bytes = b"") -> None:
        self._frame_from(offset, state)
        self._begin, self._begin_state = offset, state
        self._begin_digest = digest or digest_at(self.fd, self._key, offset)
        self._mark = Mark(self._key, b"", self._begin_digest)
        self.pending = Records()
        self.sifter.go_back(offset)
        self.pending_urgent = False
        self.losses.tell_again()

    def _frame_from(self, offset: int, state: bytes) -> None:
        self._framer = self._framing(offset, state)
        self._looked_to, self._written_to, self.padding_bytes = -1, offset, 0

    def _wire_digest(self, offset: int, value: bytes) -> bytes:
        """Return the digest as the collector knows it: empty at the stream's first byte."""
        return b"" if offset == self.stream.start_offset else value

    def stands_at(self, place: Place) -> bool:
        """Whether this file has, before ``place``, the bytes that Postgres has."""
        return holds(self.fd, self._key, self.stream, place)

    def is_in(self, fd: int) -> bool:
        """Whether a file, such as one that got the inode, has what was read. Raises OSError."""
        return self._has_mark(fd) and has_head(fd, self._key, self.stream)

    def _has_mark(self, fd: int) -> bool:
        length = tail_length(self.position)
        return self._mark.fits(os.pread(fd, length, self.position - length))

    def go_back(self, place: Place, generation: int) -> bool:
        """Continue at ``place``; False where the file has not its bytes, or cannot be read."""
        self.generation = generation
        try:
            if not self.stands_at(place):
                return False
            self._set_position(place.committed, place.framer_state, place.digest)
        except OSError:
            return False
        # What was read to the end before is not on its way any more: no batch may say so.
        self.read_to_end_us = 0
        self.acknowledged = place.committed
        return True

    def go_on_in(self, fd: int, size: int) -> None:
        """Read on in another file, which has all before :attr:`position`; what was begun, anew."""
        self.fd, self.size = fd, size
        self._frame_from(self._framer.end, self._framer.state)

    # ---------------------------------------------------------------- reading

    def rests(self, observed_us: int) -> bool:
        """Whether nothing has changed since the last look, which read to the end; cheap."""
        try:
            status = self.status()
        except OSError:
            return False  # moved; whoever opens it learns more
        size = self._looked_to + self.padding_bytes
        if status.st_size != size or status.st_mtime_ns != self.mtime_ns:
            return False
        if self.is_open and self._is_written_over():
            return False
        if observed_us - self.last_line_us > _REST_US:
            self._mark.rest()
        self._is_at_end(observed_us)
        self.rest_bytes = -1 if self.padding_bytes or self._framer.partial_bytes else size
        return True

    def _is_at_end(self, observed_us: int) -> None:
        if not self._framer.holds:
            self.read_to_end_us = observed_us

    def look(self, observed_us: int, now: float, *, may_read: bool) -> Look:
        """Look at the file's size and read on where there is more. Raises OSError."""
        self.rest_bytes = -1
        status = os.fstat(self.fd)
        self.size = self._without_padding(status.st_size)
        if status.st_size < self._framer.next or self._began_otherwise():
            return Look.REPLACED
        if self.size == self._looked_to:
            if status.st_mtime_ns != self.mtime_ns:
                if not self._has_mark(self.fd):
                    return Look.REPLACED
                self.mtime_ns = status.st_mtime_ns
            self.rested_mtime_ns = status.st_mtime_ns
            self._is_at_end(observed_us)
            return Look.NOTHING
        self.mtime_ns, self.rested_mtime_ns = status.st_mtime_ns, 0
        if status.st_size == self._framer.next:
            self._looked_to, self.read_to_end_us = status.st_size, observed_us
            self.rested_mtime_ns = status.st_mtime_ns
            return Look.NOTHING
        if not may_read:
            self.seen_bytes = max(self.seen_bytes, self.size)
            return Look.MORE
        return self._read(observed_us, now)

    def _began_otherwise(self) -> bool:
        """Whether a file of which no line was read yet has other bytes than it was born with."""
        is_unread = self.stream.source == "file" and self.position == self.stream.start_offset
        return is_unread and not has_head(self.fd, self._key, self.stream)

    def _without_padding(self, size: int) -> int:
        """Return the size of what was written; forgets padding that is written over, or cut off."""
        if self._is_written_over():
            self._framer.written_over()
        elif not self.padding_bytes or size == self._looked_to + self.padding_bytes:
            return size - self.padding_bytes
        self._looked_to, self.padding_bytes = -1, 0
        return size

    def _read(self, observed_us: int, now: float) -> Look:
        self.latest = []
        for _ in range(CHUNK_BYTES // PIECE_BYTES):
            look = self._read_piece(observed_us, now)
            self.seen_bytes = max(self.seen_bytes, self.size)
            if look is not Look.MORE:
                break
        return look

    def _read_piece(self, observed_us: int, now: float) -> Look:
        position, long_line = self._framer.end, self._framer.partial_bytes
        read_from = self._framer.next
        back = tail_length(read_from)
        data = self._settled(back, read_from - back)
        if long_line and self._is_written_over():
            self._framer.written_over()  # the hole that was fed is there no more
            return Look.MORE
        if data is None or not (long_line or self._mark.fits(data[:back])):
            return Look.REPLACED
        lines = self._framer.feed(data[back:], MAX_RECORDS - len(self.pending))
        self._move_mark(position, data, read_from - back)
        written = len(data) - back - self._framer.padding(data[back:])
        if written or not long_line:
            self._written_to = read_from + written
        at_end = read_from - back + len(data) >= self.size and not lines.more
        if at_end:
            self.padding_bytes = self.size - self._written_to
            self.size = self._looked_to = self._written_to
            self._is_at_end(observed_us)
        self.grown = now
        # A line longer than a piece takes a chunk.
        self._piece_bytes = PIECE_BYTES if self._framer.end != position else CHUNK_BYTES
        if lines.lines:
            self._take(self.parser.parse(lines, observed_us), now)
            self.last_line_us = observed_us
        return Look.READ if at_end else Look.MORE

    def _settled(self, back: int, start: int) -> bytes | None:
        """Read a piece; None where the file is shorter by now than what was read of it."""
        data = read_settled(self.fd, back + self._piece_bytes, start, back)
        self.size = os.fstat(self.fd).st_size
        if self.size < start + len(data):  # as when room that was not needed is cut off
            written = len(data) - self._framer.padding(data[back:])
            data = data[: max(written, self.size - start)]
        return data if back <= len(data) <= self.size - start else None

    def _take(self, records: Records, now: float) -> None:
        if not len(self.pending) and self.sifter.shed is None:
            self.pending_since = now
        self.last_event = records.event[-1]
        if records.stream_offset[0] < self.sifter.sieve.to:
            records = self.sifter.sift(records, self._framer.end)
        if len(records):
            self.pending.extend(records)
            self.latest.append(records)

    def _move_mark(self, position: int, data: bytes, data_begin: int) -> None:
        """Name the end of what was given out by bytes in hand: the file may have others by now."""
        end = self._framer.end
        if end != position:
            last = end - data_begin
            self._mark = Mark(self._key, data[last - tail_length(end) : last])

    def _rest(self) -> tuple[bytes, int] | None:
        """Read what follows the last line, and what names the end of it; and where that begins.

        None where the file is not any more what the last look, which read to the end, found.
        """
        begin = min(self._framer.next, self._written_to)
        begin -= tail_length(begin)
        back = self._framer.next - begin
        data = os.pread(self.fd, back + CHUNK_BYTES, begin)
        fits = self._framer.partial_bytes or self._mark.fits(data[:back])
        return (data, begin) if fits and len(data) >= back and self.at_end() else None

    def close_record(self, observed_us: int, now: float) -> bool:
        """Take what is held as a record, because its writer has been quiet; False if it was not."""
        if (rest := self._rest()) is None:
            return False
        (data, begin), position = rest, self._framer.end
        new = data[self._framer.next - begin :]
        lines = self._framer.feed(new, MAX_RECORDS - len(self.pending), closing=True)
        self._move_mark(position, data, begin)
        if lines.lines:
            self.latest = []
            self._take(self.parser.parse(lines, observed_us), now)
        self._is_at_end(observed_us)
        return True

    def flush_partial(self, observed_us: int, now: float) -> bool:
        """Take the bytes after the last newline as the last line: the file cannot grow any more.

        False where it is not any more what the last look found: the next one tells what it is.
        """
        if (rest := self._rest()) is None:
            return False
        (data, begin), position = rest, self._framer.end
        last = data[self._framer.next - begin : self._written_to - begin]
        if last or self._framer.partial_bytes:
            lines = self._framer.flush(last)
            self._move_mark(position, data, begin)
            self._looked_to = self._framer.end
            if lines.lines:
                unfinished = not self._framer.ends(last)
                self._take(self.parser.parse(lines, observed_us, partial=unfinished), now)
        return True

    # ---------------------------------------------------------------- batches

    @property
    def has_pending(self) -> bool:
        """Whether bytes were read that are in no batch yet."""
        return self._framer.end > self._begin

    @property
    def pending_bytes(self) -> int:
        """How many bytes were read that are in no batch yet."""
        return self._framer.end - self._begin

    def flush(self) -> Draft:
        """Take what is pending, for a batch."""
        end = self._framer.end
        draft = Draft(
            begin=self._begin,
            end=end,
            previous_digest=self.place.digest,
            digest=self._wire_digest(end, self._mark.digest),
            records=self.pending,
            framer_state=self._framer.state,
            shed=self.sifter.flush(end),
        )
        self._begin, self._begin_digest = end, self._mark.digest
        self._begin_state = draft.framer_state
        self.pending, self.latest, self.pending_urgent = Records(), [], False
        return draft
