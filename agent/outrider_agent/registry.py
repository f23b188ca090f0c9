"""Which file is which stream: births, streams found again, streams that ended.

Before the first welcome files are only opened and held. The welcome names the streams that
Postgres has open; each of them is sought among the files: first by device and inode, then among
all files by the tail digest at its committed offset, then among everything else in the same
directories (rotation renames). Where the bytes fit and are no proof (the file was written to and
did not grow, or its lines repeat and its inode is another), the file is read from its beginning as
a new stream, marked as replayed: rather twice than not at all. Files that are left get new streams,
which are journalled (fsynced) before anything of them is sent. Streams that are left have lost
their file: that is a gap, journalled likewise.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.inbox import names
from outrider_agent import encodings, multiline
from outrider_agent.digests import HEAD_BYTES, digest, same
from outrider_agent.discovery import Found, open_regular, siblings, with_keys
from outrider_agent.evidence import digest_at, holds, is_telling
from outrider_agent.parsing import Parser
from outrider_agent.record_framing import RecordFramer
from outrider_agent.segments import has_something_to_tell
from outrider_agent.start import start_offset
from outrider_agent.streams import Place, Stream, clipped, mint, shown_path
from outrider_agent.tail import Tail
from outrider_agent.wide_framing import framer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from outrider_agent.configuration import SourceConfig
    from outrider_agent.followed import Followed
    from outrider_agent.framing import Framer


@dataclass(slots=True, eq=False)
class Candidate:
    """An open file that is no stream yet."""

    fd: int
    found: Found
    device: int
    inode: int
    uid: int
    not_before: float = 0.0
    replay_below: int = 0
    """Bytes before this offset may have been stored under an earlier stream."""
    begin: int = 0
    """Bytes before this offset are stored under an earlier stream."""

    @property
    def key(self) -> tuple[int, int]:
        """What the file is to the kernel for as long as it is open."""
        return self.device, self.inode

    def size(self) -> int:
        """Size of the file now; 0 while it is nothing but room that its writer has prepared."""
        size = os.fstat(self.fd).st_size
        # The last byte first: who fills room from its beginning has written the first by then.
        is_blank = size > 0 and os.pread(self.fd, 1, size - 1) == os.pread(self.fd, 1, 0) == b"\0"
        return 0 if is_blank else size


def open_candidate(found: Found) -> Candidate:
    """Open a file that was found. Raises OSError."""
    fd, status = open_regular(found.path, follow_links=found.source is not None)
    try:
        os.pread(fd, 1, 0)
    except OSError:
        # Such as the kernel's own files, which open and look empty.
        os.close(fd)
        raise
    return Candidate(fd, found, status.st_dev, status.st_ino, status.st_uid)


def tells(candidate: Candidate) -> bool:
    """Whether a file that is no stream yet has anything to tell."""
    found = candidate.found
    size = candidate.size()
    if size == 1 and encodings.may_be_marked(os.pread(candidate.fd, 1, 0)):
        return False  # what encoding it is will be known with the next byte
    if size or found.closing:
        return True
    if found.source is not None or names.parse(os.path.basename(found.path)) is None:  # noqa: PTH119
        return False
    return has_something_to_tell(candidate.fd, found.path)


def is_copy_of(
    fd: int, key: bytes, path: str, known: Iterable[Candidate | Followed], *, proved: bool
) -> bool:
    """Whether an open file has what one of ``path`` has: a backup of it, no file of its own."""
    size = os.fstat(fd).st_size
    for one in known:
        if isinstance(one, Candidate):
            if one.found.home != path:
                continue
            other = one.fd
        else:
            tail = one.tail
            if path not in {one.found.home, tail.stream.path}:
                continue
            if tail.position > tail.stream.start_offset and tail.is_in(fd):
                if not proved or is_telling(fd, tail.position):
                    return True
                continue
            if not tail.is_open:
                continue
            other = tail.fd
        # As long as the other, or shorter: what is longer may only begin like it.
        if (
            0 < size <= os.fstat(other).st_size
            and (not proved or is_telling(fd, size))
            and same(digest_at(fd, key, size), digest_at(other, key, size))
        ):
            return True
    return False


class Minter:
    """Makes streams for files."""

    def __init__(self, key: bytes, host: str, zone: tzinfo, *, first_start: bool) -> None:
        self._key = key
        self._host = clipped(host, 255)
        self._zone = zone
        self.first_start = first_start
        """True while files are those of the agent's first look, for which `start` holds."""

    def stream(self, candidate: Candidate, now_s: float) -> Stream:
        """Make a new stream for a file; ``now_s`` is Unix time."""
        service, worker = self.names(candidate.found)
        head = os.pread(candidate.fd, HEAD_BYTES, 0)
        head = head.rstrip(b"\0") or head  # the NULs may be written over
        begin = candidate.begin
        if self.first_start and candidate.found.source is not None:
            begin = start_offset(candidate.fd, candidate.found.source, now_s)
        return Stream(
            stream_id=mint(secrets.randbits),
            service=service,
            worker=worker,
            source="inbox" if candidate.found.source is None else "file",
            path=shown_path(candidate.found.home),
            host=self._host,
            uid=candidate.uid,
            start_offset=begin,
            device=candidate.device,
            inode=candidate.inode,
            head_digest=digest(self._key, head),
            head_bytes=len(head),
        )

    def names(self, found: Found) -> tuple[str, str]:
        """Return service and worker of a file."""
        filename = os.path.basename(found.home)  # noqa: PTH119  strings stay strings
        if found.source is not None:
            worker = found.source.worker or filename.split(".", 1)[0] or filename
            return clipped(found.source.service), clipped(worker)
        segment = names.parse(filename)
        if segment is not None:
            return clipped(segment.service), clipped(segment.worker)
        # Somebody's own file in the inbox: the name is all it says.
        return clipped(filename.removesuffix(".jsonl")) or "unnamed", self._host

    def tail(self, candidate: Candidate, stream: Stream) -> Tail:
        """Follow a file as a stream."""
        source, fd = candidate.found.source, candidate.fd
        made = framing(source, encoding_of(fd, source))
        return Tail(fd, stream, self.parser(source, fd), self._key, made)

    def parser(self, source: SourceConfig | None, fd: int) -> Parser:
        """Make a parser for a file of a source; None for the inbox."""
        encoding = encoding_of(fd, source)
        if source is None:
            return Parser("auto", self._zone, encoding)
        return Parser(source.format, source.zone(), encoding)


def encoding_of(fd: int, source: SourceConfig | None) -> str:
    """Return the encoding of a file, by its source and its first bytes."""
    name = "utf-8" if source is None else source.encoding
    return encodings.of_file(os.pread(fd, encodings.MARK_BYTES, 0), name)


def framing(
    source: SourceConfig | None, encoding: str
) -> Callable[[int, bytes], Framer | RecordFramer]:
    """Return what makes the framer of a source's files in ``encoding``; None for the inbox."""
    rule = None if source is None else multiline.rule(source.multiline)
    lines = framer(encoding)
    if rule is None:
        return lambda offset, _: lines(offset)
    readable = None
    if encoding != "utf-8":
        readable = lambda line: encodings.decoded(line, encoding).line  # noqa: E731
    return lambda offset, state: RecordFramer(lines(offset), rule, state, readable=readable)


@dataclass(frozen=True, slots=True)
class Match:
    """A stream found again in a file."""

    candidate: Candidate
    stream: Stream
    place: Place


class Orphans:
    """Streams that Postgres has open and no file is known for yet."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.streams: dict[int, tuple[Stream, Place]] = {}

    def add(self, streams: Iterable[tuple[Stream, Place]]) -> None:
        """Take up streams that a welcome named and nobody knows."""
        for stream, place in streams:
            self.streams[stream.stream_id] = (stream, place)

    def match(
        self,
        candidates: Iterable[Candidate],
        only_grew: Callable[[int, os.stat_result], bool],
        *,
        left_behind: bool = False,
    ) -> list[Match]:
        """Find streams again among open files; what is found is an orphan no more.

        ``only_grew`` says of a stream whether a file can be its own, by when it was last seen.
        ``left_behind``: the files are what no source finds, and are read for no other reason.
        """
        matches: list[Match] = []
        free = {candidate.key: candidate for candidate in candidates}
        for by_evidence in (True, False):
            for stream, place in list(self.streams.values()):
                likely = free.get((stream.device, stream.inode))
                choice = ([likely] if likely else []) if by_evidence else list(free.values())
                fitting = (c for c in choice if self._fits(c, stream, place))
                if not (by_evidence or left_behind or likely):
                    # A new file may well have the bytes of the one that was renamed.
                    fitting = (c for c in fitting if not self._lies_beside(stream, place))
                found = next(
                    (c for c in fitting if left_behind or _is_proved(c, stream, place, only_grew)),
                    None,
                )
                if found is not None:
                    del free[found.key], self.streams[stream.stream_id]
                    matches.append(Match(found, stream, place))
        return matches

    def _fits(self, candidate: Candidate, stream: Stream, place: Place) -> bool:
        if not place.digest and candidate.key != (stream.device, stream.inode):
            # Nothing stored: the head alone is too little where the inode differs.
            same_path = shown_path(candidate.found.home) == stream.path
            if not same_path:
                return False
        try:
            return holds(candidate.fd, self._key, stream, place)
        except OSError:
            return False

    def _lies_beside(self, stream: Stream, place: Place) -> bool:
        """Whether a stream's own file is in its directory under whatever name; in doubt it is."""
        try:
            for path in with_keys(siblings([stream.path]), {(stream.device, stream.inode)}):
                fd, _ = open_regular(path, follow_links=False)
                try:
                    return holds(fd, self._key, stream, place)
                finally:
                    os.close(fd)
        except OSError:
            return True
        return False


def _is_proved(
    candidate: Candidate,
    stream: Stream,
    place: Place,
    only_grew: Callable[[int, os.stat_result], bool],
) -> bool:
    """Whether a file that has a stream's bytes has them from then; else they may be new ones."""
    try:
        if candidate.key == (stream.device, stream.inode):
            proved = only_grew(stream.stream_id, os.fstat(candidate.fd))
        else:
            proved = not place.digest or is_telling(candidate.fd, place.committed)
    except OSError:
        return False
    if not proved:
        candidate.replay_below = max(candidate.replay_below, place.committed)
    return proved
