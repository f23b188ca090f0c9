"""More files than may be open at once: they are open in turns.

A followed file that has a name can be closed and opened again; while it is closed it is looked at
by its name. Beyond the limit the one that was opened the longest ago is closed. What a source finds
no more (rotated, deleted) has no name of which anybody knows how long it lasts: when nobody writes
to it any more, what is not delivered of it is copied to ``keep/`` first, and followed there. Where
that is not possible, one that still has a name is closed if no other can be; one without stays
open, and what is new waits.

Segments of the inbox stay open: their locks are worth more than their bytes.
"""

from __future__ import annotations

import errno
import os
import resource
from itertools import islice
from typing import TYPE_CHECKING

from outrider_agent.discovery import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.followed import Followed

_LEAST_RESERVE = 64
"""For sockets, the state, kept segments, probes and whatever libraries open."""
_MOST_RESERVE = 512
_LEAST_OPEN = 8
_TRIED = 64
_MOST_KEPT = 256


def most_open() -> int:
    """Return how many followed files may be open, by the limit of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_LEAST_OPEN, soft - _reserve(soft))


def most_kept() -> int:
    """Return how many delivered segments may be kept: a half of the reserve, at most 256."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_KEPT, _reserve(soft) // 2)


def _reserve(soft: int) -> int:
    return min(_MOST_RESERVE, max(_LEAST_RESERVE, soft // 4))


class OpenFile:
    """A file by its descriptor, which may be closed for a while."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.door: Door | None = None
        """The way to the file while it is closed."""
        self.rest_bytes = -1
        """The size at which it was found at rest, where no other size means the same; else -1."""

    @property
    def fd(self) -> int:
        """The file's descriptor; opens it anew where it is closed. Raises OSError."""
        if self._fd < 0 and self.door is not None:
            self._fd = self.door.open()
        return self._fd

    @fd.setter
    def fd(self, fd: int) -> None:
        self._fd = fd

    @property
    def is_open(self) -> bool:
        """Whether the file is open now."""
        return self._fd >= 0

    def status(self) -> os.stat_result:
        """Look at the file without opening it. Raises OSError."""
        if self._fd < 0 and self.door is not None:
            return self.door.status()
        return os.fstat(self._fd)

    def keeps_size(self) -> bool:
        """Whether the file is open and has the size that it rests at, at a third of a status' cost.

        Blind to what leaves the size as it is, and to what a file system on a network has not told.
        """
        try:
            return self._fd >= 0 and os.lseek(self._fd, 0, os.SEEK_END) == self.rest_bytes
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; where it has a door, until it is needed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Descriptors:
    """Which followed files are open; ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.keep: Callable[[Followed], bool] = lambda _: False
        """Copies what is not delivered of a file; whether it is followed there now."""
        self._open: dict[Followed, None] = {}
        """In the order in which they were opened."""
        self.waiting = 0
        """Open files that are no streams yet."""

    def opened(self, followed: Followed) -> None:
        """Take note of a file that is open."""
        self._open[followed] = None

    def closed(self, followed: Followed) -> None:
        """Take note of a file that is nobody's any more, or somebody else's."""
        self._open.pop(followed, None)
        followed.tail.door = None

    def have_room(self) -> bool:
        """Whether one more may be opened; closes one if need be."""
        return len(self._open) + self.waiting < self._most or self.close_one()

    def close_one(self) -> bool:
        """Close the file that was opened the longest ago and may be; False where none may."""
        for may_close in (self._has_lasting_name, _has_name):
            for followed in list(islice(self._open, _TRIED)):
                del self._open[followed]
                if followed.segment is None and followed.has_file and may_close(followed):
                    followed.tail.door = Door(followed, self)
                    followed.tail.close()
                    self._open.pop(followed, None)  # where a copy was opened instead
                    return True
                self._open[followed] = None  # behind the others
        return False

    def _has_lasting_name(self, followed: Followed) -> bool:
        return followed.present or followed.kept or self.keep(followed)


class Door:
    """The way to a followed file that is closed; made while it is open."""

    def __init__(self, followed: Followed, descriptors: Descriptors) -> None:
        self._followed = followed
        self._descriptors = descriptors
        self._name = os.readlink(f"/proc/self/fd/{followed.tail.fd}")  # noqa: PTH115  a string
        """What the kernel called it at last: no link, and wherever a link led to."""

    def status(self) -> os.stat_result:
        """Look at the file by its name. Raises OSError where the name is another's."""
        followed = self._followed
        status = os.stat(followed.path, follow_symlinks=_follows_links(followed))  # noqa: PTH116
        if (status.st_dev, status.st_ino) != followed.key:
            raise FileNotFoundError(2, "it is not there any more", followed.path)
        return status

    def open(self) -> int:
        """Open the file, under whatever name it has in its directory. Raises OSError.

        Under another name than its last it must have the bytes, too.
        """
        followed = self._followed
        if not self._descriptors.have_room():
            # What is left is for others: connections, the state.
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), followed.path)
        try:
            fd = self._opened(followed.path)
        except FileNotFoundError:
            fd = self._opened(_name_of(followed, self._name))
            if not followed.tail.is_in(fd):
                os.close(fd)
                raise
        self._descriptors.opened(followed)
        return fd

    def _opened(self, path: str) -> int:
        fd, status = open_regular(path, follow_links=_follows_links(self._followed))
        if (status.st_dev, status.st_ino) != self._followed.key:
            os.close(fd)
            raise FileNotFoundError(2, "it is not there any more", path)
        return fd


def _has_name(followed: Followed) -> bool:
    return followed.tail.status().st_nlink > 0


def _follows_links(followed: Followed) -> bool:
    return followed.found.source is not None


def _name_of(followed: Followed, name: str) -> str:
    """Return the name that a file has by now, in the directory where it was called ``name``.

    Raises FileNotFoundError.
    """
    with os.scandir(os.path.dirname(name)) as entries:  # noqa: PTH120  a string
        for entry in entries:
            if entry.inode() == followed.key[1]:
                return entry.path
    raise FileNotFoundError(2, "it is not there any more", followed.path)
