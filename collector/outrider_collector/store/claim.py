"""What waits to be committed, and what became of each claim. Pure; the SQL is in ``writer``.

Whether a batch is accepted is decided by Postgres, from the stream's row, in the transaction that
stores the records: the row must stand at the batch's ``begin`` with the batch's previous digest,
and the session must be the agent's newest. Consecutive batches of one stream are claimed as one
*chain*. What the database answers is read here:

* claimed: the row moved to the chain's end; its records are inserted.
* the row stands inside the chain, at a batch's begin: the front was committed before (its
  acknowledgement was lost); the rest is claimed in a second try, in the same transaction.
* the row stands at or past the chain's end: acknowledge again, insert nothing.
* another transaction holds the row: deferred, the batch waits a turn.
* anything else: rewind, the agent continues from where the row stands. So it is with all that
  would come after the end of a stream: there is one end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain as concatenate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider.columns import Columns
    from outrider_collector.store.feed import Position


@dataclass(frozen=True, slots=True)
class Gap:
    """A range that could not be read or delivered; times are in us since 2000, 0: not known."""

    begin: int
    end: int
    records: int
    at_least: bool
    reason: str
    gap_id: bytes
    detail: str = ""
    from_us: int = 0
    to_us: int = 0
    severity_max: int = 0
    """No record of it is more severe; 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PendingBatch:
    """A batch that was received and waits for its commit.

    ``agent``, ``session`` and ``team`` come from the token and the session, never from a message.
    """

    agent: int
    session: int
    team: int
    stream: int
    service: str
    worker: str
    host: str
    begin: int
    end: int
    previous_digest: bytes
    digest: bytes
    columns: Columns | None = None
    gaps: Sequence[Gap] = ()
    watermark_us: int = 0
    framer_state: bytes = b""
    replayed: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """Consecutive batches of one stream and session, claimed as one."""

    batches: Sequence[PendingBatch]

    @property
    def stream(self) -> int:
        """The stream's id."""
        return self.batches[0].stream

    @property
    def first(self) -> PendingBatch:
        """The batch that the row must be ready for."""
        return self.batches[0]

    @property
    def last(self) -> PendingBatch:
        """The batch whose end and digest the row moves to."""
        return self.batches[-1]

    @property
    def watermark_us(self) -> int:
        """The latest statement of completeness; 0: none."""
        return max(batch.watermark_us for batch in self.batches)

    def after(self, committed: int, tail: bytes) -> Chain | None:
        """Return the part that begins where the stream stands, if there is one."""
        for i, batch in enumerate(self.batches):
            if batch.begin == committed and batch.previous_digest == tail:
                return Chain(self.batches[i:])
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database said to one chain."""

    stream: int
    known: bool
    """There is such a stream."""
    held: bool
    """Its row was locked for this transaction."""
    live: bool
    """It is this agent's, the session is the newest, and the agent is not revoked."""
    over: bool
    """The stream has its end."""
    claimed: bool
    committed: int
    """Where the stream stood before the claim; 0 unless held."""
    tail: bytes
    framer_state: bytes


@dataclass(frozen=True, slots=True)
class Rewind:
    """Where an agent is to continue a stream."""

    stream: int
    committed: int
    digest: bytes
    framer_state: bytes


@dataclass(slots=True, kw_only=True)
class CommitResult:
    """What became of each batch of one commit."""

    position: Position | None = None
    """Under which it was committed, or the newest when nothing had to be stored again; None only
    while the feed is empty."""
    acked: dict[int, int] = field(default_factory=dict)
    """Stream -> first byte not committed."""
    rewinds: list[Rewind] = field(default_factory=list)
    deferred: list[PendingBatch] = field(default_factory=list)
    """To be committed again, unchanged: another transaction holds their stream."""
    fenced: list[PendingBatch] = field(default_factory=list)
    """Their session is not the agent's newest, or the agent is revoked: end the session."""
    unknown: list[PendingBatch] = field(default_factory=list)
    """The database has no such stream: the agent must open it again."""
    records: int = 0
    """Records stored."""
    quarantined: int = 0
    """Records that Postgres refused, kept in quarantine."""


def chains(pending: Iterable[PendingBatch]) -> tuple[list[Chain], list[PendingBatch]]:
    """Return one chain for each stream, in the order of stream ids, and what must wait a turn.

    The newest session's batches come first; what does not continue them waits.
    """
    by_stream: dict[int, list[PendingBatch]] = {}
    for batch in pending:
        by_stream.setdefault(batch.stream, []).append(batch)
    found, later = [], []
    for stream in sorted(by_stream):
        batches = by_stream[stream]
        newest = max(batch.session for batch in batches)
        links: list[PendingBatch] = []
        for batch in batches:
            if batch.session == newest and (not links or _continues(links[-1], batch)):
                links.append(batch)
            else:
                later.append(batch)
        found.append(Chain(links))
    return found, later


def judge(
    chain: Chain, answer: Answer, result: CommitResult
) -> tuple[Chain | None, list[PendingBatch]]:
    """Read one answer: enter the outcome in ``result``, return what is to be tried again.

    The second value are batches that were committed before: their losses may be told again, because
    each loss has a name under which it is stored once.
    """
    if not answer.known:
        result.unknown.extend(chain.batches)
    elif not answer.held:
        result.deferred.extend(chain.batches)
    elif not answer.live:
        result.fenced.extend(chain.batches)
    elif answer.claimed:
        result.acked[chain.stream] = chain.last.end
    elif not answer.over and (rest := chain.after(answer.committed, answer.tail)):
        front = len(chain.batches) - len(rest.batches)
        return rest, list(chain.batches[:front])
    elif _is_behind(chain, answer):
        result.acked[chain.stream] = answer.committed
        return None, list(chain.batches)
    else:
        result.rewinds.append(
            Rewind(chain.stream, answer.committed, answer.tail, answer.framer_state)
        )
    return None, []


def batches_of(claimed: Iterable[Chain]) -> list[PendingBatch]:
    """Return the batches of chains, in order."""
    return list(concatenate.from_iterable(chain.batches for chain in claimed))


def _continues(earlier: PendingBatch, later: PendingBatch) -> bool:
    fits = later.begin == earlier.end and later.previous_digest == earlier.digest
    return fits and not earlier.final


def _is_behind(chain: Chain, answer: Answer) -> bool:
    """All of it was committed before. Where the ends meet the digests must too."""
    if chain.last.end == answer.committed:
        return chain.last.digest == answer.tail
    return chain.last.end < answer.committed
