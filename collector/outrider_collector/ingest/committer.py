"""The committer: one task that takes all that waits, commits it once, and tells each agent.

While a commit runs, the next set gathers and is decoded; with one transaction at a time the
database is never asked to order our own commits, and a set grows by itself when commits are slow.
An acknowledgement is sent after COMMIT was answered, never before.

When the store cannot be reached nothing is lost and nothing is acknowledged: the set is kept, tried
again with growing waits, and held to the credit budget, so agents stop sending by themselves.
Batches of sessions that ended meanwhile are dropped: their agents send them again from their disks.
Since when commits fail and why is told, here and in the collector's row
(:class:`~outrider_collector.ingest.complaint.Complaint`).

An exception nobody foresaw says nothing about whose batch met it. The set is then committed session
by session; the session whose batches meet it alone is ended with INTERNAL_BUG, its agent comes back
after ``MISTAKE_WAIT_S``, and everybody else goes on. Nothing of it is acknowledged.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Protocol

import outrider
from outrider.errors import Fault, Reason
from outrider.failpoint import failpoint
from outrider_collector.ingest.complaint import Complaint
from outrider_collector.store.writer import RuleSetChanged, StoreRegressed
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from outrider.columns import Columns
    from outrider.retry import Backoff
    from outrider_alerting.hits import Hit
    from outrider_collector.ingest.credit import CreditBudget
    from outrider_collector.ingest.figures import Figures
    from outrider_collector.ingest.queue import BatchQueue
    from outrider_collector.ingest.roster import Roster
    from outrider_collector.ingest.session import Held, Session
    from outrider_collector.store.claim import CommitResult, PendingBatch

DEFERRED_WAIT_S = 0.02
"""A set of which all must wait a turn (another collector holds their rows) is tried again after."""
MISTAKE_WAIT_S = 30.0
"""An agent whose batches met a mistake of ours comes back no sooner: they may meet it again."""

log = outrider.get_logger(__name__)


class Writer(Protocol):
    """The ingest transaction."""

    async def commit(
        self,
        pending: Sequence[PendingBatch],
        hits: Callable[[Columns], Sequence[Hit]],
        rule_set_version: int | None,
    ) -> CommitResult:
        """Commit the batches in one transaction.

        Raises Fault (nothing is known of the outcome), RuleSetChanged, StoreRegressed.
        """


class Rules(Protocol):
    """One version of the rules; never changes."""

    version: int | None

    def hits(self, columns: Columns, believable_from_us: int | None = None) -> Sequence[Hit]:
        """Count what the rules match."""


class Book(Protocol):
    """Knows which rules are active."""

    @property
    def active(self) -> Rules:
        """The rules as they were last fetched."""

    async def reload(self) -> None:
        """Fetch them anew. Raises Fault."""


class Committer:
    """Owns the queue of batches and what becomes of them."""

    def __init__(
        self,
        writer: Writer,
        book: Book,
        queue: BatchQueue,
        roster: Roster,
        figures: Figures,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        backoff: Backoff,
        wake: Callable[[], None],
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Wire the parts; ``wake`` is called when the feed has grown, ``say`` tells the journal.

        Where the database takes nothing, records of this collector's own log wait with the others.
        """
        self._writer = writer
        self._book = book
        self._queue = queue
        self._roster = roster
        self._figures = figures
        self._clock = clock
        self._sleep = sleep
        self._backoff = backoff
        self._wake = wake
        self._say = say
        self._gates: dict[int, asyncio.Event] = {}
        self._busy = False
        self.refused: Fault | None = None
        """Why no batch can be committed until somebody acts: rules of a newer version."""
        self.complaint = Complaint()

    @property
    def _budget(self) -> CreditBudget:
        return self._roster.budget

    async def readable(self, session: Session) -> None:
        """Wait until the next message of the session may be read, or the session ended."""
        while session.ended is None and not self._budget.may_read(session.number):
            gate = self._gates.setdefault(session.number, asyncio.Event())
            gate.clear()
            await gate.wait()

    def wake(self, session: Session) -> None:
        """Let a reader that waits for credit look again; forget the session if it ended."""
        gate = self._gates.get(session.number)
        if gate is not None:
            gate.set()
        if session.ended is not None:
            self._gates.pop(session.number, None)

    def put(self, held: Held) -> None:
        """Queue a batch; what its records match is counted now, not while a transaction is open."""
        if held.batch.columns is not None:
            rules = self._book.active
            held.hits = rules.hits(held.batch.columns, held.believable_from_us)
            held.hits_version = rules.version
            held.urgent = held.urgent or bool(held.hits)
        self._queue.put(held)

    async def run(self) -> None:
        """Commit for ever; end by cancelling between commits or by the collector's end."""
        while True:
            await self._queue.ready()
            self._busy = True
            try:
                taken = self._queue.take()
                if taken:
                    await self._commit(taken)
                self.open_gates()
            finally:
                self._busy = False

    async def drained(self, quiet_s: float) -> None:
        """Commit without gathering until nothing has waited for ``quiet_s`` seconds."""
        self._queue.drain()
        quiet_since = self._clock()
        while self._clock() - quiet_since < quiet_s:
            if self._busy or len(self._queue):
                quiet_since = self._clock()
            await self._sleep(quiet_s / 5)

    async def _commit(self, taken: list[Held]) -> None:
        """Commit the set, however often it takes; returns early when nobody wants it any more."""
        while taken:
            started = self._clock()
            rules = self._book.active
            try:
                result = await self._writer.commit(
                    [held.batch for held in taken], _prepared(taken, rules), rules.version
                )
            except RuleSetChanged:
                await self._reload()
            except StoreRegressed as finding:
                self._regressed(finding)
            except Fault as fault:
                await self._failed(fault)
            except Exception as mistake:  # noqa: BLE001  whatever it is, the collector goes on
                await self._apart(taken, mistake)
                return
            else:
                failpoint("COMMIT/ack")
                self._backoff.reset()
                self._recovered()
                self._committed(taken, result, (self._clock() - started) * 1_000)
                if len(result.deferred) == len(taken):
                    await self._sleep(DEFERRED_WAIT_S)
                return
            taken = self._still_wanted(taken)
        # Nothing is tried any more, so nobody knows whether it would still fail: no word of it.
        self.complaint.over(self._clock())

    async def _apart(self, taken: list[Held], mistake: Exception) -> None:
        """Find whose batches meet an unforeseen exception: one session, or try each by itself."""
        parts: dict[Session, list[Held]] = {}
        for held in taken:
            parts.setdefault(held.session, []).append(held)
        if len(parts) == 1:
            self._end_culprit(taken, mistake)
            return
        for part in parts.values():
            await self._commit(part)

    def _end_culprit(self, taken: list[Held], mistake: Exception) -> None:
        """End the session of batches that cannot be committed; drop them unacknowledged."""
        session = taken[0].session
        correlation_id = secrets.token_hex(8)
        self._figures.mistaken(f"{type(mistake).__name__}: {mistake}")
        log.error(
            "a session was ended: its batches meet a mistake of ours",
            exc_info=mistake,
            correlation_id=correlation_id,
            agent=session.agent,
            streams=sorted({held.batch.stream for held in taken})[:10],
        )
        for held in taken:
            self._queue.settle(held)
        fault = Fault(
            Reason.INTERNAL_BUG,
            retry_after_s=MISTAKE_WAIT_S,
            detail=f"{Reason.INTERNAL_BUG.text}: correlation id {correlation_id} in the "
            "collector's log",
        )
        session.end(fault)
        self._roster.leave(session)

    def _regressed(self, finding: StoreRegressed) -> None:
        """The database forgot: what agents hold is wanted again, from where it stands now."""
        log.error("the database forgot commits", detail=str(finding))
        self._figures.failed(str(finding))
        self._roster.end_all(
            Fault(Reason.CONFLICT, detail="the database was restored: say hello again")
        )

    async def _failed(self, fault: Fault) -> None:
        self._figures.failed(str(fault))
        told = self.complaint.failed(fault, self._clock())
        if told:
            self._say(told)
            log.error(told, reason=str(fault.reason), detail=fault.text)
        await self._sleep(self._backoff.next(fault.retry_after_s or 0.0))

    def _recovered(self) -> None:
        told = self.complaint.over(self._clock())
        if told:
            self._say(told)
            log.info(told)

    async def _reload(self) -> None:
        """Another rule set is active: count anew what waits, by its rules."""
        try:
            await self._book.reload()
        except Fault as fault:
            self.refused = fault if fault.reason == Reason.RULES_TOO_NEW else None
            await self._failed(fault)
        else:
            self.refused = None

    def _still_wanted(self, taken: list[Held]) -> list[Held]:
        wanted = [held for held in taken if held.session.ended is None]
        for held in taken:
            if held.session.ended is not None:
                self._queue.settle(held)
        return wanted

    def _committed(self, taken: list[Held], result: CommitResult, duration_ms: float) -> None:
        """Give each batch its fate and tell the agents."""
        self._wake()
        waiting = set(map(id, result.deferred))
        settled = [held for held in taken if id(held.batch) not in waiting]
        for held in settled:
            self._queue.settle(held)
        self._queue.put_back([held for held in taken if id(held.batch) in waiting])
        self._figures.committed(duration_ms, len(settled), result.records)
        self._figures.quarantined += result.quarantined
        self._figures.deferred += len(result.deferred)
        self._end_sessions(result)
        self._rewind(settled, result)
        # Windows first: an acknowledgement tells the new one.
        changed = set(self._budget.committed(duration_ms))
        self._roster.tell_credit(changed - self._acknowledge(settled, result))

    def _acknowledge(self, settled: list[Held], result: CommitResult) -> set[int]:
        """Send one Ack to each session of which a stream moved; return their numbers."""
        by_session: dict[Session, dict[int, int]] = {}
        for held in settled:
            committed = result.acked.get(held.batch.stream)
            if committed is not None:
                by_session.setdefault(held.session, {})[held.batch.stream] = committed
                if held.batch.final and held.batch.end == committed:
                    # Its end is committed, not only something past an end that was told before.
                    # It makes room for another: a host with rotating files opens many in time.
                    held.session.close(held.batch.stream)
        position = result.position
        for session, streams in by_session.items():
            ack = ingest_pb2.Ack(
                streams=[
                    ingest_pb2.Committed(stream_id=stream, committed=committed)
                    for stream, committed in streams.items()
                ],
                credit_bytes=self._budget.window(session.number),
            )
            if position is not None:
                ack.feed.number, ack.feed.nonce = position.number, position.nonce
            session.outbox.send(ingest_pb2.PushResponse(ack=ack))
        return {session.number for session in by_session}

    def _rewind(self, settled: list[Held], result: CommitResult) -> None:
        """Send each rewind to the session whose batches it answers."""
        rewinds = {rewind.stream: rewind for rewind in result.rewinds}
        self._figures.rewinds += len(rewinds)
        for held in settled:
            rewind = rewinds.pop(held.batch.stream, None)
            if rewind is None:
                continue
            held.session.rewind(rewind.stream, rewind.committed)
            message = ingest_pb2.Rewind(
                stream_id=rewind.stream,
                committed=rewind.committed,
                digest=rewind.digest,
                framer_state=rewind.framer_state,
            )
            held.session.outbox.send(ingest_pb2.PushResponse(rewind=message))

    def _end_sessions(self, result: CommitResult) -> None:
        for batch in result.fenced:
            self._roster.fence(batch.session)
        for batch in result.unknown:
            # The database forgot the stream: a new hello tells the agent what it has.
            self._roster.end(batch.session, Fault(Reason.STREAM_REFUSED, stream=batch.stream))

    def open_gates(self) -> None:
        """Let readers go on whose sessions have credit again."""
        for number, gate in self._gates.items():
            if self._budget.may_read(number):
                gate.set()


def _prepared(taken: list[Held], rules: Rules) -> Callable[[Columns], Sequence[Hit]]:
    """Return the hits counted at receipt, where they were counted by these rules.

    Records that were changed since (times that no clock shows, halves of a batch that Postgres
    refused) are counted anew; what was complete before the first batch of their stream still was.
    """
    counted = {
        id(held.batch.columns): held.hits for held in taken if held.hits_version == rules.version
    }
    complete_us: dict[int, int | None] = {}
    for held in taken:
        complete_us.setdefault(held.batch.stream, held.believable_from_us)

    def hits(columns: Columns) -> Sequence[Hit]:
        found = counted.get(id(columns))
        if found is not None:
            return found
        return rules.hits(columns, complete_us.get(columns.stream))

    return hits
