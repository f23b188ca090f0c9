"""What a stream is to the agent: one file's life, under an id that was minted once.

The id is random and is never derived from anything. What finds a file again after a restart is
evidence: device, inode, a digest of the file's head, and above all the tail digest at the committed
offset, which only the same bytes at the same place can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TEXT = 128

INBOX_FULL = "inbox_full"
"""Reason of a gap: records that a worker could not write because its inbox had no room."""

COPYTRUNCATE = "copytruncate"
"""Reason of a gap: lines written between a file's copy and its truncation, if there were any."""

HELD_FULL = "held_full"
"""Reason of a gap: bytes of a deleted file that were beyond what the agent may hold of such."""

BACKLOG_FULL = "backlog_full"
"""Reason of a gap: records that a source gave up because more of it waited than may."""

DAMAGED = "damaged"
"""Reason of a gap: what compressed a file is damaged, or cut off."""

ENDS_NOTHING = frozenset({INBOX_FULL, COPYTRUNCATE})
"""Reasons of gaps after which a stream may go on."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as it is journalled and told to the collector (see ``Stream`` in ingest.proto)."""

    stream_id: int
    service: str
    worker: str
    source: str
    path: str
    host: str
    uid: int = 0
    start_offset: int = 0
    device: int = 0
    inode: int = 0
    head_digest: bytes = b""
    head_bytes: int = 0

    def is_over_at(self, place: Place) -> bool:
        """Whether Postgres has the end of the stream: its place then has no digest any more."""
        return place.committed > self.start_offset and not place.digest


class Place(msgspec.Struct, frozen=True):
    """Where Postgres stands in a stream: the first byte not committed and its tail digest."""

    committed: int
    digest: bytes
    framer_state: bytes = b""
    """What framing must know there; see :mod:`outrider_agent.record_framing`."""

    @property
    def end_of_stream(self) -> int:
        """Where Postgres stands once the stream has ended there: an end is one position."""
        return self.committed + 1


class Lost(msgspec.Struct, frozen=True):
    """A stream whose content is nowhere."""

    stream: Stream
    place: Place
    is_there: bool
    """Whether its file is, with other content."""
    trouble: str = ""
    """Which archive should have it and is damaged."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A range that cannot be delivered: becomes a row in ``gaps``, once, by its id."""

    gap_id: bytes
    stream_id: int
    begin: int
    end: int
    reason: str
    records: int = 0
    at_least: bool = True
    detail: str = ""
    from_us: int = 0
    to_us: int = 0
    severity_max: int = 0
    """No record of it is more severe; 0: not known."""


def mint(random_bits: Callable[[int], int]) -> int:
    """Return a new stream id: 63 random bits, never 0. ``random_bits`` is ``secrets.randbits``."""
    return random_bits(63) or 1


def shown_path(path: str) -> str:
    """Write a path as printable UTF-8 of at most 4,096 bytes: other characters as escapes.

    File names are bytes of anybody's choice; what the database and people see must be text.
    """
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
    return clean.encode()[:4096].decode("utf-8", "ignore")


def clipped(text: str, limit: int = MAX_TEXT) -> str:
    """Cut a name to ``limit`` bytes and make it printable UTF-8 in one line."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
