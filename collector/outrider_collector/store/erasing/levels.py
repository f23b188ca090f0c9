"""Blocks read and rewritten, on both levels.

Which blocks can hold a match is asked once for each level, fresh ones first: records only ever move
from there to the compacted level, so what the compactor takes meanwhile is found there. A block is
read without a lock; only one that has a match is taken out, looked at again, and put back without
it, in one transaction. What is left of a fresh block goes to the compacted level, as by a move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg import sql
from psycopg.rows import tuple_row

from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.merge import (
    CompactedBlock,
    FreshBlock,
    Records,
    merge,
    packed,
    picked,
)
from outrider_collector.store.compaction.raw import load_raw
from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.expressions import of_streams
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.record_columns import NUMBERS, RECORD_COLUMNS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from outrider.filter import Filter

CANDIDATES_TIMEOUT_MS: Final = 600_000

_CANDIDATES: Final = sql.SQL("""
    select b.partition::regclass::text, array_agg(b.block::text), array_agg(b.n)
    from blocks b
    where b.class is {null} and b.team = any(%(teams)s::integer[])
      and b.service = any(%(services)s::text[])
      and (%(stream_ids)s::bigint[] is null or b.stream_ids && %(stream_ids)s::bigint[])
      and {block}
    group by 1 order by 1
    """)

_COLUMNS: Final = sql.SQL(", ").join(sql.Identifier("b", name) for name in RECORD_COLUMNS)
_FRESH: Final = sql.SQL(
    "b.ctid::text, b.team, b.service, b.replayed, null::timestamptz, null::smallint,"
    " array_fill(b.received_at, array[b.n]), {}"
).format(_COLUMNS)
_COMPACTED: Final = sql.SQL(
    "b.ctid::text, b.team, b.service, b.replayed, b.day, b.class, b.received_at, {}"
).format(_COLUMNS)
_READ: Final = sql.SQL("select {values} from only {table} b where b.ctid = any(%s::tid[])")
_TAKE: Final = sql.SQL(
    "delete from only {table} b where b.ctid = any(%s::tid[]) returning {values}"
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Blocks of one table that can hold a match."""

    table: str
    fresh: bool
    blocks: list[str]
    """Their places."""
    sizes: list[int]
    """Records of each."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it is stored."""

    place: str
    team: int
    service: str
    replayed: bool
    day_us: int | None
    """None on the fresh level, as ``record_class``."""
    record_class: int | None
    records: Records

    def without(self, places: Sequence[int]) -> list[CompactedBlock]:
        """Return the blocks that hold what is left without the records at these places."""
        gone = set(places)
        left = [place for place in range(self.records.received.size) if place not in gone]
        if not left:
            return []
        rest = picked(self.records, np.array(left))
        if self.day_us is None or self.record_class is None:
            fresh = FreshBlock(
                team=self.team,
                service=self.service,
                replayed=self.replayed,
                received_at=int(rest.received[0]),
                numbers=rest.numbers,
                texts=rest.texts,
            )
            return [piece.packed() for piece in merge([fresh])]
        same = {"team": self.team, "service": self.service, "replayed": self.replayed}
        kind = RecordClass(self.record_class)
        return [packed(rest, day_us=self.day_us, record_class=kind, **same)]


async def candidates(
    connection: AsyncConnection, wanted: Filter, *, fresh: bool
) -> list[Candidates]:
    """Return the blocks of a level that can hold a match, by their tables."""
    compiled = compile_filter(wanted)
    async with snapshot(connection, CANDIDATES_TIMEOUT_MS) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        found = await open_snapshot.rows(
            _CANDIDATES.format(
                null=sql.SQL("null" if fresh else "not null"), block=conditions.block
            ),
            {**conditions.parameters, **scope.parameters},
        )
    return [Candidates(table, fresh, places, sizes) for table, places, sizes in found]


async def read(
    connection: AsyncConnection, table: str, places: Sequence[str], *, fresh: bool
) -> list[Block]:
    """Return the blocks at these places, of those that are still there."""
    return await _blocks(connection, _READ, table, places, fresh=fresh)


async def take(
    connection: AsyncConnection, table: str, places: Sequence[str], *, fresh: bool
) -> list[Block]:
    """Remove the blocks at these places and return them, of those that are still there."""
    return await _blocks(connection, _TAKE, table, places, fresh=fresh)


async def _blocks(
    connection: AsyncConnection, query: sql.SQL, table: str, places: Sequence[str], *, fresh: bool
) -> list[Block]:
    statement = query.format(table=sql.Identifier(table), values=_FRESH if fresh else _COMPACTED)
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        load_raw(cursor)
        await cursor.execute(statement, (list(places),))
        return [_block(row) for row in await cursor.fetchall()]


def _block(row: tuple[Any, ...]) -> Block:
    place, team, service, replayed, day_us, record_class, received, *columns = row
    named = dict(zip(RECORD_COLUMNS, columns, strict=True))
    records = Records(
        received, {name: named[name] for name in NUMBERS}, {name: named[name] for name in TEXTS}
    )
    return Block(place.decode(), team, service.decode(), replayed, day_us, record_class, records)
