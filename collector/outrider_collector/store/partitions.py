"""Hours of fresh blocks: made ahead, gone when they are empty, never in the way of what is written.

``blocks_fresh`` is partitioned by hour of arrival, by the database's clock. There is no default
partition: an insert that finds no hour fails, moves nothing, and the agents keep what they hold.
(A default partition would forbid DETACH CONCURRENTLY, and every new hour would have to scan it.)

An hour goes once the compactor has emptied it: after it is over, locked and found empty (see
:mod:`~outrider_collector.store.attaching`, which also makes and removes it in nobody's way). One
with blocks stays until every record in it is older than the longest retention.

Values are compressed by lz4 where the server has it. Where it has only pglz, which halves ingest,
big columns stay uncompressed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from outrider_collector.store import attaching
from outrider_collector.store.attaching import Partition
from outrider_collector.store.record_columns import RECORD_COLUMNS

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.attaching import Sleep

HOURS_AHEAD = 26
"""More than a day: a housekeeper that fails at night can be mended in the morning."""
EMPTY_AFTER = timedelta(minutes=10)
"""An empty hour goes so long after its end: no transaction that began within it is still open."""

PARENT = "blocks_fresh"
_ANY_BLOCK = sql.SQL("true")


def partition_name(hour: datetime) -> str:
    """Return the name of the partition that holds what arrives in ``hour``."""
    return f"{PARENT}_{hour.astimezone(UTC):%Y%m%d%H}"


def partition_hour(name: str) -> datetime | None:
    """Return the hour that a partition's name says; None for any other table."""
    digits = name.removeprefix(f"{PARENT}_")
    if digits == name or len(digits) != 10 or not digits.isdigit():
        return None
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%z")
    except ValueError:
        return None


async def ensure_ahead(
    connection: AsyncConnection, hours: int = HOURS_AHEAD, *, sleep: Sleep = asyncio.sleep
) -> list[str]:
    """Make the partitions of the present hour and ``hours`` more; return the names made.

    The connection is in autocommit mode and outside a transaction. Safe to call by many at once.
    Raises the driver's LockNotAvailable when the parent stays locked for some seconds.
    """
    missing = await _missing_hours(connection, hours)
    if not missing:
        return []
    how = sql.SQL("set compression lz4" if await has_lz4(connection) else "set storage external")
    columns = sql.SQL("{}, {}").format(altered(RECORD_COLUMNS, how), without_statistics())
    return [
        partition_name(hour)
        for hour in missing
        if await attaching.make(connection, _of(hour), columns, sleep=sleep)
    ]


async def hours_left(connection: AsyncConnection) -> int:
    """Return for how many whole hours after the present one partitions exist without a hole."""
    present = await _present_hour(connection)
    there = {name for name, _ in await attaching.attached(connection, PARENT)}
    left = 0
    while partition_name(present + timedelta(hours=left + 1)) in there:
        left += 1
    return left


async def drop_old(
    connection: AsyncConnection, now: datetime, cutoff: datetime, *, sleep: Sleep = asyncio.sleep
) -> list[str]:
    """Drop each hour that ended before ``cutoff``, and each that is over and empty.

    Returns the names dropped. What an interrupted call left (a detach that is pending, a detached
    table) is finished first. ``now`` is the database's clock.
    """
    dropped = []
    for name in await attaching.detached(connection, PARENT):
        hour = partition_hour(name)
        if (
            hour is not None
            and _over(hour, now)
            and await attaching.drop_detached(
                connection, _of(hour), keep=_keep(hour, cutoff), sleep=sleep
            )
        ):
            dropped.append(name)
    for name, pending in await attaching.attached(connection, PARENT):
        hour = partition_hour(name)
        if hour is None or not (pending or _over(hour, now)):
            continue
        keep = _keep(hour, cutoff)
        if await attaching.leave(connection, _of(hour), keep=keep, pending=pending, sleep=sleep):
            dropped.append(name)
    return sorted(dropped)


async def has_lz4(connection: AsyncConnection) -> bool:
    """Return whether the server was built with lz4 for TOAST."""
    cursor = await connection.execute(
        "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


def without_statistics() -> sql.Composed:
    """Return the actions of ALTER TABLE that keep ANALYZE from reading records.

    No plan depends on what is inside these arrays, and the server's own ANALYZE, once a minute
    where blocks arrive, would decompress all of them and count their elements.
    """
    return altered(RECORD_COLUMNS, sql.SQL("set statistics 0"))


def altered(columns: tuple[str, ...], how: sql.SQL) -> sql.Composed:
    """Return the actions of ALTER TABLE that do ``how`` to each column."""
    return sql.SQL(", ").join(
        sql.SQL("alter column {} {}").format(sql.Identifier(name), how) for name in columns
    )


def _over(hour: datetime, now: datetime) -> bool:
    return hour + timedelta(hours=1) + EMPTY_AFTER <= now


def _keep(hour: datetime, cutoff: datetime) -> sql.SQL | None:
    return None if hour + timedelta(hours=1) <= cutoff else _ANY_BLOCK


async def _missing_hours(connection: AsyncConnection, hours: int) -> list[datetime]:
    present = await _present_hour(connection)
    wanted = [present + timedelta(hours=ahead) for ahead in range(hours + 1)]
    there = {name for name, _ in await attaching.attached(connection, PARENT)}
    return [hour for hour in wanted if partition_name(hour) not in there]


async def _present_hour(connection: AsyncConnection) -> datetime:
    cursor = await connection.execute("select date_trunc('hour', now())")
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  a select without from returns one row
    hour: datetime = row[0]
    return hour


def _of(hour: datetime) -> Partition:
    return Partition(
        PARENT,
        partition_name(hour),
        sql.Literal(hour.isoformat()),
        sql.Literal((hour + timedelta(hours=1)).isoformat()),
    )
