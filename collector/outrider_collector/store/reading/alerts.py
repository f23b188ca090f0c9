"""Alerts as they stand, with what was told about them; silences."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_alerting.routing import EDITABLE
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import (
    Alert,
    AlertDetail,
    Attempt,
    Evidence,
    Notification,
    Silence,
    Told,
    Transition,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot

MOST_OPEN = 1_000
MOST_NOTIFICATIONS = 1_000
MOST_TRANSITIONS = 1_000

_ALERT: Final = sql.SQL(
    "a.id, a.rule, a.key, a.labels, a.kind, a.priority, a.state, a.summary, a.runbook, a.value,"
    " a.threshold, a.started_at, a.fired_at, a.resolved_at, a.resolve_reason, a.acknowledged_at,"
    " a.acknowledged_by, a.acknowledge_comment, a.suppressed_by, a.flapping, a.stale, a.evidence,"
    " a.rule_set, a.updated_at"
)

# Worst first: firing before recovering before pending, critical before the rest, newest first.
_WORST_FIRST: Final = sql.SQL(
    "array_position(array['firing', 'recovering', 'pending', 'resolved'], a.state),"
    " array_position(array['critical', 'warning', 'info'], a.priority),"
    " coalesce(a.fired_at, a.started_at) desc, a.id desc"
)

_NOTIFICATION: Final = sql.SQL(
    "n.id, n.alert, n.notice, n.channel, n.channel_type, n.conversation, n.priority, n.fate, n.why,"
    " n.content, n.attempts, n.not_before, n.provider_id, n.created_at, n.finished_at,"
    " a.rule, a.summary, a.state, a.labels"
)


async def open_alerts(conn: AsyncConnection[Any]) -> list[Alert]:
    """Return all alerts that are not resolved, worst first, at most 1,000."""
    async with snapshot(conn) as open_snapshot:
        return await select_open(open_snapshot)


async def select_open(open_snapshot: Snapshot) -> list[Alert]:
    """Return the open alerts of a snapshot, worst first."""
    rows = await open_snapshot.rows(
        sql.SQL("select {} from alerts a where a.state <> 'resolved' order by {} limit {}").format(
            _ALERT, _WORST_FIRST, sql.Literal(MOST_OPEN)
        )
    )
    return [_alert(row) for row in rows]


async def recent(conn: AsyncConnection[Any], since: datetime, limit: int = 100) -> list[Alert]:
    """Return alerts that were open at some time since then, newest first."""
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select {} from alerts a"
                " where coalesce(a.resolved_at, 'infinity') >= %(since)s"
                " order by a.started_at desc, a.id desc limit %(limit)s"
            ).format(_ALERT),
            {"since": since, "limit": limit},
        )
    return [_alert(row) for row in rows]


async def alert(conn: AsyncConnection[Any], number: int) -> AlertDetail:
    """Return one alert with its transitions and every notification. Raises NOT_FOUND."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(
            sql.SQL("select {} from alerts a where a.id = %(id)s").format(_ALERT), {"id": number}
        )
        if row is None:
            raise Fault(Reason.NOT_FOUND, detail=f"there is no alert {number}", alert=number)
        transitions = await open_snapshot.rows(
            sql.SQL(
                "select id, step, from_state, to_state, at, concluded_at, value, reason, without"
                " from alert_transitions where alert = %(id)s order by id limit %(most)s"
            ),
            {"id": number, "most": MOST_TRANSITIONS},
        )
        notifications = await open_snapshot.rows(
            sql.SQL(
                "select {} from notifications n join alerts a on a.id = n.alert"
                " where n.alert = %(id)s order by n.id limit %(most)s"
            ).format(_NOTIFICATION),
            {"id": number, "most": MOST_NOTIFICATIONS},
        )
        tries = await _tries(open_snapshot, [n[0] for n in notifications])
        rule = await open_snapshot.row(
            sql.SQL(
                "select r.definition from alerts a join rule_versions r"
                " on (r.version, r.name) = (a.rule_set, a.rule) where a.id = %(id)s"
            ),
            {"id": number},
        )
    return AlertDetail(
        _alert(row),
        [Transition(*t) for t in transitions],
        [_notification(n, tries) for n in notifications],
        rule[0] if rule else {},
    )


async def notices(
    conn: AsyncConnection[Any], since: datetime, limit: int = 100
) -> list[Notification]:
    """Return the notification centre: what was told in the application, newest first.

    Beside it stands what could not be delivered elsewhere (failed, dead, unknown), because nobody
    else would tell.
    """
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select {} from notifications n join alerts a on a.id = n.alert"
                " where n.created_at >= %(since)s"
                " and (n.channel_type = 'in-app' or n.fate in ('failed', 'dead', 'unknown'))"
                " order by n.created_at desc, n.id desc limit %(limit)s"
            ).format(_NOTIFICATION),
            {"since": since, "limit": min(limit, MOST_NOTIFICATIONS)},
        )
    return [_notification(row, {}) for row in rows]


async def told_with(conn: AsyncConnection[Any], number: int) -> dict[int, list[int]]:
    """Return, by notification of an alert, the other alerts that its message told of too.

    At most 1,000 for each; what the notification centre has is nobody's message.
    """
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select n.id, o.alert from notifications n cross join lateral ("
                "select distinct o.alert from notifications o"
                " where o.channel = n.channel and o.provider_id = n.provider_id"
                " and o.alert <> n.alert and (o.notice = 'resolved') = (n.notice = 'resolved')"
                # Mail servers may call every letter the same.
                " and (n.channel_type = any(%(editable)s) or"
                " o.finished_at between n.finished_at - interval '1 s'"
                " and n.finished_at + interval '1 s')"
                " order by o.alert limit 1000) o"
                " where n.alert = %(id)s and n.provider_id is not null"
            ),
            {"id": number, "editable": sorted(EDITABLE)},
        )
    found: dict[int, list[int]] = {}
    for notification, alert_number in rows:
        found.setdefault(notification, []).append(alert_number)
    return found


async def silences(conn: AsyncConnection[Any], *, ended: bool = False) -> list[Silence]:
    """Return silences that are active or to come, by end; with ``ended`` the last 100 too."""
    columns = sql.SQL(
        "id, filter, starts_at, ends_at, created_by, comment, created_at, ended_at, ended_by,"
        " ended_at is null and starts_at <= clock_timestamp() and ends_at > clock_timestamp(),"
        " schedule, timezone, quiet_hours"
    )
    query = sql.SQL(
        "select {} from silences where ended_at is null and ends_at > clock_timestamp()"
        " order by ends_at, id"
    )
    every = sql.SQL("select {} from silences order by ends_at desc, id desc limit 100")
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows((every if ended else query).format(columns))
    return [Silence(*row) for row in rows]


async def newest_transition(conn: AsyncConnection[Any]) -> int:
    """Return the id of the newest transition; 0 before the first."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(sql.SQL("select coalesce(max(id), 0) from alert_transitions"))
    return int(row[0]) if row else 0


async def transitions_after(conn: AsyncConnection[Any], last: int) -> list[Told]:
    """Return what fired, and what ended of it, after that transition, in order, at most 100."""
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select t.id, t.to_state, t.concluded_at, a.id, a.priority, a.summary"
                " from alert_transitions t join alerts a on a.id = t.alert"
                " where t.id > %(last)s and t.to_state in ('firing', 'resolved')"
                # Of what never fired nobody was told, and so nobody is told that it ended.
                " and a.fired_at is not null order by t.id limit 100"
            ),
            {"last": last},
        )
    return [Told(*row) for row in rows]


async def undelivered(conn: AsyncConnection[Any], channels: list[str]) -> dict[str, int]:
    """Count, for each of these channels, messages of the last day that no later one answers."""
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select channel, count(*) from notifications as lost"
                " where fate in ('failed', 'dead', 'unknown')"
                " and created_at > now() - interval '1 day' and channel = any(%(channels)s)"
                " and not exists (select from notifications as later"
                " where later.channel = lost.channel and later.fate = 'sent'"
                " and later.created_at > lost.created_at)"
                " group by channel order by channel"
            ),
            {"channels": channels},
        )
    return {str(channel): int(count) for channel, count in rows}


# ------------------------------------------------------------------ rows


async def _tries(open_snapshot: Snapshot, notifications: list[int]) -> dict[int, list[Attempt]]:
    rows = await open_snapshot.rows(
        sql.SQL(
            "select notification, started_at, finished_at, outcome, error"
            " from notification_attempts where notification = any(%(ids)s::bigint[]) order by id"
        ),
        {"ids": notifications},
    )
    tries: dict[int, list[Attempt]] = {}
    for notification, *attempt in rows:
        tries.setdefault(notification, []).append(Attempt(*attempt))
    return tries


def _alert(row: tuple[Any, ...]) -> Alert:
    evidence = [_evidence(line) for line in row[21] if isinstance(line, dict)]
    return Alert(*(*row[:21], [line for line in evidence if line], *row[22:]))


def _evidence(line: dict[str, Any]) -> Evidence | None:
    try:
        ts = datetime.fromisoformat(str(line["ts"]))
    except (KeyError, ValueError):
        # Not a line: an alert on absence has none to show.
        return None
    return Evidence(
        ts=ts,
        severity=int(line.get("severity") or 9),
        service=str(line.get("service") or ""),
        worker=str(line.get("worker") or ""),
        message=str(line.get("message") or ""),
        stream=line.get("stream"),
        stream_offset=line.get("stream_offset"),
    )


def _notification(row: tuple[Any, ...], tries: dict[int, list[Attempt]]) -> Notification:
    return Notification(*(*row, tries.get(row[0], [])))
