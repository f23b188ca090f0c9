"""One move: blocks leave the fresh level and arrive on the other in one transaction.

    BEGIN, hold the lease
    DELETE .. RETURNING    the fresh blocks, by their place
    INSERT                 the compacted ones
    COMMIT

A crash before COMMIT leaves the fresh blocks where they were; after it the records are on the other
level. There is no moment at which a snapshot sees a record twice, or not at all, so readers need no
word about it. Rows of the fresh level are locked by nobody else, and its tables only in a mode that
writers do not feel: ingest never waits for a move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import tuple_row

from outrider.failpoint import failpoint
from outrider.instants import from_us
from outrider_collector.store import binary, leases
from outrider_collector.store.binary import (
    Int2Array,
    Int4Array,
    Int8Array,
    TextArray,
    TimestamptzArray,
)
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.days import Day
from outrider_collector.store.compaction.merge import FreshBlock, merge
from outrider_collector.store.compaction.plan import Candidate
from outrider_collector.store.compaction.raw import load_raw
from outrider_collector.store.pipeline import pipeline
from outrider_collector.store.record_columns import ARRAYS, NUMBERS, RECORD_COLUMNS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from psycopg import AsyncConnection

    from outrider_collector.store.compaction.merge import CompactedBlock, Piece
    from outrider_collector.store.compaction.plan import Move
    from outrider_collector.store.leases import Lease

MOST_CANDIDATES: Final = 50_000


_CANDIDATES: Final = sql.SQL("""
    select b.ctid::text, b.team, b.service, b.replayed, b.n,
           (coalesce(pg_column_size(b.message), 0) + coalesce(pg_column_size(b.attributes), 0)
            + 30 * b.n)::bigint, b.received_at
    from only {hour} b
    where b.received_at < clock_timestamp() - %s::interval
    order by b.received_at limit %s
    """)

_TAKE: Final = sql.SQL("""
    delete from only {hour} b where b.ctid = any(%s::tid[])
    returning b.team, b.service, b.replayed, b.received_at, {columns}
    """)

_INSERT: Final = (
    sql.SQL("""
    insert into blocks_compacted (day, class, team, service, replayed, n, ts_min, ts_max,
        received_min, received_max, level_counts, minute_counts, stream_ids, events, error_codes,
        bloom, received_at, {columns})
    values ({values})
    """)
    .format(
        columns=sql.SQL(", ").join(map(sql.Identifier, RECORD_COLUMNS)),
        values=sql.SQL(", ").join([sql.SQL("%s")] * (17 + len(RECORD_COLUMNS))),
    )
    .as_bytes()
)


@dataclass(frozen=True, slots=True)
class Moved:
    """What one move did."""

    blocks_before: int
    blocks_after: int
    records: int


async def candidates(connection: AsyncConnection, hour: str, age: timedelta) -> list[Candidate]:
    """Return the blocks of an hour's table that arrived longer ago than ``age``, oldest first."""
    cursor = await connection.execute(
        _CANDIDATES.format(hour=sql.Identifier(hour)), (age, MOST_CANDIDATES)
    )
    return [Candidate(*row) for row in await cursor.fetchall()]


async def move(connection: AsyncConnection, lease: Lease, hour: str, planned: Move) -> Moved:
    """Move blocks of an hour's table. Raises LeaseLost, and the driver's errors.

    The connection is in autocommit mode and knows the packed parameters
    (:func:`~outrider_collector.store.binary.register`).
    """
    try:
        return await _attempt(connection, lease, hour, planned)
    except DaysMissing as missing:
        await days.ensure(connection, missing.days)
    return await _attempt(connection, lease, hour, planned)


class DaysMissing(Exception):  # noqa: N818  the move is tried again when they are made
    """Tables that are wanted are not there."""

    def __init__(self, missing: Sequence[Day]) -> None:
        super().__init__(", ".join(day.table for day in missing))
        self.days = missing


async def _attempt(connection: AsyncConnection, lease: Lease, hour: str, planned: Move) -> Moved:
    async with connection.transaction():
        await leases.hold(connection, lease)
        fresh = await _take(connection, hour, planned.blocks)
        failpoint("compact/taken")
        pieces = list(merge(fresh))
        await require_days(connection, pieces)
        async with pipeline(connection):
            for piece in pieces:
                await insert(connection, piece.packed())
        failpoint("compact/inserted")
    failpoint("compact/committed")
    return Moved(len(fresh), len(pieces), sum(piece.places.size for piece in pieces))


async def _take(connection: AsyncConnection, hour: str, blocks: Sequence[str]) -> list[FreshBlock]:
    query = _TAKE.format(
        hour=sql.Identifier(hour),
        columns=sql.SQL(", ").join(sql.Identifier("b", name) for name in RECORD_COLUMNS),
    )
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        load_raw(cursor)
        await cursor.execute(query, (list(blocks),))
        return [_fresh(row) for row in await cursor.fetchall()]


def _fresh(row: tuple[Any, ...]) -> FreshBlock:
    team, service, replayed, received_at, *columns = row
    named = dict(zip(RECORD_COLUMNS, columns, strict=True))
    return FreshBlock(
        team=team,
        service=service.decode(),
        replayed=replayed,
        received_at=received_at,
        numbers={name: named[name] for name in NUMBERS},
        texts={name: named[name] for name in TEXTS},
    )


async def require_days(
    connection: AsyncConnection, blocks: Sequence[CompactedBlock | Piece]
) -> None:
    """Raise DaysMissing unless there is a table for each of the blocks."""
    needed = {_day_of(block) for block in blocks}
    cursor = await connection.execute(
        "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'blocks_compacted'::regclass and not i.inhdetachpending"
        " and c.relname::text = any(%s)",
        ([day.table for day in needed],),
    )
    row = await cursor.fetchone()
    if row is None or row[0] < len(needed):
        raise DaysMissing(sorted(needed))


async def insert(connection: AsyncConnection, block: CompactedBlock) -> None:
    """Insert one compacted block."""
    await connection.execute(
        _INSERT,
        (
            binary.timestamptz(block.day_us),
            binary.int2(block.record_class),
            binary.int4(block.team),
            binary.text(block.service),
            binary.boolean(block.replayed),
            binary.int4(block.n),
            binary.timestamptz(block.ts_min_us),
            binary.timestamptz(block.ts_max_us),
            binary.timestamptz(block.received_min_us),
            binary.timestamptz(block.received_max_us),
            Int4Array(block.level_counts),
            Int2Array(block.minute_counts),
            Int8Array(block.stream_ids),
            TextArray(block.events),
            TextArray(block.error_codes),
            binary.Bytea(block.bloom),
            TimestamptzArray(block.received_at),
            *(array(block.columns[name]) for name, array in ARRAYS.items()),
        ),
        prepare=True,
    )


def _day_of(block: CompactedBlock | Piece) -> Day:
    return Day(from_us(block.day_us), block.record_class)
