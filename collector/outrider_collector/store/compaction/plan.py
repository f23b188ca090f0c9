"""Which fresh blocks are moved together, and when it is worth it.

Blocks of one (team, service) that together fill a compacted block are moved at once; what does not
fill one waits for company until its hour of arrival is over. So a service that writes much is
compacted within minutes, and one that writes little leaves one block an hour. A move is one
transaction; its size bounds the compactor's memory and what a crash repeats. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

FULL_RECORDS: Final = 4_000
"""Records of a full block."""
MOVE_RECORDS: Final = 16_384
"""A move has about so many records; one block alone may have as many."""
MOVE_BYTES: Final = 32 * 1024 * 1024
"""Of stored columns, of about a third of their size in memory; one block may have more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fresh block that is old enough."""

    block: str
    """Its ctid in its hour's table."""
    team: int
    service: str
    replayed: bool
    n: int
    stored_bytes: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """Blocks of one hour's table that are moved by one transaction."""

    blocks: tuple[str, ...]
    records: int


def moves(candidates: Iterable[Candidate], *, all_of_them: bool) -> list[Move]:
    """Return what to move now; ``all_of_them``: also what fills no block."""
    pieces = [
        piece
        for group in _groups(candidates)
        for piece in _packed([[candidate] for candidate in group])
        if all_of_them or _records(piece) >= FULL_RECORDS
    ]
    return [
        Move(tuple(candidate.block for candidate in blocks), _records(blocks))
        for blocks in _packed(pieces)
    ]


def _groups(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    def source(candidate: Candidate) -> tuple[int, str, bool]:
        return candidate.team, candidate.service, candidate.replayed

    ordered = sorted(candidates, key=lambda c: (*source(c), c.received_at, c.block))
    for _, group in groupby(ordered, key=source):
        yield list(group)


def _packed(pieces: Iterable[list[Candidate]]) -> Iterator[list[Candidate]]:
    """Join pieces, in their order, as long as they are a move at most."""
    joined: list[Candidate] = []
    records = stored = 0
    for piece in pieces:
        more, more_bytes = _records(piece), sum(c.stored_bytes for c in piece)
        if joined and (records + more > MOVE_RECORDS or stored + more_bytes > MOVE_BYTES):
            yield joined
            joined, records, stored = [], 0, 0
        joined += piece
        records += more
        stored += more_bytes
    if joined:
        yield joined


def _records(blocks: Sequence[Candidate]) -> int:
    return sum(block.n for block in blocks)
