"""Hours of fresh blocks: made ahead, dropped in time, never in the way of what is being written.

``blocks_fresh`` is partitioned by hour of arrival, by the database's clock. There is no default
partition: an insert that finds no hour fails, moves nothing, and the agents keep what they hold.
(A default partition would forbid DETACH CONCURRENTLY, and every new hour would have to scan it.)

An hour is made by CREATE TABLE and ATTACH, and removed by DETACH CONCURRENTLY and DROP, with a lock
timeout of 200 ms and repeats. CREATE .. PARTITION OF and DROP of an attached partition want an
exclusive lock on the parent: they would queue behind one long reader, and all ingest behind them.

Values are compressed by lz4 where the server has it. Where it has only pglz, which halves ingest,
big columns stay uncompressed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

HOURS_AHEAD = 26
"""More than a day: a housekeeper that fails at night can be mended in the morning."""

_PARENT = "blocks_fresh"
_TRIES = 20
_PAUSE_S = 0.25
# Every column whose value can be large.
_BIG_COLUMNS = (
    "ts", "observed_at", "stream", "stream_offset", "severity", "message", "logger", "event",
    "error_code", "trace_id", "correlation_id", "attributes",
)  # fmt: skip


def partition_name(hour: datetime) -> str:
    """Return the name of the partition that holds what arrives in ``hour``."""
    return f"{_PARENT}_{hour.astimezone(UTC):%Y%m%d%H}"


def partition_hour(name: str) -> datetime | None:
    """Return the hour that a partition's name says; None for any other table."""
    digits = name.removeprefix(f"{_PARENT}_")
    if digits == name or len(digits) != 10 or not digits.isdigit():
        return None
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%z")
    except ValueError:
        return None


async def ensure_ahead(
    connection: AsyncConnection,
    hours: int = HOURS_AHEAD,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[str]:
    """Make the partitions of the present hour and ``hours`` more; return the names made.

    The connection is in autocommit mode and outside a transaction. Safe to call by many at once.
    Raises the driver's LockNotAvailable when the parent stays locked for some seconds.
    """
    missing = await _missing_hours(connection, hours)
    if not missing:
        return []
    lz4 = await has_lz4(connection)
    return [
        partition_name(hour)
        for hour in missing
        if await _make(connection, hour, lz4=lz4, sleep=sleep)
    ]


async def hours_left(connection: AsyncConnection) -> int:
    """Return for how many whole hours after the present one partitions exist without a hole."""
    cursor = await connection.execute("select date_trunc('hour', now())")
    row = await cursor.fetchone()
    present: datetime = row[0] if row else datetime.now(UTC)
    there = {name for name, _ in await _attached(connection)}
    left = 0
    while partition_name(present + timedelta(hours=left + 1)) in there:
        left += 1
    return left


async def drop_before(
    connection: AsyncConnection,
    cutoff: datetime,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[str]:
    """Drop every hour that ended at or before ``cutoff``; return the names dropped.

    What an interrupted call left (a detach that is pending, a detached table) is finished first.
    """
    for name, pending in await _attached(connection):
        hour = partition_hour(name)
        if hour is None or (hour + timedelta(hours=1) > cutoff and not pending):
            continue
        detach, finalize = _detach(name, pending=pending), _detach(name, pending=True)
        await _patiently(connection, detach, sleep, finalize)
    dropped = []
    for name in await _detached(connection):
        hour = partition_hour(name)
        if hour is not None and hour + timedelta(hours=1) <= cutoff:
            await _patiently(
                connection, sql.SQL("drop table if exists {}").format(sql.Identifier(name)), sleep
            )
            dropped.append(name)
    return dropped


async def has_lz4(connection: AsyncConnection) -> bool:
    """Return whether the server was built with lz4 for TOAST."""
    cursor = await connection.execute(
        "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _missing_hours(connection: AsyncConnection, hours: int) -> list[datetime]:
    cursor = await connection.execute(
        "select h from generate_series(date_trunc('hour', now()),"
        " date_trunc('hour', now()) + make_interval(hours => %s), interval '1 hour') h",
        (hours,),
    )
    wanted = [row[0] for row in await cursor.fetchall()]
    there = {name for name, _ in await _attached(connection)}
    return [hour for hour in wanted if partition_name(hour) not in there]


async def _attached(connection: AsyncConnection) -> list[tuple[str, bool]]:
    cursor = await connection.execute(
        "select c.relname::text, i.inhdetachpending from pg_inherits i"
        " join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'blocks_fresh'::regclass order by 1"
    )
    return await cursor.fetchall()


async def _detached(connection: AsyncConnection) -> list[str]:
    cursor = await connection.execute(
        "select c.relname::text from pg_class c where c.relkind = 'r' and not c.relispartition"
        " and c.relnamespace = (select relnamespace from pg_class where oid = %s::regclass)"
        " and c.relname like 'blocks\\_fresh\\_%%' order by 1",
        (_PARENT,),
    )
    return [name for (name,) in await cursor.fetchall()]


async def _make(
    connection: AsyncConnection,
    hour: datetime,
    *,
    lz4: bool,
    sleep: Callable[[float], Awaitable[None]],
) -> bool:
    """Make and attach one hour; False when another process was first."""
    for last in (n == _TRIES - 1 for n in range(_TRIES)):
        try:
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '200ms'")
                await _create(connection, hour, lz4=lz4)
                await _attach(connection, hour)
        except (
            psycopg.errors.DuplicateTable,
            psycopg.errors.DuplicateObject,  # of the type that goes with a table
            psycopg.errors.UniqueViolation,
        ):
            # Made by another process; or detached by hand, with the hour still to come.
            return await _attach_again(connection, hour)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if last:
                raise
            await sleep(_PAUSE_S)
        else:
            return True
    return False


async def _create(connection: AsyncConnection, hour: datetime, *, lz4: bool) -> None:
    child = sql.Identifier(partition_name(hour))
    how = sql.SQL("set compression lz4") if lz4 else sql.SQL("set storage external")
    columns = sql.SQL(", ").join(
        sql.SQL("alter column {} {}").format(sql.Identifier(name), how) for name in _BIG_COLUMNS
    )
    await connection.execute(
        sql.SQL("create table {} (like {} including defaults)").format(
            child, sql.Identifier(_PARENT)
        )
    )
    await connection.execute(sql.SQL("alter table {} {}").format(child, columns))


async def _attach(connection: AsyncConnection, hour: datetime) -> None:
    await connection.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            sql.Identifier(_PARENT),
            sql.Identifier(partition_name(hour)),
            hour.isoformat(),
            (hour + timedelta(hours=1)).isoformat(),
        )
    )


async def _attach_again(connection: AsyncConnection, hour: datetime) -> bool:
    if partition_name(hour) in {name for name, _ in await _attached(connection)}:
        return False
    try:
        await _attach(connection, hour)
    except psycopg.errors.WrongObjectType:
        return False  # attached by another process since we looked
    return True


def _detach(name: str, *, pending: bool) -> sql.Composed:
    return sql.SQL("alter table {} detach partition {} {}").format(
        sql.Identifier(_PARENT),
        sql.Identifier(name),
        sql.SQL("finalize") if pending else sql.SQL("concurrently"),
    )


async def _patiently(
    connection: AsyncConnection,
    statement: sql.Composed,
    sleep: Callable[[float], Awaitable[None]],
    if_begun: sql.Composed | None = None,
) -> None:
    """Run one statement outside a transaction with a short lock timeout, again and again.

    ``if_begun`` goes on with a detach whose first half was done when its lock timeout struck.
    """
    await connection.execute("set lock_timeout = '200ms'")
    try:
        for last in (n == _TRIES - 1 for n in range(_TRIES)):
            try:
                await connection.execute(statement)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                if if_begun is None or last:
                    raise
                statement = if_begun
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if last:
                    raise
                await sleep(_PAUSE_S)
            else:
                return
    finally:
        if not connection.closed:
            await connection.execute("set lock_timeout = '10s'")
