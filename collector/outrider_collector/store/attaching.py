"""Tables that join and leave a partitioned one while it is written and read, in nobody's way.

A table joins by CREATE TABLE and ATTACH, and leaves by DETACH CONCURRENTLY and DROP, with a lock
timeout of 200 ms and repeats. CREATE .. PARTITION OF and DROP of an attached partition want an
exclusive lock on the parent: they would queue behind one long reader, and all ingest behind them.

What must not be lost is looked at twice. Before it leaves, a table is locked against writers and
asked; after it has left, when nothing can be routed into it any more, it is locked and asked again,
and comes back where the answer is another one. A crash in between leaves a detached table, which
the next round treats the same way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from outrider_collector.store import feed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    Sleep = Callable[[float], Awaitable[None]]
    Account = Callable[[AsyncConnection], Awaitable[None]]
    """Tells what goes with a table, in the transaction that drops it."""

TRIES = 20
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Partition:
    """A table that is, was or will be a part of ``parent``."""

    parent: str
    name: str
    low: sql.Composable
    """Its bounds, as they stand between the parentheses."""
    high: sql.Composable


async def attached(connection: AsyncConnection, parent: str) -> list[tuple[str, bool]]:
    """Return the names of a parent's partitions; True: its detaching was interrupted."""
    cursor = await connection.execute(
        "select c.relname::text, i.inhdetachpending from pg_inherits i"
        " join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = %s::regclass order by 1",
        (parent,),
    )
    return await cursor.fetchall()


async def detached(connection: AsyncConnection, parent: str) -> list[str]:
    """Return the names of tables that look like partitions and are none."""
    cursor = await connection.execute(
        "select c.relname::text from pg_class c where c.relkind = 'r' and not c.relispartition"
        " and c.relnamespace = (select relnamespace from pg_class where oid = %s::regclass)"
        " and starts_with(c.relname::text, %s) order by 1",
        (parent, f"{parent}_"),
    )
    return [name for (name,) in await cursor.fetchall()]


async def make(
    connection: AsyncConnection,
    partition: Partition,
    columns: sql.Composable | None,
    *,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Make and attach a table; False when another process was first.

    ``columns`` are the actions of ALTER TABLE for its columns. It is guarded as its parent is
    (``guard_partition``) before it is attached. The connection is in autocommit mode
    and outside a transaction. Raises the driver's LockNotAvailable when the parent stays locked.
    """
    for last in (n == TRIES - 1 for n in range(TRIES)):
        try:
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '200ms'")
                await _create(connection, partition, columns)
                await _attach(connection, partition)
        except (
            psycopg.errors.DuplicateTable,
            psycopg.errors.DuplicateObject,  # of the type that goes with a table
            psycopg.errors.UniqueViolation,
        ):
            # Made by another process; or detached by hand, with its time still to come.
            return await attach_again(connection, partition)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if last:
                raise
            await sleep(PAUSE_S)
        else:
            return True
    return False


async def attach_again(connection: AsyncConnection, partition: Partition) -> bool:
    """Attach a table that is there; False when it is attached already."""
    if partition.name in {name for name, _ in await attached(connection, partition.parent)}:
        return False
    try:
        await _attach(connection, partition)
    except psycopg.errors.WrongObjectType:
        return False  # attached by another process since we looked
    return True


async def leave(
    connection: AsyncConnection,
    partition: Partition,
    *,
    keep: sql.Composable | None = None,
    pending: bool = False,
    account: Account | None = None,
    commit: Account | None = None,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Detach a partition and drop it; False where ``keep`` says that it must stay.

    ``keep`` is a condition on any of its rows; None: it goes whatever it holds. A lock that is not
    free in time before anything was done means False too: the next round tries again. ``account``
    is called in the transaction that drops the table, when nothing comes into it any more, and
    ``commit`` as the last of it: it may end it.
    """
    if keep is not None and not pending:
        try:
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '200ms'")
                if await _locked_and_kept(connection, partition.name, keep, "share row exclusive"):
                    return False
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return False
    detach, finalize = _detach(partition, pending=pending), _detach(partition, pending=True)
    await _patiently(connection, detach, sleep, finalize)
    return await drop_detached(
        connection, partition, keep=keep, account=account, commit=commit, sleep=sleep
    )


async def drop_detached(
    connection: AsyncConnection,
    partition: Partition,
    *,
    keep: sql.Composable | None,
    account: Account | None = None,
    commit: Account | None = None,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Drop a detached table; attach it again, and say False, where ``keep`` holds for a row."""
    for last in (n == TRIES - 1 for n in range(TRIES)):
        try:
            async with feed.transaction(connection):
                await connection.execute("set local lock_timeout = '200ms'")
                kept = keep is not None and await _locked_and_kept(
                    connection, partition.name, keep, "access exclusive"
                )
                if not kept:
                    await _drop(connection, partition.name, account)
                    if commit is not None:
                        await commit(connection)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if last:
                raise
            await sleep(PAUSE_S)
        else:
            if kept:
                await attach_again(connection, partition)
            return not kept
    return False


async def _locked_and_kept(
    connection: AsyncConnection, name: str, keep: sql.Composable, mode: str
) -> bool:
    await _lock(connection, name, mode)
    cursor = await connection.execute(
        sql.SQL("select exists (select from only {} where {})").format(sql.Identifier(name), keep)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _drop(connection: AsyncConnection, name: str, account: Account | None) -> None:
    if account is not None:
        await _lock(connection, name, "access exclusive")
        await account(connection)
    await connection.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(name)))


async def _lock(connection: AsyncConnection, name: str, mode: str) -> None:
    table = sql.Identifier(name)
    await connection.execute(sql.SQL("lock table only {} in {} mode").format(table, _MODES[mode]))


_MODES = {
    "share row exclusive": sql.SQL("share row exclusive"),
    "access exclusive": sql.SQL("access exclusive"),
}


async def _create(
    connection: AsyncConnection, partition: Partition, columns: sql.Composable | None
) -> None:
    child = sql.Identifier(partition.name)
    await connection.execute(
        sql.SQL("create table {} (like {} including defaults)").format(
            child, sql.Identifier(partition.parent)
        )
    )
    if columns is not None:
        await connection.execute(sql.SQL("alter table {} {}").format(child, columns))
    await connection.execute(
        "select guard_partition(%s::regclass, %s::regclass)", (partition.name, partition.parent)
    )


async def _attach(connection: AsyncConnection, partition: Partition) -> None:
    await connection.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            sql.Identifier(partition.parent),
            sql.Identifier(partition.name),
            partition.low,
            partition.high,
        )
    )


def _detach(partition: Partition, *, pending: bool) -> sql.Composed:
    return sql.SQL("alter table {} detach partition {} {}").format(
        sql.Identifier(partition.parent),
        sql.Identifier(partition.name),
        sql.SQL("finalize") if pending else sql.SQL("concurrently"),
    )


async def _patiently(
    connection: AsyncConnection,
    statement: sql.Composed,
    sleep: Sleep,
    if_begun: sql.Composed,
) -> None:
    """Run one statement outside a transaction with a short lock timeout, again and again.

    ``if_begun`` goes on with a detach whose first half was done when its lock timeout struck.
    """
    await connection.execute("set lock_timeout = '200ms'")
    try:
        for last in (n == TRIES - 1 for n in range(TRIES)):
            try:
                await connection.execute(statement)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                if last:
                    raise
                statement = if_begun
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if last:
                    raise
                await sleep(PAUSE_S)
            else:
                return
    finally:
        if not connection.closed:
            await connection.execute("set lock_timeout = '10s'")
