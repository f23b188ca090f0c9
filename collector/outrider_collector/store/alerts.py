"""SQL of alerts: their rows, their transitions, and the ledger's rows that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from outrider.errors import Fault, Reason
from outrider_collector.store.pipeline import pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

FLAPS = 3
"""An alert flaps when so many earlier episodes of it fired within the hour before it began."""


@dataclass(frozen=True, slots=True)
class NewTransition:
    """A transition with what it makes of its alert's row."""

    rule: str
    key: list[str]
    from_state: str
    to_state: str
    at: datetime
    concluded_at: datetime
    reason: str
    started_at: datetime
    fired_at: datetime | None
    kind: str
    priority: str
    labels: dict[str, str]
    summary: str
    runbook: str | None
    value: float | None
    threshold: float | None
    without: list[str]
    # [] leaves what the alert has.
    evidence: list[dict[str, Any]]
    rule_set: int
    step: int


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert as it stands."""

    id: int
    rule: str
    key: list[str]
    labels: dict[str, str]
    kind: str
    priority: str
    state: str
    summary: str
    runbook: str | None
    value: float | None
    threshold: float | None
    started_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    resolve_reason: str | None
    acknowledged_by: str | None
    suppressed_by: list[str]
    flapping: bool
    evidence: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A row of the ledger as it stands."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    priority: str
    fate: str
    # Attempts that may have arrived: their outcome is unknown.
    attempts: int
    # All attempts.
    tries: int
    created_at: datetime
    why: str | None


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A row for the ledger."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    priority: str
    fate: str
    why: str | None
    content: dict[str, Any]
    not_before: datetime
    # Leaves as one message with others of its channel and bundle that wait.
    bundle: str | None
    # Alert and notice of the row, same channel, whose message is to tell this too.
    joins: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class SpokenRow:
    """A firing that went, or goes, out as a message of its own."""

    channel: str
    rule: str
    priority: str
    alert: int
    notice: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """A silence."""

    id: int
    filter: str
    starts_at: datetime
    ends_at: datetime
    comment: str
    ended_at: datetime | None
    schedule: str | None
    timezone: str | None
    quiet_hours: bool


async def store_transitions(
    connection: AsyncConnection, transitions: Sequence[NewTransition]
) -> list[int]:
    """Open an alert of each (rule, key), or move the open one; returns the alerts' ids.

    All go in one message, in order: ten thousand that fire at once cost no round trip each. Raises
    INTERNAL_BUG where an open one is missing: its end would be told without its firing.
    """
    async with pipeline(connection):
        cursors = [
            await connection.execute(
                _OPEN if new.from_state == "inactive" else _MOVE,
                _alert_parameters(new),
                prepare=True,
            )
            for new in transitions
        ]
        rows = [await cursor.fetchone() for cursor in cursors]
    ids: list[int] = []
    for new, row in zip(transitions, rows, strict=True):
        if row is None:
            raise _missing(new)
        ids.append(row[0])
    if ids:
        await connection.cursor().executemany(
            """
            insert into alert_transitions (alert, step, from_state, to_state, at, concluded_at,
                                           value, reason, without)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    alert,
                    new.step,
                    new.from_state,
                    new.to_state,
                    new.at,
                    new.concluded_at,
                    new.value,
                    new.reason,
                    new.without,
                )
                for alert, new in zip(ids, transitions, strict=True)
            ],
        )
    return ids


def _missing(new: NewTransition) -> Fault:
    return Fault(
        Reason.INTERNAL_BUG,
        detail=f"no alert of rule {new.rule} is open for {new.key}: cannot move it "
        f"from {new.from_state} to {new.to_state}",
        rule=new.rule,
        key=new.key,
        from_state=new.from_state,
        to_state=new.to_state,
        step=new.step,
    )


_MOVE: Final = """
update alerts
set state = %(state)s, labels = %(labels)s, priority = %(priority)s,
    -- What was told stays what it is called: threads hang on it.
    summary = case when fired_at is null then %(summary)s else summary end,
    runbook = %(runbook)s, value = coalesce(%(value)s, value),
    threshold = %(threshold)s, fired_at = %(fired)s, resolved_at = %(resolved)s,
    resolve_reason = %(resolve_reason)s,
    evidence = case when %(evidence)s::jsonb = '[]' then evidence else %(evidence)s::jsonb end,
    -- Who looks after a warning does not know yet that it became critical.
    acknowledged_at = case when outranks(%(priority)s, priority) then null
                           else acknowledged_at end,
    acknowledged_by = case when outranks(%(priority)s, priority) then null
                           else acknowledged_by end,
    acknowledge_comment = case when outranks(%(priority)s, priority) then null
                               else acknowledge_comment end,
    rule_set = %(rule_set)s, stale = false, updated_at = clock_timestamp()
where rule = %(rule)s and key = %(key)s and state <> 'resolved'
returning id
"""

_OPEN: Final = """
insert into alerts (rule, key, labels, kind, priority, state, summary, runbook, value, threshold,
                    started_at, fired_at, resolved_at, resolve_reason, evidence, rule_set,
                    flapping)
values (%(rule)s, %(key)s, %(labels)s, %(kind)s, %(priority)s, %(state)s, %(summary)s,
        %(runbook)s, %(value)s, %(threshold)s, %(started)s, %(fired)s, %(resolved)s,
        %(resolve_reason)s, %(evidence)s, %(rule_set)s,
        (select count(*) >= %(flaps)s from alerts earlier
         where earlier.rule = %(rule)s and earlier.key = %(key)s
           and earlier.fired_at is not null
           and earlier.started_at > %(started)s::timestamptz - interval '1 hour'))
returning id
"""


def _alert_parameters(new: NewTransition) -> dict[str, Any]:
    over = new.to_state == "resolved"
    return {
        "rule": new.rule,
        "key": new.key,
        "labels": Jsonb(new.labels),
        "kind": new.kind,
        "priority": new.priority,
        "state": new.to_state,
        "summary": new.summary,
        "runbook": new.runbook,
        "value": new.value,
        "threshold": new.threshold,
        "started": new.started_at,
        "fired": new.fired_at,
        "resolved": new.at if over else None,
        "resolve_reason": new.reason if over else None,
        "evidence": Jsonb(new.evidence),
        "rule_set": new.rule_set,
        "flaps": FLAPS,
    }


async def set_stale(
    connection: AsyncConnection, rule: str, key: Sequence[str], *, stale: bool
) -> int | None:
    """Say whether the end of an open alert cannot be told; returns the alert's id."""
    cursor = await connection.execute(
        """
        update alerts set stale = %s, updated_at = clock_timestamp()
        where rule = %s and key = %s and state <> 'resolved'
        returning id
        """,
        (stale, rule, list(key)),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def set_suppressed(
    connection: AsyncConnection, suppressed_by: Mapping[int, Sequence[str]]
) -> None:
    """Say what holds each alert's notices back."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "update alerts set suppressed_by = %s where id = %s and suppressed_by <> %s",
            [(list(by), alert, list(by)) for alert, by in sorted(suppressed_by.items())],
        )


async def set_owed(connection: AsyncConnection, owed: Mapping[int, bool]) -> None:
    """Say of resolved alerts whether the end of a silence is to tell of them."""
    await connection.execute(
        """
        update alerts a set owed = new.owed
        from unnest(%s::bigint[], %s::boolean[]) as new (id, owed)
        where a.id = new.id and a.owed <> new.owed
        """,
        (list(owed), list(owed.values())),
        prepare=True,
    )


async def read_alerts(connection: AsyncConnection, ids: Sequence[int]) -> list[AlertRow]:
    """Return these alerts in the order of their ids."""
    cursor = await connection.cursor(row_factory=class_row(AlertRow)).execute(
        """
        select id, rule, key, labels, kind, priority, state, summary, runbook, value, threshold,
               started_at, fired_at, resolved_at, resolve_reason, acknowledged_by, suppressed_by,
               flapping, evidence
        from alerts where id = any(%s) order by id
        """,
        (list(ids),),
        prepare=True,
    )
    return await cursor.fetchall()


async def read_causes(connection: AsyncConnection) -> list[AlertRow]:
    """Return the open alerts that may explain others: of components, not of records."""
    cursor = await connection.cursor(row_factory=class_row(AlertRow)).execute(
        """
        select id, rule, key, labels, kind, priority, state, summary, runbook, value, threshold,
               started_at, fired_at, resolved_at, resolve_reason, acknowledged_by, suppressed_by,
               flapping, '[]'::jsonb as evidence
        from alerts
        where state in ('firing', 'recovering') and kind in ('liveness', 'health')
        order by id limit 10000
        """,
        prepare=True,
    )
    return await cursor.fetchall()


async def read_spoken(connection: AsyncConnection, since: datetime) -> list[SpokenRow]:
    """Return the firings that went out by themselves since then, oldest first."""
    cursor = await connection.cursor(row_factory=class_row(SpokenRow)).execute(
        """
        select n.channel, a.rule, n.priority, n.alert, n.notice, n.created_at
        from notifications n join alerts a on a.id = n.alert
        where n.created_at > %s and n.notice <> 'resolved' and n.channel_type <> 'in-app'
          and n.bundle is null and n.fate in ('waiting', 'claimed', 'sent')
          and (n.notice = 'fired' or n.notice like 'unsuppressed:%%')
        order by n.id
        """,
        (since,),
        prepare=True,
    )
    return await cursor.fetchall()


async def open_ids(connection: AsyncConnection) -> list[int]:
    """Return the ids of the alerts that a silence can hold or let go.

    They fire or recover, or are over and owed to who was not told of them.
    """
    cursor = await connection.execute(
        "select id from alerts where state in ('firing', 'recovering') union"
        " select id from alerts where owed order by id",
        prepare=True,
    )
    return [row[0] for row in await cursor.fetchall()]


async def read_ledger(connection: AsyncConnection, ids: Sequence[int]) -> list[NotificationRow]:
    """Return the ledger of these alerts, locked: it stays as it is until the commit."""
    # Two statements: who waited for a row must read its attempts from a snapshot after the lock.
    await connection.execute(
        "select from notifications where alert = any(%s) order by id for update",
        (list(ids),),
        prepare=True,
    )
    cursor = await connection.cursor(row_factory=class_row(NotificationRow)).execute(
        """
        select n.alert, n.notice, n.channel, n.channel_type, n.conversation, n.priority, n.fate,
               n.why, n.attempts as tries, n.created_at,
               (select count(*)::int from notification_attempts a
                where a.notification = n.id and a.outcome = 'unknown') as attempts
        from notifications n where n.alert = any(%s) order by n.id
        """,
        (list(ids),),
        prepare=True,
    )
    return await cursor.fetchall()


async def read_silences(connection: AsyncConnection, since: datetime) -> list[SilenceRow]:
    """Return the silences that are in force, are to come, or ended after a time."""
    cursor = await connection.cursor(row_factory=class_row(SilenceRow)).execute(
        """
        select id, filter, starts_at, ends_at, comment, ended_at, schedule, timezone, quiet_hours
        from silences
        where ends_at > %(since)s and (ended_at is null or ended_at > %(since)s)
        order by id
        """,
        {"since": since},
        prepare=True,
    )
    return await cursor.fetchall()


async def add_notifications(connection: AsyncConnection, rows: Sequence[NewNotification]) -> None:
    """Insert rows of the ledger; one (alert, notice, channel) has one row, whoever comes twice."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            insert into notifications (alert, notice, channel, channel_type, conversation, priority,
                                       fate, why, content, not_before, finished_at, bundle,
                                       joins)
            values (%(alert)s, %(notice)s, %(channel)s, %(channel_type)s, %(conversation)s,
                    %(priority)s, %(fate)s, %(why)s, %(content)s, %(not_before)s,
                    case when %(fate)s = 'waiting' then null else clock_timestamp() end,
                    %(bundle)s,
                    (select id from notifications first
                     where first.alert = %(first)s and first.notice = %(first_notice)s
                       and first.channel = %(channel)s))
            on conflict (alert, notice, channel) do nothing
            """,
            [
                {
                    "alert": row.alert,
                    "notice": row.notice,
                    "channel": row.channel,
                    "channel_type": row.channel_type,
                    "conversation": row.conversation,
                    "priority": row.priority,
                    "fate": row.fate,
                    "why": row.why,
                    "content": Jsonb(row.content),
                    "not_before": row.not_before,
                    "bundle": row.bundle,
                    "first": row.joins[0] if row.joins else None,
                    "first_notice": row.joins[1] if row.joins else None,
                }
                for row in rows
            ],
        )


async def supersede(
    connection: AsyncConnection, *, alert: int, notice: str, channel: str, why: str
) -> None:
    """Overtake a row that still waits."""
    await connection.execute(
        """
        update notifications
        set fate = 'superseded', why = %s, finished_at = clock_timestamp()
        where alert = %s and notice = %s and channel = %s and fate = 'waiting'
        """,
        (why, alert, notice, channel),
    )
