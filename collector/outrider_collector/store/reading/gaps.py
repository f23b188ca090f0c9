"""Gaps: what was lost, beside what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from outrider import severity
from outrider.errors import Fault, Reason
from outrider.gap_reasons import ERASED
from outrider_collector.store.reading.expressions import of_streams
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Gap

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection
    from psycopg.sql import Composable

    from outrider.filter import Filter
    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot

_COLUMNS = sql.SQL(
    "g.id, g.service, g.worker, g.host, g.stream, g.records, g.at_least, g.bytes, g.reason,"
    " g.detail, g.from_at, g.to_at, g.detected_at"
)

# A gap without times is placed where it was noticed.
_TOUCHES_RANGE = sql.SQL(
    "coalesce(g.to_at, g.from_at, g.detected_at) >= %(since)s::timestamptz"
    " and coalesce(g.from_at, g.to_at, g.detected_at) < %(until)s::timestamptz"
)


async def gaps(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    limit: int = 100,
) -> list[Gap]:
    """Return gaps of the range in streams where the filter could match, newest first.

    What was lost cannot be asked for its words: service, worker, host and source narrow them, and
    where it is known that all of it was less severe than the filter wants.
    """
    compiled = compile_filter(filter)
    async with snapshot(conn) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        found, _ = await select(open_snapshot, conditions, since, until, limit)
    return found


async def gap(conn: AsyncConnection[Any], number: int) -> Gap:
    """Return one gap by its id. Raises NOT_FOUND."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(
            sql.SQL("select {} from gaps g where g.id = %(id)s").format(_COLUMNS), {"id": number}
        )
    if row is None:
        raise Fault(Reason.NOT_FOUND, detail=f"there is no gap #{number}", gap=number)
    return Gap(*row)


async def select(
    open_snapshot: Snapshot,
    conditions: Conditions,
    since: datetime,
    until: datetime,
    limit: int,
    *,
    losses_first: bool = False,
) -> tuple[list[Gap], int]:
    """Return the newest gaps in an open snapshot, and how many there are in all.

    With ``losses_first`` those that were erased on purpose, which may be many, come last.
    """
    scoped: Composable = sql.SQL("true")
    if conditions.streams is not None:
        # A gap may have no stream (an inbox that was full): then its own names decide.
        scoped = sql.SQL(
            "exists (select from (select coalesce(s.id, 0) as id, g.team, g.service, g.worker,"
            " g.host, coalesce(s.source, '') as source"
            " from (select) one left join stream_info s on s.id = g.stream) i where {})"
        ).format(conditions.streams)
    rows = await open_snapshot.rows(
        sql.SQL(
            "select {columns}, count(*) over () from gaps g where {range} and {scoped}"
            " and coalesce(g.severity_max, %(most)s) >= %(least)s"
            " order by %(losses_first)s and g.reason = %(erased)s,"
            " coalesce(g.from_at, g.to_at, g.detected_at) desc, g.id desc"
            " limit %(limit)s"
        ).format(columns=_COLUMNS, range=_TOUCHES_RANGE, scoped=scoped),
        {
            **conditions.parameters,
            "since": since,
            "until": until,
            "limit": limit,
            "losses_first": losses_first,
            "erased": ERASED,
            "least": conditions.severity_least,
            "most": max(conditions.severity_least, severity.MAXIMUM),
        },
    )
    return [Gap(*row[:-1]) for row in rows], rows[0][-1] if rows else 0


async def of_worker(
    open_snapshot: Snapshot, service: str, worker: str, host: str, limit: int
) -> list[Gap]:
    """Return the newest gaps of one worker."""
    rows = await open_snapshot.rows(
        sql.SQL(
            "select {} from gaps g where g.service = %(service)s and g.worker = %(worker)s"
            " and g.host = %(host)s order by g.detected_at desc, g.id desc limit %(limit)s"
        ).format(_COLUMNS),
        {"service": service, "worker": worker, "host": host, "limit": limit},
    )
    return [Gap(*row) for row in rows]
