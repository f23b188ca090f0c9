"""Months of the audit log: made ahead, gone when they are old and sealed, which is recorded.

A month goes as a whole table, and only when every row of it is sealed: the seals stay, so the log
says what was there, and ``outrider audit verify`` what was removed when by whom. That is recorded
in the log before the table goes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from outrider_collector.store import attaching
from outrider_collector.store.attaching import Partition
from outrider_collector.store.audit import log

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.attaching import Sleep

PARENT: Final = "audit_log"
RETIRED: Final = "audit.retention_applied"
"""The event of the rows that record a month's removal; their target is the month's end."""

_BEFORE: Final = "before "
_UNSEALED: Final = sql.SQL("id > (select coalesce(max(up_to_id), 0) from audit_seals)")


def table(month: datetime) -> str:
    """Return the name of the table of a month."""
    return f"{PARENT}_{month.astimezone(UTC):%Y%m}"


def month_of_table(name: str) -> datetime | None:
    """Return the month that a table's name says; None for any other table."""
    try:
        return datetime.strptime(f"{name.removeprefix(f'{PARENT}_')}+0000", "%Y%m%z")
    except ValueError:
        return None


def month_of(moment: datetime) -> datetime:
    """Return the start of a moment's month, UTC."""
    utc = moment.astimezone(UTC)
    return utc.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the start of the month after."""
    return month_of(month + timedelta(days=31))


async def retired_before(connection: AsyncConnection) -> datetime | None:
    """Return up to when retention removed rows, as the log itself records; None: it has not."""
    cursor = await connection.execute(
        "select max(target) from audit_log where event = %s and stream is null"
        " and starts_with(target, %s)",
        (RETIRED, _BEFORE),
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    try:
        return datetime.fromisoformat(row[0].removeprefix(_BEFORE))
    except ValueError:
        return None


async def ensure_ahead(
    connection: AsyncConnection, now: datetime, *, sleep: Sleep = asyncio.sleep
) -> list[str]:
    """Make the tables of the present month and the next; return the names of those made.

    The connection is in autocommit mode and outside a transaction.
    """
    there = {name for name, _ in await attaching.attached(connection, PARENT)}
    present = month_of(now)
    return [
        table(month)
        for month in (present, next_month(present))
        if table(month) not in there
        and await attaching.make(connection, _of(month), None, sleep=sleep)
    ]


async def drop_old(
    connection: AsyncConnection,
    now: datetime,
    keep: timedelta,
    *,
    sleep: Sleep = asyncio.sleep,
) -> list[str]:
    """Drop the months whose newest row arrived longer ago than ``keep``, once they are sealed."""
    dropped = []
    for name in await attaching.detached(connection, PARENT):
        month = month_of_table(name)
        if month is not None and await attaching.drop_detached(
            connection, _of(month), keep=_UNSEALED, sleep=sleep
        ):
            dropped.append(name)
    for name, pending in await attaching.attached(connection, PARENT):
        month = month_of_table(name)
        if month is None or not (pending or next_month(month) <= now - keep):
            continue
        if not pending and not await _record(connection, name, next_month(month), keep):
            break  # in order: what is recorded is all there was before a month's end
        if await attaching.leave(
            connection, _of(month), keep=_UNSEALED, pending=pending, sleep=sleep
        ):
            dropped.append(name)
    return sorted(dropped)


async def _record(connection: AsyncConnection, name: str, end: datetime, keep: timedelta) -> bool:
    """Record that a month goes, once; False while a row of it is not sealed."""
    target = f"{_BEFORE}{end:%Y-%m-%dT%H:%M:%SZ}"
    cursor = await connection.execute(
        sql.SQL(
            "select exists (select from only {} where {}),"
            " exists (select from audit_log where event = %s and target = %s and stream is null)"
        ).format(sql.Identifier(name), _UNSEALED),
        (RETIRED, target),
    )
    row = await cursor.fetchone()
    unsealed, recorded = row or (True, True)
    if unsealed:
        return False
    if not recorded:
        act = log.Act(RETIRED, "outrider", target, {"kept_days": keep.days, "table": name})
        async with connection.transaction():
            await log.add_act(connection, act)
    return True


def _of(month: datetime) -> Partition:
    return Partition(
        PARENT,
        table(month),
        sql.Literal(month.isoformat()),
        sql.Literal(next_month(month).isoformat()),
    )
