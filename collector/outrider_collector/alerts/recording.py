"""What steps concluded, stored in one transaction: state, alerts, ledger, feed row.

A step that told nobody anything (records were counted, no alert moved) waits for company: the next
step that does, or a checkpoint, stores all of them at once, each state only as the last of them
left it. Before that nothing outside this process has seen them, so where the process ends, its
successor takes the same inputs from the feed again and nobody can tell the difference. Under load
this is most of what evaluation would cost: a thousand busy keys are a thousand rows a step.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from outrider.errors import Fault
from outrider.instants import from_us
from outrider_alerting.engine import StepResult
from outrider_collector.alerts import inputs as translate
from outrider_collector.alerts.keeping import Keeping
from outrider_collector.alerts.notices import Notices
from outrider_collector.store import alerts, canary, evaluation, feed, last_words, leases
from outrider_collector.store.connect import driver_errors
from outrider_collector.store.evaluation import Cursor
from outrider_collector.store.last_words import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_alerting.engine import StepInputs
    from outrider_alerting.episodes import Transition
    from outrider_alerting.rules import RuleSet
    from outrider_alerting.state import Address, RuleState
    from outrider_collector.alerts.inputs import Name
    from outrider_collector.store.evaluation import FeedRow, HitRow

WAITING_STEPS_MAX: Final = 500
WAITING_STATES_MAX: Final = 20_000
FOLD_ROWS: Final = 200
"""So many states become rows in one transaction beside a running evaluation ..."""
FOLD_AT_END_ROWS: Final = 500
"""... and so many at its end."""

EVIDENCE_WITHIN: Final = timedelta(hours=26)
"""Records older than this are not looked for: no window is longer than a day."""
LAST_WORDS_WITHIN: Final = timedelta(minutes=10)
"""So old may be what a worker wrote last to be shown beside its death."""


class Cut(NamedTuple):
    """Which hits of its one feed row a step took."""

    begin: int
    end: int
    is_last: bool
    """Nothing of the row is left."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken."""

    now: datetime
    # Where the evaluation stood before it.
    place: Cursor
    # The last feed row that it saw.
    read_to: int
    inputs: StepInputs
    result: StepResult
    # None: all hits of its rows.
    cut: Cut | None = None

    @property
    def before(self) -> int:
        """The feed number after which its rows begin."""
        if self.inputs.part == "urgent":
            return max(self.place.urgent_to, self.place.feed_number)
        return self.place.feed_number


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a step."""

    # Where the evaluation stands now.
    place: Cursor
    to_deliver: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A step that is not stored yet."""

    step: Step
    # Where the evaluation stands after it.
    place: Cursor
    # It had an input or an outcome, so a replay needs it.
    recorded: bool


class Recorder:
    """Stores steps under one lease."""

    def __init__(
        self, connection: AsyncConnection, lease: leases.Lease, checkpoint: timedelta
    ) -> None:
        self._connection = connection
        self._lease = lease
        self._checkpoint = checkpoint
        self._rule_set: int | None = None
        self._waiting: list[_Waiting] = []
        self._folded_at: datetime | None = None
        self._keeping = Keeping(connection)
        self._notices = Notices(connection)
        self._commits = translate.Commits()

    def use(self, rule_set: RuleSet, version: int) -> None:
        """Take over the rule set that is evaluated from now on."""
        self._rule_set = version
        self._notices.use(rule_set)

    async def load(self) -> Mapping[Address, RuleState | None]:
        """Return the states that are newer than their rows, at the beginning of a tenure."""
        return await self._keeping.load()

    def note(self, rows: Iterable[FeedRow]) -> None:
        """Take in what feed rows say of whom to tell, for the next transaction."""
        for row in rows:
            if row.kind == "silences":
                self._notices.look_again()
            elif row.kind == canary.FEED_KIND:
                self._notices.pass_on(row.number)
            elif row.kind == "alerts":
                self._notices.look_at((row.detail or {}).get("look", ()))

    def learn(self, hits: Iterable[HitRow]) -> None:
        """Take in which commits the records are of that may raise alerts."""
        self._commits.learn(hits)

    def is_due(self, now: datetime) -> bool:
        """Whether somebody is to be told something that no step brings about."""
        return self._notices.due(now)

    async def take(self, step: Step) -> Taken | None:
        """Store a step, or keep it for the next checkpoint; None where it says nothing at all.

        Raises LeaseLost when another evaluator has taken over.
        """
        result = step.result
        adopted = step.place.rule_set != self._rule_set
        spoke = bool(
            step.inputs.health or step.inputs.gaps or result.transitions or result.stale or adopted
        )
        recorded = spoke or bool(step.inputs.hits) or result.moved
        due = self.is_due(step.now)
        if recorded or due or result.changed:
            ahead = step.inputs.part == "urgent"
            stays = ahead or (step.cut is not None and not step.cut.is_last)
            place = Cursor(
                step.place.feed_number if stays else max(step.read_to, step.place.feed_number),
                step.place.step + 1,
                self._rule_set,
                result.general.decode(),
                max(step.read_to, step.place.urgent_to) if ahead else step.place.urgent_to,
            )
            self._waiting.append(_Waiting(step, place, recorded))
            self._keeping.change(result.changed)
        elif not self._waiting:
            return None
        place = self._waiting[-1].place
        if spoke or due or self._is_time(step.now):
            return Taken(place, await self._store(step.now, result))
        return Taken(place)

    async def settle(self, place: Cursor, read_to: int, now: datetime) -> Cursor:
        """Store what waits and how far the feed was read without a step. Raises LeaseLost."""
        moved = place._replace(feed_number=max(read_to, place.feed_number))
        if self._waiting:
            self._waiting[-1] = replace(self._waiting[-1], place=moved)
            await self._store(now, StepResult())
        elif moved != place:
            async with self._connection.transaction():
                await self._fence(place, moved)
        return moved

    async def fold(self, now: datetime, *, busy: bool) -> None:
        """Make rows of some states of the journal: of all once in a checkpoint's time.

        Where others wait (``busy``), only when it has grown long.
        """
        self._folded_at = self._folded_at or now
        is_long = self._keeping.is_long
        is_time = self._keeping.is_folding or now - self._folded_at >= self._checkpoint
        if not self._keeping.has_journal or not (is_long or (is_time and not busy)):
            return
        if not self._keeping.is_folding:
            self._folded_at = now
        await self._fold(FOLD_ROWS)

    async def fold_at_end(self) -> bool:
        """Make rows of some states of the journal, if there is one; True: there is more."""
        if self._keeping.has_journal:
            await self._fold(FOLD_AT_END_ROWS)
        return self._keeping.has_journal

    async def _fold(self, most: int) -> None:
        async with self._connection.transaction():
            await leases.hold(self._connection, self._lease)
            await self._keeping.fold(most)

    @property
    def has_waiting(self) -> bool:
        """Whether steps wait for the next checkpoint."""
        return bool(self._waiting)

    def _is_time(self, now: datetime) -> bool:
        """Whether what waits has waited long enough, or is enough."""
        return (
            now - self._waiting[0].step.now >= self._checkpoint
            or len(self._waiting) >= WAITING_STEPS_MAX
            or self._keeping.waiting >= WAITING_STATES_MAX
        )

    async def _store(self, now: datetime, result: StepResult) -> bool:
        """Store all that waits, ``result`` being the last step's; True: there is to deliver."""
        lines = await self._evidence(result.transitions, now)
        words = await self._last_words(result.transitions, now)
        try:
            to_deliver = await self._commit(now, result, lines, words)
        except BaseException:
            await self._roll_back()
            raise
        self._waiting.clear()
        return to_deliver

    async def _commit(
        self,
        now: datetime,
        result: StepResult,
        lines: dict[Name, dict[str, Any]],
        words: dict[Worker, list[dict[str, Any]]],
    ) -> bool:
        connection = self._connection
        before, place = self._waiting[0].step.place, self._waiting[-1].place
        await connection.execute("begin")
        await self._fence(before, place)
        await self._keeping.store(place.step, _told(result))
        await self._record()
        touched = await self._move_alerts(result, place, lines, words)
        planned = await self._notices.plan(now, touched)
        if news := sorted(touched | planned.alerts):
            # Lock, row and COMMIT go in one message: a process that is stopped here holds nobody.
            await feed.commit(connection, "alerts", detail={"alerts": news, "step": place.step})
        else:
            await connection.commit()
        return planned.to_deliver

    async def _fence(self, before: Cursor, after: Cursor) -> None:
        await leases.hold(self._connection, self._lease)
        if not await evaluation.move_cursor(self._connection, before, after):
            raise leases.LeaseLost(f"{self._lease.name}: the place in the feed was moved by others")

    async def _record(self) -> None:
        """Store what a replay needs of each step."""
        steps = [
            evaluation.RecordedStep(
                step=waiting.place.step,
                now=waiting.step.now,
                feed_from=waiting.step.before,
                feed_to=max(waiting.step.read_to, waiting.step.before),
                rule_set=waiting.place.rule_set,
                inputs={
                    "part": waiting.step.inputs.part,
                    "cut": waiting.step.cut and waiting.step.cut[:2],
                    "quorum": msgspec.to_builtins(waiting.step.result.record),
                    "health": msgspec.to_builtins(waiting.step.inputs.health),
                    "gaps": msgspec.to_builtins(waiting.step.inputs.gaps),
                },
            )
            for waiting in self._waiting
            if waiting.recorded
        ]
        await evaluation.record_steps(self._connection, self._lease.epoch, steps)

    async def _move_alerts(
        self,
        result: StepResult,
        place: Cursor,
        lines: dict[Name, dict[str, Any]],
        words: dict[Worker, list[dict[str, Any]]],
    ) -> set[int]:
        """Store transitions and flags; returns the alerts concerned."""
        rows = []
        for transition in result.transitions:
            found = [lines[name] for name in transition.evidence if name in lines]
            if not found and (worker := _worker_of(transition)) is not None:
                found = words.get(worker, [])
            rows.append(_row(transition, found, place))
        touched = set(await alerts.store_transitions(self._connection, rows))
        # One that changed twice within the step is as the last of them says.
        last = {(change.rule, change.key): change.stale for change in result.stale}
        stale = [alerts.StaleAlert(rule, list(key), now) for (rule, key), now in last.items()]
        return touched | set(await alerts.set_stale(self._connection, stale))

    async def _evidence(
        self, transitions: Sequence[Transition], now: datetime
    ) -> dict[Name, dict[str, Any]]:
        """Read the records that raised these alerts."""
        names = {name for transition in transitions for name in transition.evidence}
        if not names:
            return {}
        since = max(now - EVIDENCE_WITHIN, from_us(min(t.started_us for t in transitions)))
        since -= timedelta(hours=1)
        commits = {name: commit for name in names if (commit := self._commits.get(name))}
        if missing := names - commits.keys():
            streams = sorted({stream for stream, _ in missing})
            commits |= await evaluation.commits_of(self._connection, streams, since)
        rows = await evaluation.read_evidence(
            self._connection,
            sorted({commits[name] for name in names if name in commits}),
            names,
            since,
        )
        return {(row.stream, row.stream_offset): translate.evidence(row) for row in rows}

    async def _last_words(
        self, transitions: Sequence[Transition], now: datetime
    ) -> dict[Worker, list[dict[str, Any]]]:
        """Read what the workers wrote last of which these transitions tell."""
        workers = [worker for t in transitions if (worker := _worker_of(t)) is not None]
        found = await last_words.last_words(
            self._connection, list(dict.fromkeys(workers)), now - LAST_WORDS_WITHIN
        )
        return {worker: [translate.evidence(row) for row in rows] for worker, rows in found.items()}

    async def _roll_back(self) -> None:
        # The connection may be what failed; then the server has rolled back by itself.
        with contextlib.suppress(Fault), driver_errors():
            await self._connection.rollback()


def _told(result: StepResult) -> set[Address]:
    """Return the keys of which an alert moved."""
    moved = {(transition.rule, transition.key) for transition in result.transitions}
    return moved | {(change.rule, change.key) for change in result.stale}


def _worker_of(transition: Transition) -> Worker | None:
    """Return the worker whose death or silence this begins; None: it is about something else."""
    named = [transition.labels.get(name, "") for name in ("service", "worker", "host")]
    if transition.kind != "liveness" or transition.to_state != "firing" or not all(named):
        return None
    return Worker(*named)


def _row(
    transition: Transition, evidence: list[dict[str, Any]], place: Cursor
) -> alerts.NewTransition:
    return alerts.NewTransition(
        rule=transition.rule,
        key=list(transition.key),
        from_state=transition.from_state,
        to_state=transition.to_state,
        at=from_us(transition.at_us),
        concluded_at=from_us(transition.concluded_us),
        reason=transition.reason,
        started_at=from_us(transition.started_us),
        fired_at=None if transition.fired_us is None else from_us(transition.fired_us),
        kind=transition.kind,
        priority=transition.priority,
        labels=transition.labels,
        summary=transition.summary,
        runbook=transition.runbook,
        value=transition.value,
        threshold=transition.threshold,
        without=list(transition.without),
        evidence=evidence,
        rule_set=place.rule_set or 0,
        step=place.step,
    )
