"""What files were before they are found, or found again: how much of each is stored already.

A file is its device and inode, which the kernel gives again to another. So nothing of this holds
without the file's own bytes, and few bytes prove nothing where size or time is another by now.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from outrider_agent.digests import digest, same
from outrider_agent.discovery import open_regular
from outrider_agent.evidence import digest_at, is_telling
from outrider_agent.state import Copied, Delivered, Left

if TYPE_CHECKING:
    from outrider_agent.followed import Followed
    from outrider_agent.registry import Candidate
    from outrider_agent.state import State
    from outrider_agent.streams import Place

_MOST_FILES = 4000
"""Of each kind; the latest are kept."""

_Entry = TypeVar("_Entry", Delivered, Copied, Left)


@dataclass(frozen=True, slots=True)
class Known:
    """How many bytes of a file are stored already, from its first on; of a new file none."""

    begin: int = 0
    """So many are: it goes on behind them."""
    replay_below: int = 0
    """So many may be, and nothing proves it: they are read again, marked."""


NEW = Known()


class FileHistory:
    """What is remembered of files by device and inode; ``key`` is that of the digests."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.delivered: dict[tuple[int, int], Delivered] = {}
        """Those whose streams have ended."""
        self._copied: dict[tuple[int, int], Copied] = {}
        """Those that may be copies of others, and were no streams."""
        self._left: dict[tuple[int, int], Left] = {}
        """Those that an earlier process had streams of, which were to end."""

    def read(self, cache: State) -> None:
        """Take up what an earlier process knew."""
        self.delivered, self._copied = dict(cache.delivered), dict(cache.copied)
        self._left = dict(cache.left)

    def save(self, cache: State, to_end: dict[tuple[int, int], Left]) -> None:
        """Put all into the cache, with those whose streams may end after this."""
        cache.delivered, cache.copied = list(self.delivered.items()), list(self._copied.items())
        cache.left = list((self._left | to_end).items())[-_MOST_FILES:]

    # ---------------------------------------------------------------- what is asked

    def known_as(self, fd: int, *, at_a_path: bool = False) -> Known:
        """Tell how much of an open file is stored already. Raises OSError.

        ``at_a_path``: of a source, where new files are made. One that was written to since and did
        not grow may have the same bytes anew there; a rotated one was only touched.
        """
        status = os.fstat(fd)
        key, looks = (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)
        ended = self._known_to_end(fd, key, looks, at_a_path=at_a_path)
        left = self._left.get(key)
        if left is None:
            return ended
        if not same(digest(self._key, os.pread(fd, left.head_bytes, 0)), left.head_digest):
            del self._left[key]
            return ended
        # It is the later word. Of what was written since nobody knows how much was still read.
        is_same = looks == (left.size, left.mtime_ns)
        return Known(begin=left.size) if is_same else Known(ended.begin, status.st_size)

    def _known_to_end(
        self, fd: int, key: tuple[int, int], looks: tuple[int, int], *, at_a_path: bool
    ) -> Known:
        ended = self.delivered.get(key)
        if ended is not None and not ended.was_deleted and self._has(fd, ended):
            may_tell = looks[0] > ended.size or not at_a_path
            is_proved = looks == ended.looks or (may_tell and is_telling(fd, ended.size))
            return _judged(ended.size, is_proved=is_proved)
        copied = self._copied.get(key)
        if copied is not None and self._has(fd, copied):
            return _judged(copied.size, is_proved=is_telling(fd, copied.size))
        return NEW

    def known_at(self, path: str, status: os.stat_result) -> Known:
        """Tell the same of the file at a path; ``status`` is the file's. Raises OSError."""
        key = (status.st_dev, status.st_ino)
        if not any(key in known for known in (self.delivered, self._copied, self._left)):
            return NEW
        fd, _ = open_regular(path, follow_links=False)
        try:
            return self.known_as(fd)
        finally:
            os.close(fd)

    def has_content(self, fd: int, *, proved: bool) -> bool:
        """Whether an open file has, whole, what another had of which all is stored.

        ``proved``: by bytes that are hardly in another file too. Raises OSError.
        """
        status = os.fstat(fd)
        return any(
            entry.size == status.st_size
            and self._has(fd, entry)
            and (not proved or is_telling(fd, entry.size))
            for known in (self.delivered, self._copied)
            for key, entry in known.items()
            if key != (status.st_dev, status.st_ino)
        )

    def _has(self, fd: int, entry: Delivered | Copied) -> bool:
        return same(digest_at(fd, self._key, entry.size), entry.digest)

    # ---------------------------------------------------------------- what is remembered

    def ended(self, followed: Followed) -> None:
        """Remember what a file is now that its stream has ended. Raises OSError."""
        self._ended(followed, followed.tail.position, followed.tail.padding_bytes)

    def moved(self, followed: Followed) -> None:
        """Remember what a file is whose stream goes on in a copy of it. Raises OSError."""
        self._ended(followed, os.fstat(followed.tail.fd).st_size, 0)

    def _ended(self, followed: Followed, size: int, padding_bytes: int) -> None:
        fd, status = followed.tail.fd, os.fstat(followed.tail.fd)
        ended = Delivered(
            size,
            status.st_mtime_ns,
            digest_at(fd, self._key, size),
            padding_bytes,
            was_deleted=status.st_nlink == 0,
        )
        _keep_latest(self.delivered, followed.key, ended)
        # All that was known before is older.
        self._copied.pop(followed.key, None)
        self._left.pop(followed.key, None)

    def goes_on(self, candidate: Candidate) -> None:
        """Forget that a stream was to end: the collector has it open, and this is its file."""
        if self._left.pop(candidate.key, None) is not None:
            candidate.replay_below = self.known_as(candidate.fd).replay_below

    def note_copy(self, key: tuple[int, int], place: Place) -> None:
        """Remember a file that has what was stored of one that was truncated."""
        _keep_latest(self._copied, key, Copied(place.committed, place.digest))


def _judged(size: int, *, is_proved: bool) -> Known:
    return Known(begin=size) if is_proved else Known(replay_below=size)


def _keep_latest(files: dict[tuple[int, int], _Entry], key: tuple[int, int], one: _Entry) -> None:
    files.pop(key, None)
    files[key] = one
    if len(files) > _MOST_FILES:
        del files[next(iter(files))]


def as_left(followed: Followed) -> Left:
    """Describe a file whose stream may end before anybody writes the cache again."""
    stream = followed.tail.stream
    try:
        status = followed.tail.status()
    except OSError:  # it is nowhere; what gets its inode was written later
        return Left(followed.tail.size, stream.head_bytes, stream.head_digest)
    return Left(status.st_size, stream.head_bytes, stream.head_digest, status.st_mtime_ns)
