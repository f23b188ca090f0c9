"""Making sheets: the compactor's work when the blocks of a day are many.

A sheet is made of blocks that are in none, in one short transaction that only reads them. Who
deletes one of them meanwhile leaves an id in the sheet that matches nothing; who drops the day's
table waits for its lock and then removes its sheets too (:func:`.days.forget_sheets`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from outrider_collector.store import attaching, leases
from outrider_collector.store.compaction import sheets, transpose
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.days import PARENT, Day, forget_sheets

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import AsyncConnection

    from outrider_collector.store.leases import Lease

LEAST_BLOCKS: Final = 256
"""Of a day that still grows, so many at least go into a sheet: a larger one is worth the wait."""
LEAST_OF_OVER: Final = 16
"""The same of a day that has been over for a day: few come to it any more."""

_DUE: Final = sql.SQL("""
    select b.team, array_agg(b.id order by b.ts_max, b.id),
           {begin}::timestamptz < clock_timestamp() - interval '2 days'
    from only {table} b
    where b.id is not null
        and b.id not in (select unnest(s.ids) from block_sheets s
                         where s.day = {begin}::timestamptz and s.class = {number})
        and octet_length(b.bloom) <= {most}
    group by b.team, octet_length(b.bloom) having count(*) >= {least}
    """)
_DAYS: Final = "select distinct day, class from block_sheets"
_FILTERS: Final = sql.SQL("""
    select b.id, b.bloom, b.ts_min, b.ts_max from only {table} b where b.id = any(%s)
    order by b.ts_max, b.id
    """)
_INSERT: Final = """
    insert into block_sheets (day, class, team, ts_min, ts_max, filter_bytes, slice_bytes, ids,
        slices)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %b)
    """


class Due(NamedTuple):
    """Blocks of one table, team and size of filter that make a sheet."""

    table: str
    day: Day
    team: int
    ids: list[UUID]


async def due(connection: AsyncConnection) -> list[Due]:
    """Return the sheets that are to be made, the oldest days first. Reads each block's row."""
    found: list[Due] = []
    for table, pending in await attaching.attached(connection, PARENT):
        day = Day.of_table(table)
        if day is None or pending:
            continue
        query = _DUE.format(
            table=sql.Identifier(table),
            begin=sql.Literal(day.begin.isoformat()),
            number=sql.Literal(int(day.record_class)),
            most=sql.Literal(sheets.MOST_FILTER_BYTES),
            least=sql.Literal(LEAST_OF_OVER),
        )
        cursor = await connection.execute(query)
        for team, ids, is_over in await cursor.fetchall():
            least = LEAST_OF_OVER if is_over else LEAST_BLOCKS
            found += [Due(table, day, team, ids[piece]) for piece in sheets.pieces(len(ids), least)]
    return found


async def forget_lost(connection: AsyncConnection) -> None:
    """Remove the sheets of tables that are gone: an older version drops only the table."""
    there = {name for name, _ in await attaching.attached(connection, PARENT)}
    there |= set(await attaching.detached(connection, PARENT))
    cursor = await connection.execute(_DAYS)
    for begin, number in await cursor.fetchall():
        day = Day(begin, RecordClass(number))
        if day.table not in there:
            await forget_sheets(connection, day)


async def make(connection: AsyncConnection, lease: Lease, one: Due) -> bool:
    """Make one sheet; False where its blocks are gone. Raises LeaseLost, the driver's errors."""
    async with connection.transaction():
        await leases.hold(connection, lease)
        async with connection.cursor(binary=True) as cursor:
            await cursor.execute(_FILTERS.format(table=sql.Identifier(one.table)), (one.ids,))
            blocks = await cursor.fetchall()
            if not blocks:
                return False
            filters = [bloom for _, bloom, _, _ in blocks]
            await cursor.execute(
                _INSERT,
                (
                    one.day.begin,
                    int(one.day.record_class),
                    one.team,
                    min(ts_min for _, _, ts_min, _ in blocks),
                    max(ts_max for _, _, _, ts_max in blocks),
                    len(filters[0]),
                    sheets.slice_bytes(len(filters)),
                    [number for number, _, _, _ in blocks],
                    transpose.slices_of(filters),
                ),
            )
    return True
