"""SQL of alerts: their rows, their transitions, and what silences hold back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

import msgspec
from psycopg.rows import class_row

from outrider.errors import Fault, Reason

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
class StaleAlert:
    """An open alert whose end cannot be told, or can be told again."""

    rule: str
    key: list[str]
    stale: bool


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
    # Of one that is flapping and critical: when an earlier one of its key was last told of.
    told_at: datetime | None


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

    Ten thousand that fire at once are a few statements, not one each. Raises INTERNAL_BUG where an
    open one is missing: its end would be told without its firing.
    """
    ids: dict[int, int] = {}
    for turn in _turns(transitions):
        for statement, of_turn in ((_OPEN, _opening(turn)), (_MOVE, _moving(turn))):
            if of_turn:
                ids |= await _store_turn(connection, statement, of_turn)
    if ids:
        rows = [
            {
                "alert": ids[place],
                "step": new.step,
                "from_state": new.from_state,
                "to_state": new.to_state,
                "at": new.at,
                "concluded_at": new.concluded_at,
                "value": new.value,
                "reason": new.reason,
                "without": new.without,
            }
            for place, new in enumerate(transitions)
        ]
        await connection.execute(_TRANSITIONS, (msgspec.json.encode(rows).decode(),), prepare=True)
    return [ids[place] for place in range(len(transitions))]


Turn = dict[int, NewTransition]
"""Transitions by their place in the step, at most one of each (rule, key)."""


def _turns(transitions: Sequence[NewTransition]) -> list[Turn]:
    """Part transitions so that each of a key sees what the one before it has left."""
    turns: list[Turn] = []
    taken: dict[tuple[str, tuple[str, ...]], int] = {}
    for place, new in enumerate(transitions):
        address = new.rule, tuple(new.key)
        taken[address] = turn = taken.get(address, -1) + 1
        if turn == len(turns):
            turns.append({})
        turns[turn][place] = new
    return turns


def _opening(turn: Turn) -> Turn:
    return {place: new for place, new in turn.items() if new.from_state == "inactive"}


def _moving(turn: Turn) -> Turn:
    return {place: new for place, new in turn.items() if new.from_state != "inactive"}


async def _store_turn(
    connection: AsyncConnection, statement: LiteralString, turn: Turn
) -> dict[int, int]:
    """Return place to the alert's id."""
    rows = msgspec.json.encode([_alert_row(place, new) for place, new in turn.items()]).decode()
    cursor = await connection.execute(statement, {"rows": rows, "flaps": FLAPS}, prepare=True)
    found = {(rule, tuple(key)): alert for alert, rule, key in await cursor.fetchall()}
    for new in turn.values():
        if (new.rule, tuple(new.key)) not in found:
            raise _missing(new)
    return {place: found[new.rule, tuple(new.key)] for place, new in turn.items()}


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


# Rows travel as one JSON text: arrays of arrays of unequal length cannot be unnested.
_MOVE: Final = """
update alerts a
set state = new.state, labels = new.labels, priority = new.priority,
    -- What was told stays what it is called: threads hang on it. Only a loss grows.
    summary = case when a.fired_at is null or new.kind = 'gap' then new.summary
                   else a.summary end,
    runbook = new.runbook, value = coalesce(new.value, a.value),
    threshold = new.threshold, fired_at = new.fired_at, resolved_at = new.resolved_at,
    resolve_reason = new.resolve_reason,
    evidence = case when new.evidence = '[]' then a.evidence else new.evidence end,
    -- Who looks after a warning does not know yet that it became critical.
    acknowledged_at = case when outranks(new.priority, a.priority) then null
                           else a.acknowledged_at end,
    acknowledged_by = case when outranks(new.priority, a.priority) then null
                           else a.acknowledged_by end,
    acknowledge_comment = case when outranks(new.priority, a.priority) then null
                               else a.acknowledge_comment end,
    rule_set = new.rule_set, stale = false, updated_at = clock_timestamp()
from jsonb_to_recordset(%(rows)s::jsonb) as new (
    place int, rule text, key text[], labels jsonb, kind text, priority text, state text,
    summary text, runbook text, value double precision, threshold double precision,
    started_at timestamptz, fired_at timestamptz, resolved_at timestamptz, resolve_reason text,
    evidence jsonb, rule_set bigint)
where a.rule = new.rule and a.key = new.key and a.state <> 'resolved'
returning a.id, a.rule, a.key
"""

_OPEN: Final = """
insert into alerts (rule, key, labels, kind, priority, state, summary, runbook, value, threshold,
                    started_at, fired_at, resolved_at, resolve_reason, evidence, rule_set,
                    flapping)
select rule, key, labels, kind, priority, state, summary, runbook, value, threshold,
       started_at, fired_at, resolved_at, resolve_reason, evidence, rule_set,
       (select count(*) >= %(flaps)s from alerts earlier
        where earlier.rule = new.rule and earlier.key = new.key
          and earlier.fired_at is not null
          and earlier.started_at > new.started_at - interval '1 hour')
from jsonb_to_recordset(%(rows)s::jsonb) as new (
    place int, rule text, key text[], labels jsonb, kind text, priority text, state text,
    summary text, runbook text, value double precision, threshold double precision,
    started_at timestamptz, fired_at timestamptz, resolved_at timestamptz, resolve_reason text,
    evidence jsonb, rule_set bigint)
order by place
returning id, rule, key
"""

_TRANSITIONS: Final = """
insert into alert_transitions (alert, step, from_state, to_state, at, concluded_at, value, reason,
                               without)
select alert, step, from_state, to_state, at, concluded_at, value, reason, without
from jsonb_to_recordset(%s::jsonb) as new (
    alert bigint, step bigint, from_state text, to_state text, at timestamptz,
    concluded_at timestamptz, value double precision, reason text, without text[])
"""


def _alert_row(place: int, new: NewTransition) -> dict[str, Any]:
    over = new.to_state == "resolved"
    return {
        "place": place,
        "rule": new.rule,
        "key": new.key,
        "labels": new.labels,
        "kind": new.kind,
        "priority": new.priority,
        "state": new.to_state,
        "summary": new.summary,
        "runbook": new.runbook,
        "value": new.value,
        "threshold": new.threshold,
        "started_at": new.started_at,
        "fired_at": new.fired_at,
        "resolved_at": new.at if over else None,
        "resolve_reason": new.reason if over else None,
        "evidence": new.evidence,
        "rule_set": new.rule_set,
    }


async def set_stale(connection: AsyncConnection, stale: Sequence[StaleAlert]) -> list[int]:
    """Say whether the ends of open alerts cannot be told; returns the alerts' ids."""
    if not stale:
        return []
    cursor = await connection.execute(
        """
        update alerts a set stale = new.stale, updated_at = clock_timestamp()
        from jsonb_to_recordset(%s::jsonb) as new (rule text, key text[], stale boolean)
        where a.rule = new.rule and a.key = new.key and a.state <> 'resolved'
        returning a.id
        """,
        (msgspec.json.encode(stale).decode(),),
        prepare=True,
    )
    return [row[0] for row in await cursor.fetchall()]


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
               flapping, evidence,
               case when flapping and priority = 'critical' then (
                   select max(n.created_at) from alerts e join notifications n on n.alert = e.id
                   where e.rule = a.rule and e.key = a.key and e.id < a.id
                     and e.started_at > a.started_at - interval '1 day'
                     and n.channel_type <> 'in-app'
                     and n.created_at > clock_timestamp() - interval '1 hour'
                     and n.fate in ('waiting', 'claimed', 'sent', 'unknown')) end as told_at
        from alerts a where id = any(%s) order by id
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
               flapping, '[]'::jsonb as evidence, null::timestamptz as told_at
        from alerts
        where state in ('firing', 'recovering') and kind in ('liveness', 'health')
        order by id limit 10000
        """,
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
