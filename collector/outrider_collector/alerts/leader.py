"""The evaluation under one tenure of the lease: from feed rows to steps, one after the other.

What sources say of how complete they are is read before the feed is: so all that it speaks of has
been counted when an end is concluded from it. While the feed is not read to its end, nothing is.

Where more than ``SLICE_HITS`` hits wait, those of rules that can be critical are evaluated ahead,
in a step of their own, and the others in slices, the first of them small: neither a critical alert
nor the first of others nor ingest, which shares this loop, waits for a storm. A slice may be a part
of one commit's hits; which part is recorded with the step, and whoever takes over goes on there.

A rule whose evaluation takes too much is frozen, as one whose filter does is by the collectors
(:mod:`~outrider_collector.ingest.rulebook`): by a set of rules that comes through the feed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from outrider.errors import Fault, Reason
from outrider.instants import to_us
from outrider_alerting.engine import StepInputs, step
from outrider_alerting.program import Program
from outrider_alerting.rules import RuleSet
from outrider_alerting.state import EngineState
from outrider_alerting.watermarks import assess
from outrider_collector.alerts import inputs as translate
from outrider_collector.alerts.recording import Cut, Recorder, Step
from outrider_collector.alerts.spending import Spending
from outrider_collector.store import evaluation, leases, rule_states, rules, sources
from outrider_collector.store.evaluation import Cursor, HalfRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from psycopg import AsyncConnection

    from outrider_alerting.components import ComponentState
    from outrider_alerting.engine import Part
    from outrider_alerting.gaps import GapSeen
    from outrider_alerting.hits import Hit
    from outrider_collector.store.evaluation import FeedRow
    from outrider_collector.store.sources import SourceRow

_log = logging.getLogger(__name__)

TICK_S: Final = 1.0
"""Without rows, a step is taken this often."""
PLACE_EVERY_S: Final = 1.0
"""A place in the feed that no step stored is stored after this."""
FEED_ROWS_MAX: Final = 500
SLICE_HITS: Final = 1_000
"""Where more hits wait they are evaluated in slices, of so many in the end ..."""
FIRST_HITS: Final = 200
"""... and of so many at first: each slice is twice the one before."""
FREEZE_S: Final = 2.0
"""So long it is tried to freeze a rule beside running commits; then a later step does."""
FREEZE_EVERY_S: Final = 10.0
FOLD_AT_END_S: Final = 1.0
"""So long an orderly end makes rows of the journal, for a version that knows none."""
_SOURCES_EVERY_S = 0.5
_CLOSED_SOURCES_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Feed rows that are evaluated together."""

    now: datetime
    rows: list[FeedRow]
    # The set that became active with the one row of this batch.
    version: int | None
    # More rows are waiting.
    more: bool


class Leader:
    """See the module's page. ``told`` is set when there is something to deliver."""

    def __init__(
        self,
        connection: AsyncConnection,
        lease: leases.Lease,
        clock: Callable[[], float],
        told: asyncio.Event,
        *,
        checkpoint: timedelta,
    ) -> None:
        self._connection = connection
        self._lease = lease
        self._clock = clock
        self._told = told
        self._recorder = Recorder(connection, lease, checkpoint)
        # Where the evaluation stands; the database may be some steps behind it, and `_read_to` can
        # be ahead of its feed number.
        self._place = Cursor(0, 0, None, "{}")
        self._read_to = 0
        # Up to this feed row hits of urgent rules are evaluated; of interest beyond `_read_to`.
        self._urgent_to = 0
        self._engine = EngineState()
        self._program = Program(RuleSet(), 0)
        # A new rule set wants to be told every component, once the feed is read to its end; so does
        # a new leader, for the one before may have gone between the two.
        self._tell_all = True
        self._slice_hits = FIRST_HITS
        # A row of which hits were evaluated and more are left.
        self._half: HalfRow | None = None
        self._now: datetime | None = None
        self._stepped_at = self._stored_at = self._renewed_at = clock()
        self._open: list[SourceRow] = []
        self._open_at = float("-inf")
        self._closed: list[SourceRow] = []
        self._closed_at = float("-inf")
        self._listening_since: datetime | None = None
        self._spending = Spending()
        self._froze_at = float("-inf")

    async def load(self, lease_s: float) -> None:
        """Read place, state and rule set, and prolong the lease. Raises RULES_TOO_NEW."""
        self._place = await evaluation.read_cursor(self._connection)
        self._read_to = self._place.feed_number
        self._urgent_to = self._place.urgent_to
        self._half = await evaluation.read_half_row(self._connection, self._place)
        states = await rule_states.read_states(self._connection)
        newer = await self._recorder.load()
        # Where it is lost, the first transaction says so.
        await self.renew(lease_s)
        # A thread: ingest and heartbeats share the loop.
        self._engine = await asyncio.to_thread(
            EngineState.load,
            self._place.state.encode(),
            ((row.rule, tuple(row.key), row.state.encode()) for row in states),
            newer,
        )
        if self._place.rule_set is not None:
            await self._use(self._place.rule_set)

    async def renew(self, lease_s: float) -> bool:
        """Prolong the lease when a third of it is over; False when it is lost."""
        if self._clock() - self._renewed_at < lease_s / 3:
            return True
        self._renewed_at = self._clock()
        return await leases.renew(self._connection, self._lease, lease_s)

    async def advance(self) -> bool:
        """Take the next step, if there is one to take; True when more rows are waiting."""
        await self._look_at_sources()
        batch = await self._read()
        if batch.version is not None:
            await self._use(batch.version)
            self._tell_all = True
        part: Part = "all"
        cut: Cut | None = None
        ahead = self._urgent_to > self._read_to
        if ahead or self._half is not None or _hits(batch.rows) > SLICE_HITS:
            await self._go_ahead(batch)
            part = "rest" if self._urgent_to > self._read_to else "all"
            batch = self._slice(batch)
            hits, cut = await self._cut(batch, part)
            self._slice_hits = min(2 * self._slice_hits, SLICE_HITS)
        else:
            self._slice_hits = FIRST_HITS
            hits = await self._hits(batch.rows, part)
        if cut is not None and not cut.is_last:
            number = batch.rows[0].number
            inputs = StepInputs(part=part, hits=hits)
            await self._step(batch.now, number, inputs, caught_up=False, cut=cut)
            self._half = HalfRow(number, cut.end)
            self._stepped_at = self._clock()
            return True
        gaps = await self._gaps(batch)
        health = await self._health(batch)
        read_to = batch.rows[-1].number if batch.rows else self._read_to
        self._recorder.note(batch.rows)
        due = batch.version is not None or self._recorder.is_due(batch.now)
        if hits or health or gaps or due or self._clock() - self._stepped_at >= TICK_S:
            inputs = StepInputs(part=part, hits=hits, health=tuple(health), gaps=tuple(gaps))
            await self._step(batch.now, read_to, inputs, caught_up=not batch.more, cut=cut)
            self._stepped_at = self._clock()
        self._read_to = read_to
        if cut is not None:
            self._half = None
        if self._clock() - self._stored_at >= PLACE_EVERY_S:
            await self._store_place()
        return batch.more

    async def _read(self) -> Batch:
        """Read what comes next, up to a change of rules, which comes alone."""
        now, rows = await evaluation.read_feed(self._connection, self._read_to, FEED_ROWS_MAX)
        # A database's clock may be set back; for the engine time does not go back.
        self._now = now = max(now, self._now or now)
        more = len(rows) == FEED_ROWS_MAX
        place = next((i for i, row in enumerate(rows) if row.kind == "rules"), None)
        if place is None:
            return Batch(now, rows, None, more)
        if place > 0:
            return Batch(now, rows[:place], None, more=True)
        version: int = (rows[0].detail or {})["version"]
        return Batch(now, rows[:1], version, more or len(rows) > 1)

    async def _use(self, version: int) -> None:
        active = await rules.load(self._connection, version)
        self._program = Program(active.rule_set, version, active.frozen)
        self._spending.forget()
        self._recorder.use(active.rule_set, version)

    async def _go_ahead(self, batch: Batch) -> None:
        """Evaluate hits of rules that can be critical, of all rows that are there."""
        rows = [row for row in batch.rows if row.number > self._urgent_to]
        if not rows or not self._program.urgent_keys:
            return
        if hits := await self._hits(rows, "urgent"):
            inputs = StepInputs(part="urgent", hits=hits)
            await self._step(batch.now, rows[-1].number, inputs, caught_up=False)
        self._urgent_to = rows[-1].number

    def _slice(self, batch: Batch) -> Batch:
        """Return the first rows, up to the one that fills the slice; what is more comes alone."""
        found = 0
        for place, row in enumerate(batch.rows, 1):
            found += row.hits
            alone = row.hits > self._slice_hits or self._is_half(row)
            end = place - 1 if alone and place > 1 else place
            if (alone or found >= self._slice_hits) and end < len(batch.rows):
                return replace(batch, rows=batch.rows[:end], more=True)
        return batch

    def _is_half(self, row: FeedRow) -> bool:
        return self._half is not None and self._half.number == row.number

    async def _cut(self, batch: Batch, part: Part) -> tuple[tuple[Hit, ...], Cut | None]:
        """Return the hits of a slice, and which of its row they are if that has more."""
        half = self._half if batch.rows and self._is_half(batch.rows[0]) else None
        if len(batch.rows) != 1 or (half is None and batch.rows[0].hits <= self._slice_hits):
            return await self._hits(batch.rows, part), None
        begin = half.taken if half is not None else 0
        # One more than is taken says whether there are more.
        hits = await self._hits(batch.rows, part, begin=begin, limit=self._slice_hits + 1)
        taken = hits[: self._slice_hits]
        return taken, Cut(begin, begin + len(taken), is_last=len(taken) == len(hits))

    async def _hits(
        self, rows: list[FeedRow], part: Part, *, begin: int = 0, limit: int | None = None
    ) -> tuple[Hit, ...]:
        commits = [row.commit_id for row in rows if row.commit_id is not None and row.hits]
        urgent = sorted(self._program.urgent_keys)
        found = await evaluation.read_hits(
            self._connection,
            commits,
            only=urgent if part == "urgent" else None,
            but=urgent if part == "rest" else (),
            begin=begin,
            limit=limit,
        )
        self._recorder.learn(found)
        return tuple(map(translate.hit, translate.hits_in_order(rows, found)))

    async def _gaps(self, batch: Batch) -> list[GapSeen]:
        if not self._program.gaps:
            return []
        commits = [row.commit_id for row in batch.rows if row.commit_id is not None]
        return [translate.gap(row) for row in await evaluation.read_gaps(self._connection, commits)]

    async def _health(self, batch: Batch) -> list[ComponentState]:
        told = [
            change
            for row in batch.rows
            if row.kind == "health"
            for change in translate.changes(row)
        ]
        if not self._tell_all or batch.more:
            return told
        # What the feed tells is newer or the same; older tidings must not come after newer ones.
        named = {(change.component_kind, change.component) for change in told}
        everybody = map(translate.component, await evaluation.read_components(self._connection))
        rest = [c for c in everybody if (c.component_kind, c.component) not in named]
        self._tell_all = False
        return [*rest, *told]

    async def _step(
        self,
        now: datetime,
        read_to: int,
        inputs: StepInputs,
        *,
        caught_up: bool,
        cut: Cut | None = None,
    ) -> None:
        self._listening_since = self._listening_since or now
        quorum = assess(
            translate.sources(self._open, self._closed, self._listening_since),
            self._engine.general.marks,
            now_us=to_us(now),
            caught_up=caught_up,
        )
        self._spending.begin()
        result = step(
            self._engine,
            inputs,
            now_us=to_us(now),
            program=self._program,
            quorum=quorum,
            enter=self._spending.enter,
        )
        overspent = self._spending.end(self._hits_of_rules(inputs))
        taken = Step(
            now=now, place=self._place, read_to=read_to, inputs=inputs, result=result, cut=cut
        )
        outcome = await self._recorder.take(taken)
        if outcome is None:
            return
        self._engine.apply(result.changed, result.general)
        self._place = outcome.place
        self._stored_at = self._clock()
        if outcome.to_deliver:
            self._told.set()
        if overspent and self._clock() - self._froze_at >= FREEZE_EVERY_S:
            self._froze_at = self._clock()
            await self._freeze(overspent)

    def _hits_of_rules(self, inputs: StepInputs) -> dict[str, int]:
        found: dict[str, int] = {}
        for hit in inputs.hits:
            for wanted in self._program.by_hits.get(hit.hits_key, ()):
                found[wanted.rule.name] = found.get(wanted.rule.name, 0) + 1
        return found

    async def _freeze(self, overspent: dict[str, str]) -> None:
        try:
            version = self._program.version
            frozen = await rules.freeze(self._connection, version, overspent, within_s=FREEZE_S)
        except Fault as fault:
            if fault.reason not in {Reason.STORE_DOWN, Reason.RULES_TOO_NEW}:
                raise
            _log.warning("a rule that costs too much could not be frozen: %s", fault)
            return
        if frozen is not None:
            for name, why in sorted(overspent.items()):
                _log.warning("rule %s costs too much and is frozen: %s", name, why)

    async def _look_at_sources(self) -> None:
        now = self._clock()
        if now - self._closed_at >= _CLOSED_SOURCES_EVERY_S:
            self._closed_at = now
            self._closed = await sources.read_closed(self._connection)
        if now - self._open_at >= _SOURCES_EVERY_S:
            self._open_at = now
            self._open = await sources.read_open(self._connection)

    async def fold(self, *, busy: bool) -> None:
        """Make rows of some of the states that were stored in haste. Raises LeaseLost."""
        if self._now is not None:
            await self._recorder.fold(self._now, busy=busy)

    async def settle(self) -> None:
        """Store what waits for a checkpoint, before somebody else takes over.

        Some of the journal becomes rows: meanwhile nobody evaluates, and whoever comes can read it.
        """
        await self._store_all()
        ends = self._clock() + FOLD_AT_END_S
        while await self._recorder.fold_at_end() and self._clock() < ends:
            pass

    async def _store_all(self) -> None:
        if self._now is not None:
            self._place = await self._recorder.settle(self._place, self._read_to, self._now)

    async def _store_place(self) -> None:
        """Store how far the feed was read without anything to evaluate."""
        self._stored_at = self._clock()
        if not self._recorder.has_waiting:
            await self._store_all()


def _hits(rows: list[FeedRow]) -> int:
    return sum(row.hits for row in rows)
