"""What a step concluded, stored in one transaction: state, alerts, ledger, feed row."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outrider.errors import Fault
from outrider_collector.alerts import inputs as translate
from outrider_collector.alerts.notices import Notices
from outrider_collector.alerts.times import from_us
from outrider_collector.store import alerts, evaluation, feed, leases
from outrider_collector.store.connect import driver_errors
from outrider_collector.store.evaluation import Cursor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_alerting.engine import StepInputs, StepResult
    from outrider_alerting.episodes import Transition
    from outrider_alerting.rules import RuleSet
    from outrider_collector.alerts.inputs import Name

EVIDENCE_WITHIN: Final = timedelta(hours=26)
"""Records older than this are not looked for: no window is longer than a day."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken and is to be stored."""

    now: datetime
    # What the database has.
    place: Cursor
    # The last feed row that it saw.
    read_to: int
    inputs: StepInputs
    result: StepResult


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database has now."""

    place: Cursor
    to_deliver: bool


class Recorder:
    """Stores steps under one lease."""

    def __init__(self, connection: AsyncConnection, lease: leases.Lease) -> None:
        self._connection = connection
        self._lease = lease
        self._rule_set: int | None = None
        self.notices = Notices(connection)
        self.commits = translate.Commits()

    def use(self, rule_set: RuleSet, version: int) -> None:
        """Take over the rule set that is evaluated from now on."""
        self._rule_set = version
        self.notices.use(rule_set)

    async def store(self, step: Step) -> Stored | None:
        """Store a step; None where there is nothing to store.

        Raises LeaseLost when another evaluator has taken over.
        """
        result = step.result
        adopted = step.place.rule_set != self._rule_set
        recorded = bool(
            step.inputs.hits or step.inputs.health or result.transitions or result.stale or adopted
        )
        if not recorded and not result.changed and not self.notices.due(step.now):
            return None
        lines = await self._evidence(result.transitions, step.now)
        place = Cursor(
            max(step.read_to, step.place.feed_number),
            step.place.step + 1,
            self._rule_set,
            result.general.decode(),
        )
        try:
            return await self._commit(step, place, lines, recorded=recorded)
        except BaseException:
            await self._roll_back()
            raise

    async def move(self, place: Cursor, read_to: int) -> Cursor:
        """Store how far the feed was read without a step. Raises LeaseLost."""
        moved = place._replace(feed_number=read_to)
        async with self._connection.transaction():
            await self._fence(place, moved)
        return moved

    async def _commit(
        self, step: Step, place: Cursor, lines: dict[Name, dict[str, Any]], *, recorded: bool
    ) -> Stored:
        connection, result = self._connection, step.result
        await connection.execute("begin")
        await self._fence(step.place, place)
        states = {
            address: None if state is None else state.encode().decode()
            for address, state in result.changed.items()
        }
        await evaluation.write_states(connection, states)
        if recorded:
            await self._record(step, place)
        touched = await self._move_alerts(result, place, lines)
        planned = await self.notices.plan(step.now, touched)
        if news := sorted(touched | planned.alerts):
            # Lock, row and COMMIT go in one message: a process that is stopped here holds nobody.
            await feed.commit(connection, "alerts", detail={"alerts": news, "step": place.step})
        else:
            await connection.commit()
        return Stored(place, planned.to_deliver)

    async def _fence(self, before: Cursor, after: Cursor) -> None:
        await leases.hold(self._connection, self._lease)
        if not await evaluation.move_cursor(self._connection, before, after):
            raise leases.LeaseLost(f"{self._lease.name}: the place in the feed was moved by others")

    async def _record(self, step: Step, place: Cursor) -> None:
        inputs = {
            "quorum": msgspec.to_builtins(step.result.record),
            "health": msgspec.to_builtins(step.inputs.health),
        }
        await evaluation.record_step(
            self._connection,
            step=place.step,
            epoch=self._lease.epoch,
            now=step.now,
            feed_from=step.place.feed_number,
            feed_to=place.feed_number,
            rule_set=self._rule_set,
            inputs=inputs,
        )

    async def _move_alerts(
        self, result: StepResult, place: Cursor, lines: dict[Name, dict[str, Any]]
    ) -> set[int]:
        """Store transitions and flags; returns the alerts concerned."""
        touched: set[int] = set()
        for transition in result.transitions:
            evidence = [lines[name] for name in transition.evidence if name in lines]
            row = _row(transition, evidence, place)
            touched.add(await alerts.store_transition(self._connection, row))
        for change in result.stale:
            alert = await alerts.set_stale(
                self._connection, change.rule, change.key, stale=change.stale
            )
            if alert is not None:
                touched.add(alert)
        return touched

    async def _evidence(
        self, transitions: Sequence[Transition], now: datetime
    ) -> dict[Name, dict[str, Any]]:
        """Read the records that raised these alerts."""
        names = {name for transition in transitions for name in transition.evidence}
        if not names:
            return {}
        since = max(now - EVIDENCE_WITHIN, from_us(min(t.started_us for t in transitions)))
        since -= timedelta(hours=1)
        commits = {name: commit for name in names if (commit := self.commits.get(name))}
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

    async def _roll_back(self) -> None:
        # The connection may be what failed; then the server has rolled back by itself.
        with contextlib.suppress(Fault), driver_errors():
            await self._connection.rollback()


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
