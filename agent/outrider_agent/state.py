"""What the agent remembers only to be quick, polite and thorough: a cache.

Postgres says how far each stream is committed. The cache adds the last feed position acknowledged
(so that a database that forgot is noticed) and how far each stream was acknowledged (so that what
is sent again after such a loss is marked ``replayed``), and how each file looked last, which tells
a file that was rewritten while no agent ran where its bytes alone would not. And it says what of
each path was seen last, which finds files that were born and renamed while no agent ran. Without
it nothing is lost of what is a stream. A cache that is damaged anywhere is ignored.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import os
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_MAX_BYTES = 64 << 20
_ENDED_KEPT_S = 30 * 86_400
_MOST_ENDED = 20_000


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What of a path is accounted for."""

    device: int
    inode: int
    stream_id: int
    """The stream of the file that was there; 0 while none of the path's files is one yet."""
    since_ns: int
    """Modification time, ns: what is older is a stream, was one, or is none of the path's."""

    @property
    def key(self) -> tuple[int, int]:
        """The file that was there."""
        return self.device, self.inode


class Delivered(msgspec.Struct, frozen=True, array_like=True):
    """What a file was when its stream ended."""

    size: int
    """Where the stream ended; the file may have grown since."""
    mtime_ns: int
    digest: bytes
    padding_bytes: int = 0
    """NULs behind that, which are no part of it yet."""
    was_deleted: bool = False
    """Whether it had no name any more: what has its inode by now is another file."""

    @property
    def looks(self) -> tuple[int, int]:
        """Size and modification time of the file as long as nobody writes to it."""
        return self.size + self.padding_bytes, self.mtime_ns


class Copied(msgspec.Struct, frozen=True, array_like=True):
    """What a file has that is stored of another, which was truncated: it may be a copy of that."""

    size: int
    """Of what it has behind these bytes nothing is known to be stored."""
    digest: bytes


class Left(msgspec.Struct, frozen=True, array_like=True):
    """What a file was when no source found it any more; no stream of it: that has ended since."""

    size: int
    head_bytes: int
    head_digest: bytes
    mtime_ns: int = 0


class State(msgspec.Struct):
    """The cache's content."""

    feed_number: int = 0
    feed_nonce: bytes = b""
    acknowledged: dict[int, int] = {}
    """Stream -> highest offset acknowledged, of open streams and of those in `ended`."""
    ended: dict[int, int] = {}
    """Stream that ended -> when, seconds since 1970: a restored database may open it again."""
    sizes: dict[int, int] = {}
    """Stream -> size of its file when it was last seen."""
    rested: dict[int, int] = {}
    """Stream -> modification time of its file, ns, when it was last seen with nothing to read."""
    boot_id: str = ""
    """The kernel's, when `sizes` were taken."""
    paths: dict[bytes, Seen] = {}
    """Path -> what of its files is accounted for, see :mod:`outrider_agent.generations`."""
    delivered: list[tuple[tuple[int, int], Delivered]] = []
    """Device and inode of files whose streams have ended, the latest ones -> how they were."""
    copied: list[tuple[tuple[int, int], Copied]] = []
    """The same of files that may be copies of others, and were no streams."""
    left: list[tuple[tuple[int, int], Left]] = []
    """The same of files that no source finds any more: their streams end after this is saved."""

    def end(self, stream_id: int, now_s: int) -> None:
        """Take note that a stream ended; the oldest and those of long ago are forgotten."""
        self.ended[stream_id] = now_s
        while self.ended:
            oldest = next(iter(self.ended))
            if len(self.ended) <= _MOST_ENDED and now_s - self.ended[oldest] < _ENDED_KEPT_S:
                break
            del self.ended[oldest]
            self.acknowledged.pop(oldest, None)

    def keep_only(self, living: AbstractSet[int], boot_id: str) -> None:
        """Forget streams that are no more; what is seen from now on is of this kernel's life."""
        self.acknowledged = {i: at for i, at in self.acknowledged.items() if i in living}
        self.sizes.clear()
        self.rested.clear()
        self.boot_id = boot_id

    def saw(self, stream_id: int, size: int, rested_mtime_ns: int) -> None:
        """Take note of how a stream's file looks; no time where there is more to be read."""
        self.sizes[stream_id] = size
        if rested_mtime_ns:
            self.rested[stream_id] = rested_mtime_ns
        else:
            self.rested.pop(stream_id, None)

    def only_grew(self, stream_id: int, status: os.stat_result, boot_id: str) -> bool:
        """Whether a file can be what it was when it was last seen, and what was appended since.

        False for one that is shorter (unless the host went down: that takes what was not on the
        disk yet), and for one that was written to and is no longer than it was.
        """
        size = self.sizes.get(stream_id)
        if size is None or status.st_size > size:
            return True
        if status.st_size < size:
            return boot_id != self.boot_id
        rested = self.rested.get(stream_id)
        return rested is None or status.st_mtime_ns <= rested


def load(path: Path) -> State:
    """Read the cache; an empty one where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=State)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return State()


def save(path: Path, state: State) -> bool:
    """Write the cache in one step; a disk that has no room leaves the old one, and it is False."""
    draft = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(path)
        return True
    return False
