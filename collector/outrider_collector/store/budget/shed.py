"""Room is made in the open: days of debug records go before their time, the oldest first.

A day's table goes as a whole, as at the end of its retention, and in nobody's way. Before it leaves
a gap row is added for each stream (reason ``shed``): how many records, from when to when. So at no
moment does a search miss what it is not told of. The transaction that drops the table makes them
exact and tells the evaluator (:mod:`.account`).

Fresh blocks are not touched: they hold records of all classes, and become days within the hour.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import psycopg

import outrider
from outrider.sizes import said as size
from outrider_collector.store import attaching
from outrider_collector.store.budget import levels
from outrider_collector.store.budget.account import Account, take_back
from outrider_collector.store.budget.limits import budget_of
from outrider_collector.store.budget.measure import measure
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.days import PARENT, Day, forget_sheets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from outrider_collector.store.attaching import Sleep
    from outrider_collector.store.budget.limits import Measured, Wanted

    Measure = Callable[[AsyncConnection], Awaitable[Measured]]

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
    name: str = "",
    measure: Measure = measure,
    sleep: Sleep = asyncio.sleep,
) -> list[Shed]:
    """Drop days of debug records while the store is too full; return those that went.

    Begins where 90 % of a budget are used, and ends below 85 % or when there is none left. Budgets
    are what is seen here and what any other living collector than ``name`` sees: one of them may
    see the file system, and another do this. The connection is in autocommit mode. A day whose
    locks are not free in time is left to the next round.
    """
    gone: list[Shed] = []
    measured = await measure(connection)
    seen = levels.rooms(
        budget_of(wanted, measured), measured, await levels.others(connection, name)
    )
    full = [
        room for room in seen if room.used_bytes(measured.database_bytes) >= room.budget.shed_from
    ]
    if not full:
        # What a round that was cut off told of days that have stayed.
        await take_back(connection)
        return gone
    for day in await _debug_days(connection):
        one = await _drop(connection, day, sleep)
        if one is None:
            continue
        gone.append(one)
        room = full[0]
        used_bytes, limit_bytes = room.used_bytes(measured.database_bytes), room.budget.limit_bytes
        log.event(
            "pipeline.dropped",
            f"debug records of {day.begin:%Y-%m-%d} went before their time: {one.records:,} "
            f"records, {size(one.size_bytes)}: {size(used_bytes)} of {size(limit_bytes)} were used",
            table=one.table,
            records=one.records,
            size_bytes=one.size_bytes,
            used_bytes=used_bytes,
            budget_bytes=limit_bytes,
        )
        measured = await measure(connection)
        # Of a file system, what went is free now: the budget is the same.
        full = [
            room
            for room in full
            if room.used_bytes(measured.database_bytes) >= room.budget.shed_until
        ]
        if not full:
            break
    return gone


async def _debug_days(connection: AsyncConnection) -> list[Day]:
    names = [name for name, _ in await attaching.attached(connection, PARENT)]
    days = [day for day in map(Day.of_table, names) if day is not None]
    return sorted(day for day in days if day.record_class is RecordClass.DEBUG)


async def _drop(connection: AsyncConnection, day: Day, sleep: Sleep) -> Shed | None:
    """Drop one day; None where its locks were not free in time."""
    row = await (
        await connection.execute("select pg_total_relation_size(%s::regclass)", (day.table,))
    ).fetchone()
    size_bytes = int(row[0]) if row and row[0] is not None else 0

    async def last(within: AsyncConnection) -> None:
        await account.correct(within)
        await forget_sheets(within, day)

    try:
        account = await Account.open(connection, day.table)
        async with connection.transaction():
            await account.tell(connection)
        done = await attaching.leave(
            connection, day.partition, account=last, commit=account.commit, sleep=sleep
        )
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return None
    return Shed(day.table, account.records, size_bytes) if done else None
