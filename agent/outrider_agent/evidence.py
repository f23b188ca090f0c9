"""Evidence: what proves that a file has a stream's bytes, whatever it is called by now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outrider_agent.digests import digest, same, tail_length

if TYPE_CHECKING:
    from outrider_agent.streams import Place, Stream

TELLING_BYTES = 512
"""Fewer bytes do not tell a file from another."""


def digest_at(fd: int, key: bytes, offset: int) -> bytes:
    """Return the tail digest of a file at an offset."""
    length = tail_length(offset)
    return digest(key, os.pread(fd, length, offset - length)) if length else b""


def has_head(fd: int, key: bytes, stream: Stream) -> bool:
    """Whether a file begins as that of a stream did when it was found first."""
    head = os.pread(fd, stream.head_bytes, 0)
    return not stream.head_bytes or same(digest(key, head), stream.head_digest)


def holds(fd: int, key: bytes, stream: Stream, place: Place) -> bool:
    """Whether a file has, before ``place``, the bytes that Postgres has of a stream."""
    if os.fstat(fd).st_size < place.committed:
        return False
    if not has_head(fd, key, stream):
        return False
    if place.digest:
        return same(digest_at(fd, key, place.committed), place.digest)
    # Nothing of the stream is stored: its head is all there is to know it by.
    return place.committed == stream.start_offset


def is_telling(fd: int, offset: int) -> bool:
    """Whether the bytes before ``offset`` are hardly in another file too, at the same place."""
    length = tail_length(offset)
    return tells(os.pread(fd, length, offset - length))


def tells(tail: bytes) -> bool:
    """Whether bytes are hardly in another file too.

    Lines that repeat are, and so are the few lines with which a program begins.
    """
    return len(tail) >= TELLING_BYTES and tail.find(tail[: len(tail) // 2], 1) < 0
