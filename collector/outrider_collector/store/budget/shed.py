"""Room is made in the open: days of debug records go before their time, the oldest first.

A day's table goes as a whole, as at the end of its retention, and in nobody's way. Before it leaves
a gap row is added for each stream (reason ``shed``): how many records, from when to when. So at no
moment does a search miss what it is not told of. The transaction that drops the table makes them
exact. They are named by the table: told twice, stored once, and taken back where it has stayed.

Fresh blocks are not touched: they hold records of all classes, and become days within the hour.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql

import outrider
from outrider.gap_reasons import SHED
from outrider.sizes import said as size
from outrider_collector.store import attaching
from outrider_collector.store.budget.limits import budget_of
from outrider_collector.store.budget.measure import measure
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.days import PARENT, Day

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from outrider_collector.store.attaching import Sleep
    from outrider_collector.store.budget.limits import Measured, Wanted

    Measure = Callable[[AsyncConnection], Awaitable[Measured]]

MOST_STREAMS: Final = 5_000
"""Streams with a gap row of their own, for each day; the others of a service share one."""

_ACCOUNT: Final = sql.SQL("""
    with each as (
        select b.team, b.service, u.stream, count(*) as n, min(u.ts) as from_at,
               max(u.ts) as to_at, min(u.stream_offset) as low, max(u.stream_offset) as high
        from only {table} b
        cross join lateral unnest(b.stream, b.ts, b.stream_offset) as u(stream, ts, stream_offset)
        group by 1, 2, 3
    ), ranked as (
        select each.*, row_number() over (order by n desc) <= {most} as is_named from each
    ), told as (
        select team, service, case when is_named then stream end as stream,
               sum(n)::bigint as n, min(from_at) as from_at, max(to_at) as to_at,
               case when is_named then min(low) end as low,
               case when is_named then max(high) end as high
        from ranked group by team, service, is_named, case when is_named then stream end
    ), gone as (
        insert into gaps (commit_id, gap_id, team, agent, stream, service, worker, host,
            begin_offset, end_offset, records, at_least, bytes, reason, detail, from_at, to_at)
        select nextval('commit_ids'),
               {oid} || substr(decode(md5(concat_ws('/', t.team, t.service, t.stream)), 'hex'), 5),
               t.team, i.agent, t.stream,
               t.service, coalesce(i.worker, ''), coalesce(i.host, ''), t.low, t.high + 1, t.n,
               false, 0, {reason}, {detail}, t.from_at, t.to_at
        from told t left join stream_info i on i.id = t.stream
        on conflict (gap_id) do update set
            records = excluded.records, begin_offset = excluded.begin_offset,
            end_offset = excluded.end_offset, from_at = excluded.from_at, to_at = excluded.to_at
        returning records
    )
    select coalesce(sum(records), 0)::bigint from gone
    """)
_NAMED_BY: Final = sql.SQL("decode(lpad(to_hex({}::regclass::oid::bigint), 8, '0'), 'hex')")
_TAKE_BACK: Final = sql.SQL("""
    delete from gaps g using pg_inherits i
    where g.reason = {reason} and i.inhparent = {parent}::regclass and not i.inhdetachpending
        and substr(g.gap_id, 1, 4) = {named_by}
    """).format(
    reason=sql.Literal(SHED),
    parent=sql.Literal(PARENT),
    named_by=_NAMED_BY.format(sql.SQL("i.inhrelid")),
)
_DETAIL: Final = "debug records went before their time: the store was nearly full"

log = outrider.get_logger(__name__)


class Shed(NamedTuple):
    """A day that went before its time."""

    table: str
    records: int
    size_bytes: int


async def shed(
    connection: AsyncConnection,
    wanted: Wanted,
    *,
    measure: Measure = measure,
    sleep: Sleep = asyncio.sleep,
) -> list[Shed]:
    """Drop days of debug records while the store is too full; return those that went.

    Begins where 90 % of the budget are used, and ends below 85 % or when there is none left. The
    connection is in autocommit mode. A day whose locks are not free in time is left to the next
    round.
    """
    gone: list[Shed] = []
    measured = await measure(connection)
    budget = budget_of(wanted, measured)
    if budget is None or measured.used_bytes < budget.shed_from:
        # What a round that was cut off told of days that have stayed.
        await connection.execute(_TAKE_BACK)
        return gone
    for day in await _debug_days(connection):
        one = await _drop(connection, day, sleep)
        if one is None:
            continue
        gone.append(one)
        log.event(
            "pipeline.dropped",
            f"debug records of {day.begin:%Y-%m-%d} went before their time: {one.records:,} "
            f"records, {size(one.size_bytes)}: {size(measured.used_bytes)} of "
            f"{size(budget.limit_bytes)} were used",
            table=one.table,
            records=one.records,
            size_bytes=one.size_bytes,
            used_bytes=measured.used_bytes,
            budget_bytes=budget.limit_bytes,
        )
        measured = await measure(connection)
        # Of a file system, what went is free now: the budget is the same.
        if measured.used_bytes < budget.shed_until:
            break
    return gone


async def _debug_days(connection: AsyncConnection) -> list[Day]:
    names = [name for name, _ in await attaching.attached(connection, PARENT)]
    days = [day for day in map(Day.of_table, names) if day is not None]
    return sorted(day for day in days if day.record_class is RecordClass.DEBUG)


async def _drop(connection: AsyncConnection, day: Day, sleep: Sleep) -> Shed | None:
    """Drop one day; None where its locks were not free in time."""
    records = 0
    row = await (
        await connection.execute("select pg_total_relation_size(%s::regclass)", (day.table,))
    ).fetchone()
    size_bytes = int(row[0]) if row and row[0] is not None else 0

    told = _ACCOUNT.format(
        table=sql.Identifier(day.table),
        oid=_NAMED_BY.format(sql.Literal(day.table)),
        most=sql.Literal(MOST_STREAMS),
        reason=sql.Literal(SHED),
        detail=sql.Literal(_DETAIL),
    )

    async def account(within: AsyncConnection) -> None:
        nonlocal records
        row = await (await within.execute(told)).fetchone()
        records = int(row[0]) if row else 0

    try:
        await account(connection)
        done = await attaching.leave(connection, day.partition, account=account, sleep=sleep)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return None
    return Shed(day.table, records, size_bytes) if done else None
