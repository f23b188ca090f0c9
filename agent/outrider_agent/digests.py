"""Digests: what names a place in a file's content.

A tail digest at offset ``end`` is an HMAC-SHA256, cut to 16 bytes, over the ``min(4096, end)`` raw
bytes before ``end``. Two reads of one file agree on it; a truncated, rewritten or different file
does not. The key is the agent's own (identity/), so nobody else can tell from a digest what was in
a file, and it is no cache: without it no stored digest means anything any more.

At the first byte of a stream there is nothing that was stored yet, so the digest there is empty,
also for streams that start in the middle of a file.
"""

from __future__ import annotations

import hmac

TAIL_BYTES = 4096
"""A tail digest covers at most so many bytes."""

DIGEST_BYTES = 16

HEAD_BYTES = 1024
"""A head digest, evidence that finds a file again, covers at most so many bytes."""


def tail_length(end: int) -> int:
    """Bytes before ``end`` that its digest covers."""
    return min(TAIL_BYTES, end)


def digest(key: bytes, content: bytes) -> bytes:
    """Digest ``content``; empty for no content."""
    if not content:
        return b""
    return hmac.digest(key, content, "sha256")[:DIGEST_BYTES]


def same(left: bytes, right: bytes) -> bool:
    """Tell whether two digests are equal."""
    return hmac.compare_digest(left, right)


class Mark:
    """The bytes before a place in a file, which name it, and their digest.

    Comparing bytes costs a fiftieth of a digest: a file that grows is compared at every look, and
    digested once for each batch. One that rests keeps its digest alone.
    """

    __slots__ = ("_bytes", "_digest", "_key")

    def __init__(self, key: bytes, content: bytes, known: bytes = b"") -> None:
        """``known``: their digest, where they are not at hand."""
        self._key = key
        self._bytes: bytes | None = None if known else content
        self._digest: bytes | None = known or None

    @property
    def digest(self) -> bytes:
        """The digest of the bytes; empty for none."""
        if self._digest is None:
            self._digest = digest(self._key, self._bytes or b"")
        return self._digest

    def fits(self, content: bytes) -> bool:
        """Whether these are the bytes."""
        if self._bytes is not None:
            return content == self._bytes
        return same(digest(self._key, content), self.digest)

    def rest(self) -> None:
        """Keep no more than the digest."""
        if self._bytes is not None:
            self._digest, self._bytes = self.digest, None
