"""Who is told of what a step concluded: the policy's plan, written into the ledger.

Runs inside the step's transaction, with the ledger's rows of the alerts concerned locked, so that
what the policy decided from them is still so at the commit. Alerts that did not move are looked at
too whenever a silence begins, ends or was touched by somebody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from outrider import severity
from outrider_alerting import policy
from outrider_alerting.content import EvidenceLine
from outrider_alerting.rules import RuleSet
from outrider_collector.alerts.times import from_us, to_us
from outrider_collector.store import alerts

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

    def use(self, rule_set: RuleSet) -> None:
        """Take over a rule set: its routes and channels."""
        self._rule_set = rule_set

    def look_again(self) -> None:
        """Somebody touched a silence: look at every open alert with the next step."""
        self._next = _ALWAYS

    def due(self, now: datetime) -> bool:
        """Tell whether open alerts must be looked at although nothing moved."""
        return now >= self._next

    async def plan(self, now: datetime, touched: set[int]) -> Planned:
        """Write what the ledger lacks for these alerts, and for all open ones when that is due."""
        ids = set(touched)
        silences = await alerts.read_silences(self._connection, now)
        if self.due(now):
            ids |= set(await alerts.open_ids(self._connection))
            self._next = _next_change(silences, now)
        if not ids:
            return Planned()
        rows = await alerts.read_alerts(self._connection, sorted(ids))
        ledger: dict[int, list[policy.LedgerRow]] = {}
        for entry in await alerts.read_ledger(self._connection, sorted(ids)):
            ledger.setdefault(entry.alert, []).append(_ledger_row(entry))
        planned = policy.plan(
            [_alert(row) for row in rows],
            ledger,
            [_silence(row) for row in silences],
            self._rule_set,
            to_us(now),
        )
        return await self._write(planned, rows)

    async def _write(self, planned: policy.Plan, rows: Sequence[alerts.AlertRow]) -> Planned:
        for change in planned.changes:
            await alerts.supersede(
                self._connection,
                alert=change.alert,
                notice=change.notice,
                channel=change.channel,
                why=change.why,
            )
        if planned.rows:
            await alerts.add_notifications(self._connection, [_new(row) for row in planned.rows])
        before = {row.id: tuple(row.suppressed_by) for row in rows}
        flags = {
            alert: by for alert, by in planned.suppressed_by.items() if by != before.get(alert)
        }
        if flags:
            await alerts.set_suppressed(self._connection, flags)
        changed = {row.alert for row in planned.rows} | {c.alert for c in planned.changes}
        return Planned(
            alerts=changed | set(flags),
            to_deliver=any(row.fate == "waiting" for row in planned.rows),
        )


def _next_change(silences: Iterable[alerts.SilenceRow], now: datetime) -> datetime:
    moments = [m for row in silences for m in (row.starts_at, row.ends_at, row.ended_at)]
    return min((m for m in moments if m is not None and m > now), default=_NEVER)


def _alert(row: alerts.AlertRow) -> policy.Alert:
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
            "evidence": tuple(map(_line, row.evidence)),
        },
        policy.Alert,
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


def _ledger_row(row: alerts.NotificationRow) -> policy.LedgerRow:
    return msgspec.convert(
        {
            "alert": row.alert,
            "notice": row.notice,
            "channel": row.channel,
            "channel_type": row.channel_type,
            "conversation": row.conversation,
            "fate": row.fate,
            "attempts": row.attempts,
            "why": row.why,
        },
        policy.LedgerRow,
    )


def _silence(row: alerts.SilenceRow) -> policy.Silence:
    return policy.Silence(
        id=row.id,
        filter=row.filter,
        starts_us=to_us(row.starts_at),
        ends_us=to_us(row.ends_at),
        comment=row.comment,
        ended_us=_us(row.ended_at),
    )


def _new(row: policy.NotificationPlan) -> alerts.NewNotification:
    return alerts.NewNotification(
        alert=row.alert,
        notice=row.notice,
        channel=row.channel,
        channel_type=row.channel_type,
        conversation=row.conversation,
        priority=row.priority,
        fate=row.fate,
        why=row.why,
        content=msgspec.to_builtins(row.content),
        not_before=from_us(row.not_before_us),
    )


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)
