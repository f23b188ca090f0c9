"""The past as rules saw it: records from the oldest on, states, losses, and what was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_collector.store.reading import logs
from outrider_collector.store.reading.session import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import LogRow

MOST_AT_ONCE: Final = 100_000
"""Records held at a time; a range with more is read in halves."""
MOST_ROWS: Final = 200_000
"""Changes of states, losses or alerts of a range; QUERY_TOO_LARGE beyond."""


class StateThen(NamedTuple):
    """A component's state from a moment on."""

    at: datetime
    component_kind: str
    component: str
    service: str
    worker: str
    host: str
    state: str
    reason: str


class LossThen(NamedTuple):
    """A gap as it was found."""

    detected_at: datetime
    service: str
    worker: str
    host: str
    reason: str
    records: int
    at_least: bool


class AlertThen(NamedTuple):
    """An alert that fired."""

    id: int
    rule: str
    key: list[str]
    summary: str
    fired_at: datetime
    resolved_at: datetime | None
    concluded_at: datetime
    without: list[str]


# Each component's last state before the range, then every change inside it. A history row does not
# name service, worker and host: the component's row does, and what has none any more is forgotten.
_STATES: Final = sql.SQL("""
    select greatest(h.at, %(since)s), h.component_kind, h.component, coalesce(c.service, ''),
           coalesce(c.worker, ''), coalesce(c.host, ''), h.to_state, h.reason
    from (
        select distinct on (component_kind, component) *
        from system_health_history where at < %(since)s
        order by component_kind, component, at desc, id desc
    ) h join system_health c using (component_kind, component)
    union all
    select h.at, h.component_kind, h.component, coalesce(c.service, ''), coalesce(c.worker, ''),
           coalesce(c.host, ''), h.to_state, h.reason
    from system_health_history h join system_health c using (component_kind, component)
    where h.at >= %(since)s and h.at < %(until)s
    order by 1
    limit %(limit)s
    """)

_LOSSES: Final = sql.SQL("""
    select detected_at, service, worker, host, reason, records, at_least from gaps
    where detected_at >= %(since)s and detected_at < %(until)s
    order by detected_at, id limit %(limit)s
    """)

_ALERTS: Final = sql.SQL("""
    select a.id, a.rule, a.key, a.summary, a.fired_at, a.resolved_at, t.concluded_at, t.without
    from alerts a
    join lateral (
        select concluded_at, without from alert_transitions
        where alert = a.id and to_state = 'firing' order by id limit 1
    ) t on true
    where a.fired_at >= %(since)s and a.fired_at < %(until)s
    order by a.fired_at, a.id limit %(limit)s
    """)

_OLDEST: Final = sql.SQL("""
    select least((select min(ts_min) from blocks_fresh), (select min(ts_min) from blocks_compacted))
    """)

_VERSIONS: Final = sql.SQL("""
    select version, applied_at from rule_sets
    where applied_at < %(until)s and version >= coalesce(
        (select max(version) from rule_sets where applied_at <= %(since)s), 0)
    order by version limit %(limit)s
    """)


async def records(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
) -> AsyncIterator[list[LogRow]]:
    """Yield all matches of the range, oldest first, in lists that are never in the same second.

    A range with too many records to hold is read in halves, down to one second.
    """
    rows: list[LogRow] = []
    middle = since + (until - since) / 2
    middle = middle.replace(microsecond=0)
    async for chunk in logs.export(conn, filter, since, until):
        rows += chunk
        if len(rows) > MOST_AT_ONCE and since < middle:
            break
    else:
        rows.reverse()
        if rows:
            yield rows
        return
    rows.clear()
    async for half in records(conn, filter, since, middle):
        yield half
    async for half in records(conn, filter, middle, until):
        yield half


async def states(conn: AsyncConnection[Any], since: datetime, until: datetime) -> list[StateThen]:
    """Return each component's state at the beginning, and every change, in their order."""
    rows = await _rows(conn, _STATES, since, until, "changes of states")
    return [StateThen(*row) for row in rows]


async def losses(conn: AsyncConnection[Any], since: datetime, until: datetime) -> list[LossThen]:
    """Return what was found to be lost, in the order in which it was found."""
    return [LossThen(*row) for row in await _rows(conn, _LOSSES, since, until, "gaps")]


async def fired(conn: AsyncConnection[Any], since: datetime, until: datetime) -> list[AlertThen]:
    """Return the alerts that fired, by event time."""
    return [AlertThen(*row) for row in await _rows(conn, _ALERTS, since, until, "alerts")]


async def rule_sets(
    conn: AsyncConnection[Any], since: datetime, until: datetime
) -> list[tuple[int, datetime]]:
    """Return the versions that were active in the range, and since when each was."""
    rows = await _rows(conn, _VERSIONS, since, until, "rule sets")
    return [(version, applied_at) for version, applied_at in rows]


async def oldest(conn: AsyncConnection[Any]) -> datetime | None:
    """Return the time of the oldest record that is kept."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(_OLDEST)
    return row[0] if row else None


async def _rows(
    conn: AsyncConnection[Any], query: sql.SQL, since: datetime, until: datetime, what: str
) -> list[tuple[Any, ...]]:
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            query, {"since": since, "until": until, "limit": MOST_ROWS + 1}
        )
    if len(rows) > MOST_ROWS:
        raise Fault(
            Reason.QUERY_TOO_LARGE,
            detail=f"more than {MOST_ROWS:,} {what} in the range: ask for less with --since",
        )
    return rows
