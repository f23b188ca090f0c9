"""Tables of compacted blocks: one for each day and class, made when a move needs it.

They are never in the way of ingest, which writes to the fresh level only, so none is made ahead. A
day's table goes when its newest arrival is older than the retention of its class: retention counts
from arrival and means "at least".
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from outrider_collector.store import attaching, partitions
from outrider_collector.store.attaching import Partition
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.record_columns import RECORD_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from outrider_collector.store.attaching import Sleep
    from outrider_collector.store.compaction.classes import Retention

PARENT = "blocks_compacted"
_NEVER_COMPARED: Final = ("bloom", "minute_counts", "received_at")
_FORGET: Final = "delete from block_sheets where day = %s and class = %s"


class Day(NamedTuple):
    """What one table holds."""

    begin: datetime
    """Midnight UTC."""
    record_class: RecordClass

    @property
    def table(self) -> str:
        """The name of its table."""
        return f"{PARENT}_{self.begin.astimezone(UTC):%Y%m%d}_{self.record_class.label}"

    @classmethod
    def of_table(cls, name: str) -> Day | None:
        """Return what a table's name says; None for any other table."""
        digits, _, label = name.removeprefix(f"{PARENT}_").partition("_")
        try:
            begin = datetime.strptime(f"{digits}+0000", "%Y%m%d%z")
            return cls(begin, RecordClass[label.upper()])
        except (ValueError, KeyError):
            return None

    @property
    def partition(self) -> Partition:
        """The table as a part of its parent."""
        begin, number = sql.Literal(self.begin.isoformat()), int(self.record_class)
        bound = sql.SQL("{}, {}")
        return Partition(
            PARENT,
            self.table,
            bound.format(begin, sql.Literal(number)),
            bound.format(begin, sql.Literal(number + 1)),
        )


async def ensure(
    connection: AsyncConnection, days: Iterable[Day], *, sleep: Sleep = asyncio.sleep
) -> list[str]:
    """Make the tables that are missing; return their names.

    The connection is in autocommit mode and outside a transaction.
    """
    there = {name for name, _ in await attaching.attached(connection, PARENT)}
    missing = [day for day in sorted(set(days)) if day.table not in there]
    if not missing:
        return []
    columns = sql.SQL("{}, {}, {}").format(
        partitions.altered(("bloom",), sql.SQL("set storage external")),
        partitions.altered(_NEVER_COMPARED, sql.SQL("set statistics 0")),
        partitions.without_statistics(),
    )
    if await partitions.has_lz4(connection):
        big = partitions.altered((*RECORD_COLUMNS, "received_at"), sql.SQL("set compression lz4"))
        columns = sql.SQL("{}, {}").format(columns, big)
    return [
        day.table
        for day in missing
        if await attaching.make(connection, day.partition, columns, sleep=sleep)
    ]


async def forget_sheets(within: AsyncConnection, day: Day) -> None:
    """Remove the sheets of a day: part of the transaction that drops its table, which is locked."""
    await within.execute(_FORGET, (day.begin, int(day.record_class)))


async def drop_old(
    connection: AsyncConnection,
    now: datetime,
    retention: Retention,
    *,
    sleep: Sleep = asyncio.sleep,
) -> list[str]:
    """Drop the tables whose newest record arrived longer ago than its class is kept."""
    dropped = []
    for name in await attaching.detached(connection, PARENT):
        day = Day.of_table(name)
        if day is not None and await attaching.drop_detached(
            connection,
            day.partition,
            keep=_younger(day, now, retention),
            account=partial(forget_sheets, day=day),
            sleep=sleep,
        ):
            dropped.append(name)
    for name, pending in await attaching.attached(connection, PARENT):
        day = Day.of_table(name)
        if day is None:
            continue
        # Arrival is at most an hour before the event: before that, nothing can be old enough.
        if not pending and day.begin - timedelta(hours=1) > now - retention[day.record_class]:
            continue
        keep = _younger(day, now, retention)
        if await attaching.leave(
            connection,
            day.partition,
            keep=keep,
            pending=pending,
            account=partial(forget_sheets, day=day),
            sleep=sleep,
        ):
            dropped.append(name)
    return sorted(dropped)


def _younger(day: Day, now: datetime, retention: Retention) -> sql.Composed:
    cutoff = now - retention[day.record_class]
    return sql.SQL("received_max >= {}").format(sql.Literal(cutoff.isoformat()))
