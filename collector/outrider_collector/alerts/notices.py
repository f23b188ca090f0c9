"""Who is told of what a step concluded: the policy's plan, written into the ledger.

Runs inside the step's transaction, with the ledger's rows of the alerts concerned locked, so that
what the policy decided from them is still so at the commit. Alerts that did not move are looked at
too whenever a silence begins, ends or was touched by somebody (also those that are over and were
never told because of it), when what may explain them ends,
when a message did not reach its destination, and when an escalation or a reminder is due.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from outrider import severity
from outrider.instants import from_us, to_us
from outrider_alerting import policy
from outrider_alerting.content import EvidenceLine
from outrider_alerting.ledger import Alert, LedgerRow, NotificationPlan, Plan, Silence, Spoken
from outrider_alerting.routing import in_force
from outrider_alerting.rules import Priority, RuleSet
from outrider_alerting.schedules import minute_after
from outrider_collector.store import alerts, canary, ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection

_NEVER = datetime.max.replace(tzinfo=UTC)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Planned:
    """What was written."""

    # Alerts whose ledger or flags changed.
    alerts: set[int] = field(default_factory=set)
    to_deliver: bool = False


class Notices:
    """Plans notices and writes them."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._rule_set = RuleSet()
        # When silences hold or let go next; at first everything is looked at once.
        self._next = _ALWAYS
        # Silences in force when open alerts were looked at last.
        self._in_force: frozenset[int] = frozenset()
        # Alerts to be looked at: when an escalation or a reminder is due, or with the next step.
        self._timers: dict[int, datetime] = {}
        self._look: set[int] = set()
        # Canaries that were read and have no message yet, by their number in the feed.
        self._canaries: list[int] = []

    def use(self, rule_set: RuleSet) -> None:
        """Take over a rule set: its routes and channels; their timers are set anew."""
        self._rule_set = rule_set
        self._next = _ALWAYS

    def look_again(self) -> None:
        """Somebody touched a silence: look at all that silences can hold with the next step."""
        self._next = _ALWAYS

    def look_at(self, alerts: Iterable[int]) -> None:
        """Something was not delivered, or acknowledged: look at these with the next step."""
        self._look.update(alerts)

    def pass_on(self, number: int) -> None:
        """A canary was read: its message goes into the ledger with the next step."""
        self._canaries.append(number)

    def due(self, now: datetime) -> bool:
        """Tell whether there is something to write although nothing moved."""
        timers = min(self._timers.values(), default=_NEVER)
        return bool(self._look or self._canaries) or now >= self._next or now >= timers

    async def plan(self, now: datetime, touched: set[int]) -> Planned:
        """Write what the ledger lacks for these alerts, and for others whose time has come."""
        canaries, self._canaries = self._canaries, []
        if canaries:
            await canary.enter(self._connection, canaries)
        planned = await self._plan(now, touched)
        return replace(planned, to_deliver=True) if canaries else planned

    async def _plan(self, now: datetime, touched: set[int]) -> Planned:
        silences = [_silence(row) for row in await alerts.read_silences(self._connection, now)]
        ids = touched | self._look | {a for a, at in self._timers.items() if now >= at}
        rows = await alerts.read_alerts(self._connection, sorted(ids)) if ids else []
        if self._everybody(silences, now) or any(map(_is_cause_over, rows)):
            others = set(await alerts.open_ids(self._connection)) - ids
            rows += await alerts.read_alerts(self._connection, sorted(others))
            ids |= others
        if not ids:
            return Planned()
        causes = [_alert(row) for row in await alerts.read_causes(self._connection)]
        rows_of: dict[int, list[LedgerRow]] = {}
        for entry in await ledger.read(self._connection, sorted(ids)):
            rows_of.setdefault(entry.alert, []).append(_ledger_row(entry))
        since = now - timedelta(microseconds=policy.JOIN_US)
        planned = policy.plan(
            [_alert(row) for row in rows],
            rows_of,
            silences,
            self._rule_set,
            to_us(now),
            spoken=map(_spoken, await ledger.spoken(self._connection, since)),
            causes=causes,
        )
        for alert in ids:
            self._timers.pop(alert, None)
        self._timers |= {alert: from_us(at_us) for alert, at_us in planned.next_us.items()}
        self._look -= ids
        return await self._write(planned, rows)

    def _everybody(self, silences: Sequence[Silence], now: datetime) -> bool:
        """Tell whether what silences hold back has changed, or may have at first."""
        if now < self._next:
            return False
        first = self._next == _ALWAYS
        self._next = _next_change(silences, now)
        before = self._in_force
        self._in_force = frozenset(s.id for s in silences if in_force(s, to_us(now)))
        return first or before != self._in_force

    async def _write(self, planned: Plan, rows: Sequence[alerts.AlertRow]) -> Planned:
        for change in planned.changes:
            await ledger.supersede(
                self._connection,
                alert=change.alert,
                notice=change.notice,
                channel=change.channel,
                why=change.why,
            )
        if planned.rows:
            await ledger.add(self._connection, [_new(row) for row in planned.rows])
        before = {row.id: tuple(row.suppressed_by) for row in rows}
        flags = {
            alert: by for alert, by in planned.suppressed_by.items() if by != before.get(alert)
        }
        if flags:
            await alerts.set_suppressed(self._connection, flags)
        if planned.owed:
            await alerts.set_owed(self._connection, planned.owed)
        changed = {row.alert for row in planned.rows} | {c.alert for c in planned.changes}
        return Planned(
            alerts=changed | set(flags),
            to_deliver=any(row.fate == "waiting" for row in planned.rows),
        )


def _is_cause_over(row: alerts.AlertRow) -> bool:
    """Whether something ended that may have explained others."""
    return row.state == "resolved" and row.kind in {"liveness", "health"}


def _next_change(silences: Iterable[Silence], now: datetime) -> datetime:
    now_us = to_us(now)
    moments: list[int] = []
    for silence in silences:
        moments += [silence.starts_us, silence.ends_us, silence.ended_us or 0]
        if silence.schedule is not None:
            moments.append(minute_after(now_us))
    return min((from_us(at_us) for at_us in moments if at_us > now_us), default=_NEVER)


def _alert(row: alerts.AlertRow) -> Alert:
    return msgspec.convert(
        {
            "id": row.id,
            "rule": row.rule,
            "key": tuple(row.key),
            "labels": row.labels,
            "kind": row.kind,
            "priority": row.priority,
            "state": row.state,
            "summary": row.summary,
            "runbook": row.runbook,
            "value": row.value,
            "threshold": row.threshold,
            "started_us": to_us(row.started_at),
            "fired_us": _us(row.fired_at),
            "resolved_us": _us(row.resolved_at),
            "resolve_reason": row.resolve_reason,
            "acknowledged_by": row.acknowledged_by,
            "flapping": row.flapping,
            "told_us": _us(row.told_at),
            "evidence": tuple(map(_line, row.evidence)),
        },
        Alert,
    )


def _line(stored: dict[str, Any]) -> EvidenceLine:
    return EvidenceLine(
        at_us=to_us(datetime.fromisoformat(stored["ts"])),
        severity=severity.name(stored["severity"]),
        service=stored["service"],
        worker=stored["worker"],
        message=stored["message"],
        stream=stored["stream"],
        stream_offset=stored["stream_offset"],
    )


def _ledger_row(row: ledger.NotificationRow) -> LedgerRow:
    return msgspec.convert(
        {
            "alert": row.alert,
            "notice": row.notice,
            "channel": row.channel,
            "channel_type": row.channel_type,
            "conversation": row.conversation,
            "priority": row.priority,
            "fate": row.fate,
            "attempts": row.attempts,
            "tries": row.tries,
            "created_us": to_us(row.created_at),
            "why": row.why,
            "content": row.content,
        },
        LedgerRow,
    )


def _silence(row: alerts.SilenceRow) -> Silence:
    return Silence(
        id=row.id,
        filter=row.filter,
        starts_us=to_us(row.starts_at),
        ends_us=to_us(row.ends_at),
        comment=row.comment,
        ended_us=_us(row.ended_at),
        schedule=row.schedule,
        timezone=row.timezone,
        quiet_hours=row.quiet_hours,
    )


def _spoken(row: ledger.SpokenRow) -> Spoken:
    return Spoken(
        channel=row.channel,
        rule=row.rule,
        priority=msgspec.convert(row.priority, Priority),
        alert=row.alert,
        notice=row.notice,
        at_us=to_us(row.created_at),
        followers=row.followers,
    )


def _new(row: NotificationPlan) -> ledger.NewNotification:
    return ledger.NewNotification(
        alert=row.alert,
        notice=row.notice,
        channel=row.channel,
        channel_type=row.channel_type,
        conversation=row.conversation,
        priority=row.priority,
        fate=row.fate,
        why=row.why,
        content=row.content,
        not_before=from_us(row.not_before_us),
        bundle=row.bundle,
        joins=row.joins,
    )


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)
