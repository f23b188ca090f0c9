"""The committer against a writer of the tests' own: what is told to agents, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from outrider.columns import Columns, pack_int64, unpack_int64
from outrider.errors import Fault, Reason
from outrider.retry import Backoff
from outrider_alerting.hits import Hit
from outrider_collector.ingest.committer import MISTAKE_WAIT_S, Committer
from outrider_collector.ingest.credit import CreditBudget
from outrider_collector.ingest.decode import Origin
from outrider_collector.ingest.figures import Figures
from outrider_collector.ingest.pace import Intervals
from outrider_collector.ingest.queue import BatchQueue
from outrider_collector.ingest.roster import Roster, Wishes
from outrider_collector.ingest.session import Held, Session
from outrider_collector.store.claim import CommitResult, PendingBatch, Rewind
from outrider_collector.store.feed import Position
from outrider_collector.store.writer import RuleSetChanged, StoreRegressed

if TYPE_CHECKING:
    from outrider_protos.v1 import ingest_pb2

Outcome = Callable[[Sequence[PendingBatch]], CommitResult] | Exception


def all_acked(pending: Sequence[PendingBatch]) -> CommitResult:
    """Everything is committed."""
    return CommitResult(
        position=Position(7, b"n" * 16), acked={batch.stream: batch.end for batch in pending}
    )


@dataclass
class FakeWriter:
    """Answers commits with the outcomes it is given, then with success."""

    outcomes: list[Outcome] = field(default_factory=list)
    commits: list[list[PendingBatch]] = field(default_factory=list)
    versions: list[int | None] = field(default_factory=list)
    hits: list[list[Hit]] = field(default_factory=list)

    async def commit(
        self,
        pending: Sequence[PendingBatch],
        hits: Callable[[Columns], Sequence[Hit]],
        rule_set_version: int | None,
    ) -> CommitResult:
        """Note what was to be committed; answer."""
        self.commits.append(list(pending))
        self.versions.append(rule_set_version)
        self.hits.append([h for b in pending if b.columns is not None for h in hits(b.columns)])
        await asyncio.sleep(0)
        outcome = self.outcomes.pop(0) if self.outcomes else all_acked
        if isinstance(outcome, Exception):
            raise outcome
        return outcome(pending)


class FakeRules:
    """Finds one hit in each batch, named by its version."""

    def __init__(self, version: int) -> None:
        self.version: int | None = version
        self.believed: list[int | None] = []

    def hits(self, columns: Columns, believable_from_us: int | None = None) -> list[Hit]:
        """One hit."""
        self.believed.append(believable_from_us)
        return [Hit(hits_key=b"%d" % (self.version or 0), key=(), bucket_us=0, n=columns.n)]


class FakeBook:
    """A rule book whose next version is one more."""

    def __init__(self) -> None:
        self.active = FakeRules(1)

    async def reload(self) -> None:
        """Fetch the next version."""
        self.active = FakeRules((self.active.version or 0) + 1)


class FakeOutbox:
    """Keeps what an agent would be told."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.ended: Fault | None = None

    def send(self, message: ingest_pb2.PushResponse) -> None:
        """Keep a message."""
        self.sent.append(message)

    def end(self, fault: Fault) -> None:
        """Keep the end."""
        self.ended = fault

    def of(self, kind: str) -> list[Any]:
        """Every message of a kind."""
        return [getattr(m, kind) for m in self.sent if m.WhichOneof("message") == kind]


def columns(stream: int) -> Columns:
    """One record."""
    one = unpack_int64(pack_int64([1]), 1)
    return Columns(1, stream, "s", "w", "h", "file", one, one, one, b"\x09")


class Bench:
    """A committer with its parts."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.writer = FakeWriter(list(outcomes))
        self.book = FakeBook()
        self.roster = Roster(CreditBudget(), Wishes(Intervals(100, 10), 10_000))
        self.queue = BatchQueue(self.roster.budget, time.monotonic)
        self.figures = Figures()
        self.said: list[str] = []
        self.committer = Committer(
            self.writer, self.book, self.queue, self.roster, self.figures,
            clock=time.monotonic, sleep=self.sleep, backoff=Backoff(0.001, 0.002),
            wake=lambda: None, say=self.said.append,
        )  # fmt: skip
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Give way, and keep how long it should have been."""
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def session(self, number: int = 1, agent: int = 1) -> tuple[Session, FakeOutbox]:
        """A session on the roster, with stream ``number * 10`` open."""
        outbox = FakeOutbox()
        session = Session(number, agent, 1, outbox)
        session.open(number * 10, Origin("s", "w", "h", "file"))
        self.roster.join(session)
        return session, outbox

    def put(
        self,
        session: Session,
        begin: int,
        end: int,
        stream: int | None = None,
        *,
        final: bool = False,
        believable_from_us: int | None = None,
    ) -> None:
        """A batch with one record, urgent by its hit."""
        stream = stream or session.number * 10
        batch = PendingBatch(
            agent=session.agent, session=session.number, team=1,
            stream=stream, service="s", worker="w", host="h",
            begin=begin, end=end, previous_digest=b"", digest=b"d" * 16, columns=columns(stream),
            final=final,
        )  # fmt: skip
        self.committer.put(Held(session, batch, 100, 200, believable_from_us))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the committer until nothing waits any more."""
        task = asyncio.create_task(self.committer.run())
        yield
        async with asyncio.timeout(10):
            while len(self.queue) or self.roster.budget.held_bytes:
                if task.done():
                    task.result()
                await asyncio.sleep(0.001)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_all_that_waits_is_one_commit_and_one_ack_each() -> None:
    """Batches of several agents are committed together; each agent gets one acknowledgement."""
    bench = Bench()
    (one, first), (two, second) = bench.session(1, 1), bench.session(2, 2)
    bench.put(one, 0, 10)
    bench.put(one, 10, 20)
    bench.put(two, 0, 5)
    async with bench.running():
        pass

    assert [len(commit) for commit in bench.writer.commits] == [3]
    (ack,), (other,) = first.of("ack"), second.of("ack")
    assert [(s.stream_id, s.committed) for s in ack.streams] == [(10, 20)]
    assert [(s.stream_id, s.committed) for s in other.streams] == [(20, 5)]
    assert (ack.feed.number, ack.feed.nonce) == (7, b"n" * 16)
    assert ack.credit_bytes == 256 * 1024


async def test_stream_is_closed_in_its_session_when_its_end_is_committed() -> None:
    """Ended streams do not use up how many an agent may have open."""
    bench = Bench(Fault(Reason.STORE_DOWN))
    session, _ = bench.session()
    session.open(11, Origin("s", "w", "h", "file"))
    bench.put(session, 0, 10, final=True)
    bench.put(session, 0, 10, stream=11)
    async with bench.running():
        assert set(session.streams) == {10, 11}

    assert set(session.streams) == {11}


async def test_stream_stays_open_when_a_stale_end_of_it_is_told_again() -> None:
    """A final batch from before, answered from further on, does not close what goes on."""

    def further(pending: Sequence[PendingBatch]) -> CommitResult:
        return CommitResult(position=Position(7, b"n" * 16), acked={10: 40})

    bench = Bench(further)
    session, _ = bench.session()
    bench.put(session, 0, 10, final=True)
    async with bench.running():
        pass

    assert set(session.streams) == {10}


async def test_failed_commit_is_repeated_unchanged_and_not_acknowledged() -> None:
    """While the store is away nothing is told; the same batches are committed when it is back."""
    down = Fault(Reason.STORE_DOWN)
    bench = Bench(down, down)
    session, outbox = bench.session()
    bench.put(session, 0, 10)
    async with bench.running():
        pass

    assert len(bench.writer.commits) == 3
    assert bench.writer.commits[0] == bench.writer.commits[2]
    assert len(outbox.of("ack")) == 1
    assert bench.figures.failures == 2
    assert [line.partition(":")[0].partition(",")[0] for line in bench.said] == [
        "commits fail", "commits succeed again",
    ]  # fmt: skip


async def test_batches_of_a_session_that_ended_meanwhile_are_dropped() -> None:
    """A failed commit does not hold what nobody waits for any more."""
    bench = Bench(Fault(Reason.STORE_DOWN))
    session, outbox = bench.session()
    bench.put(session, 0, 10)

    async def sleep(seconds: float) -> None:
        session.end(Fault(Reason.STREAM_FENCED))

    bench.sleep = sleep  # type: ignore[method-assign]
    bench.committer._sleep = sleep
    async with bench.running():
        pass

    # Nobody knows any more whether commits would fail.
    assert bench.committer.complaint.failing_for_s(time.monotonic()) == 0
    assert len(bench.writer.commits) == 1
    assert outbox.of("ack") == []


async def test_unforeseen_exception_ends_only_the_session_whose_batches_meet_it() -> None:
    """A mistake of ours is one agent's misfortune: counted, told with a pause, nothing lost."""

    def poisoned(pending: Sequence[PendingBatch]) -> CommitResult:
        if any(batch.session == 2 for batch in pending):
            raise TypeError("a column is None")
        return all_acked(pending)

    bench = Bench(*[poisoned] * 4)
    sessions = [bench.session(number, number) for number in (1, 2, 3)]
    for session, _ in sessions:
        bench.put(session, 0, 10)
    bench.put(sessions[1][0], 10, 20)
    async with bench.running():
        pass

    assert [len(outbox.of("ack")) for _, outbox in sessions] == [1, 0, 1]
    assert [outbox.ended is not None for _, outbox in sessions] == [False, True, False]
    told = sessions[1][1].ended
    assert told is not None
    assert (told.reason, told.retry_after_s) == (Reason.INTERNAL_BUG, MISTAKE_WAIT_S)
    assert "correlation id" in told.text
    assert bench.figures.status(1.0)["sessions_ended_by_mistake"] == 1
    # All together, then each session once: the culprit is not tried again.
    assert [len(commit) for commit in bench.writer.commits] == [4, 1, 2, 1]
    bench.put(sessions[2][0], 10, 20)
    async with bench.running():
        pass
    assert len(sessions[2][1].of("ack")) == 2


async def test_other_rules_are_fetched_and_hits_counted_anew() -> None:
    """A commit counted by rules that are not active any more is repeated with the new ones."""
    bench = Bench(RuleSetChanged(2))
    session, _ = bench.session()
    bench.put(session, 0, 10, believable_from_us=40)
    async with bench.running():
        pass

    assert bench.writer.versions == [1, 2]
    assert [[hit.hits_key for hit in hits] for hits in bench.writer.hits] == [[b"1"], [b"2"]]
    assert bench.book.active.believed == [40]


async def test_rules_of_a_newer_version_are_said_and_waited_out() -> None:
    """While this collector cannot read the active rules it commits nothing, and says why."""
    bench = Bench(RuleSetChanged(2), RuleSetChanged(2))
    session, _ = bench.session()
    reload, seen = bench.book.reload, []

    async def too_new_at_first() -> None:
        seen.append(bench.committer.refused)
        if len(seen) == 1:
            raise Fault(Reason.RULES_TOO_NEW)
        await reload()

    bench.book.reload = too_new_at_first  # type: ignore[method-assign]
    bench.put(session, 0, 10)
    async with bench.running():
        pass

    assert [fault and fault.reason for fault in seen] == [None, "RULES_TOO_NEW"]
    assert bench.committer.refused is None
    assert bench.writer.versions == [1, 1, 2]


async def test_rewind_is_told_once_and_stops_what_is_on_its_way() -> None:
    """After a rewind the stream's waiting batches are dropped until one begins there."""

    def rewound(pending: Sequence[PendingBatch]) -> CommitResult:
        return CommitResult(rewinds=[Rewind(10, 4, b"t" * 16, b"f")])

    bench = Bench(rewound)
    session, outbox = bench.session()
    bench.put(session, 8, 12)
    async with bench.running():
        pass
    bench.put(session, 12, 16)
    bench.put(session, 4, 8)
    bench.put(session, 8, 12)
    async with bench.running():
        pass

    (rewind,) = outbox.of("rewind")
    assert (rewind.stream_id, rewind.committed, rewind.digest) == (10, 4, b"t" * 16)
    assert [[b.begin for b in commit] for commit in bench.writer.commits] == [[8], [4, 8]]
    assert bench.queue.dropped == 1


async def test_deferred_batches_wait_a_turn_in_their_order() -> None:
    """What another collector's transaction holds is committed again, before what came later."""

    def deferred(pending: Sequence[PendingBatch]) -> CommitResult:
        return CommitResult(deferred=list(pending))

    bench = Bench(deferred)
    session, outbox = bench.session()
    bench.put(session, 0, 10)
    bench.put(session, 10, 20)
    async with bench.running():
        pass

    assert [[b.begin for b in commit] for commit in bench.writer.commits] == [[0, 10], [0, 10]]
    assert len(outbox.of("ack")) == 1


async def test_fenced_session_is_ended() -> None:
    """A session that is not its agent's newest any more ends, with the reason."""

    def fenced(pending: Sequence[PendingBatch]) -> CommitResult:
        return CommitResult(fenced=list(pending))

    bench = Bench(fenced)
    session, outbox = bench.session()
    bench.put(session, 0, 10)
    async with bench.running():
        pass

    assert outbox.ended is not None
    assert outbox.ended.reason == "STREAM_FENCED"
    assert len(bench.roster) == 0


async def test_store_that_forgot_ends_every_session() -> None:
    """After a restore of the database every agent has to say hello again."""
    bench = Bench(StoreRegressed(Position(9, b"x" * 16)))
    (one, first), (_, second) = bench.session(1, 1), bench.session(2, 2)
    bench.put(one, 0, 10)
    async with bench.running():
        pass

    assert first.ended is not None
    assert second.ended is not None
    assert first.of("ack") == []
