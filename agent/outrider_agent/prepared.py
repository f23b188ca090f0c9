"""Room that a writer has prepared at the end of its file: NULs that lines will be written over."""

from __future__ import annotations

import os


def is_prepared(fd: int, begin: int, end: int) -> bool:
    """Whether such room from ``begin`` to ``end`` is as it was, or there was none. Raises OSError.

    Nothing else tells it: the file's size stays, and where it is mapped, so does its time.
    """
    return begin >= end or os.pread(fd, 1, begin) == os.pread(fd, 1, end - 1) == b"\0"


def read_settled(fd: int, length: int, offset: int, known: int = 0) -> bytes:
    """Read what a writer that fills its room from the beginning had written. Raises OSError.

    It may overtake the read: what stands behind NULs is believed where these are still there
    afterwards. So many bytes as are ``known`` are no room.
    """
    data = os.pread(fd, length, offset)
    nuls = data.find(b"\0", known)
    if nuls >= 0 and os.pread(fd, len(data), offset) != data:
        return data[:nuls]
    return data
