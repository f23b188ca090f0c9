"""``outrider store verify``: whether every block says the truth about its records.

Readers believe a block's summaries and its filter: a wrong one would hide records. Here each block
is opened and its summaries are made again; then each stream is looked through for a record that is
there twice, or lies beyond what was acknowledged, and each sheet is held against the filters it was
made of. Nothing is changed. One short statement for each
table and service, so that no snapshot is held for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.types.string import ByteaBinaryLoader

from outrider_collector.store import attaching, partitions
from outrider_collector.store.compaction import checksums, days, sheets, transpose
from outrider_collector.store.compaction.days import Day
from outrider_collector.store.record_columns import RECORD_COLUMNS, TEXTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

MOST_FINDINGS: Final = 100
"""Of one table or service at most so many are told."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked through in one step, and what was wrong with it."""

    what: str
    blocks: int
    records: int
    findings: list[str]


_OF_RECORDS: Final = sql.SQL("""
    select min(u.ts) as ts_min, max(u.ts) as ts_max, count(*) as n,
           array_agg(distinct u.stream) as streams,
           array[count(*) filter (where u.level = 0), count(*) filter (where u.level = 1),
                 count(*) filter (where u.level = 2), count(*) filter (where u.level = 3),
                 count(*) filter (where u.level = 4), count(*) filter (where u.level >= 5)]
               ::integer[] as levels
    from (select unnest(b.ts) as ts, unnest(b.stream) as stream,
                 (greatest(unnest(b.severity), 1) - 1) / 4 as level) u
    """)

_BLOCKS: Final = sql.SQL("""
    select b.ctid::text, b.n, array_remove(array[
        case when r.n <> b.n or {lengths} then 'number of records' end,
        case when (r.ts_min, r.ts_max) is distinct from (b.ts_min, b.ts_max)
             then 'range of time' end,
        case when r.levels is distinct from b.level_counts then 'counts by level' end,
        case when not (r.streams <@ b.stream_ids and b.stream_ids <@ r.streams)
             then 'streams' end,
        {more}
        null], null)
    from only {table} b cross join lateral ({of_records}) r
    """)

_MORE_OF_COMPACTED: Final = sql.SQL("""
        case when (select sum(c) from unnest(b.minute_counts) c) is distinct from b.n
             then 'counts by minute' end,
        case when (select (min(a), max(a)) from unnest(b.received_at) a)
                  is distinct from (b.received_min, b.received_max) then 'range of arrival' end,
        case when b.day + interval '1 day' <= b.ts_max then 'day' end,
    """)

_TEXTS: Final = sql.SQL("select b.ctid::text, b.bloom, {columns} from only {table} b")

_SHEETS: Final = sql.SQL("""
    select s.id, s.ids, s.team, s.filter_bytes, s.slice_bytes, s.ts_min, s.ts_max, s.slices
    from block_sheets s where s.day = %s and s.class = %s
    """)
_SHEETED: Final = sql.SQL("""
    select b.id, b.team, b.ts_min, b.ts_max, b.bloom from only {table} b where b.id = any(%s)
    """)

_SERVICES: Final = "select distinct team, service from stream_info order by 1, 2"

_NAMES: Final = """
    select u.stream, u.stream_offset, count(*)
    from (select unnest(b.stream) as stream, unnest(b.stream_offset) as stream_offset
          from blocks b where b.team = %s and b.service = %s and not b.replayed) u
    group by 1, 2 having count(*) > 1
    order by 1, 2 limit %s
    """

_BEYOND: Final = """
    select u.stream, max(u.stream_offset), s.committed
    from (select unnest(b.stream) as stream, unnest(b.stream_offset) as stream_offset
          from blocks b where b.team = %s and b.service = %s) u
    join streams s on s.id = u.stream
    group by u.stream, s.committed having max(u.stream_offset) >= s.committed
    order by 1 limit %s
    """


async def verify(connection: AsyncConnection, *, quick: bool = False) -> AsyncIterator[Looked]:
    """Look through everything, table by table, then service by service.

    ``quick`` leaves out the filters, for which every text is read. The connection is in autocommit
    mode.
    """
    for parent in (partitions.PARENT, days.PARENT):
        for table, _ in await attaching.attached(connection, parent):
            compacted = parent == days.PARENT
            looked = await _summaries(connection, table, compacted=compacted)
            if compacted and not quick:
                looked.findings.extend(await _filters(connection, table))
                looked.findings.extend(await _sheets(connection, table))
            if looked.blocks:
                yield looked
    cursor = await connection.execute(_SERVICES)
    for team, service in await cursor.fetchall():
        yield Looked(f"names of {service}", 0, 0, await _names(connection, team, service))


async def _summaries(connection: AsyncConnection, table: str, *, compacted: bool) -> Looked:
    columns = (*RECORD_COLUMNS, *(("received_at",) if compacted else ()))
    lengths = sql.SQL(" or ").join(
        sql.SQL("cardinality({}) <> b.n").format(sql.Identifier("b", name)) for name in columns
    )
    cursor = await connection.execute(
        _BLOCKS.format(
            table=sql.Identifier(table),
            # A column that is null has no length, which is not another one.
            lengths=sql.SQL("coalesce({}, false)").format(lengths),
            of_records=_OF_RECORDS,
            more=_MORE_OF_COMPACTED if compacted else sql.SQL(""),
        )
    )
    blocks = records = 0
    findings: list[str] = []
    for place, n, wrong in await cursor.fetchall():
        blocks, records = blocks + 1, records + n
        if wrong and len(findings) < MOST_FINDINGS:
            findings.append(f"block {place} of {table} is wrong about its {', '.join(wrong)}")
    return Looked(table, blocks, records, findings)


async def _filters(connection: AsyncConnection, table: str) -> list[str]:
    findings: list[str] = []
    query = _TEXTS.format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(sql.Identifier("b", name) for name in TEXTS),
    )
    # A cursor of the server: a table is larger than memory.
    async with connection.transaction(), connection.cursor("verify", binary=True) as cursor:
        cursor.itersize = 16
        cursor.adapters.register_loader("text", ByteaBinaryLoader)
        cursor.adapters.register_loader("uuid", ByteaBinaryLoader)
        await cursor.execute(query)
        async for place, bits, *columns in cursor:
            tokens = checksums.of_columns(dict(zip(TEXTS, columns, strict=True)))
            missing = checksums.missing_in(bits, tokens)
            if missing and len(findings) < MOST_FINDINGS:
                findings.append(
                    f"block {place.decode()} of {table} lacks {missing} of {len(tokens)} tokens "
                    "in its filter"
                )
    return findings


async def _sheets(connection: AsyncConnection, table: str) -> list[str]:
    """Hold every sheet of a table against the filters that it was made of."""
    day = Day.of_table(table)
    if day is None:
        return []
    findings: list[str] = []
    async with (
        connection.transaction(),
        connection.cursor("sheets", binary=True) as cursor,
        connection.cursor(binary=True) as of_blocks,
    ):
        cursor.itersize = 1
        await cursor.execute(_SHEETS, (day.begin, int(day.record_class)))
        async for sheet, ids, *said, slices in cursor:
            await of_blocks.execute(_SHEETED.format(table=sql.Identifier(table)), (ids,))
            blocks = {number: rest for number, *rest in await of_blocks.fetchall()}
            wrong = sum(
                number in blocks and not _is_told(said, kept, blocks[number])
                for number, kept in _columns_of(said, ids, slices)
            )
            if wrong and len(findings) < MOST_FINDINGS:
                findings.append(f"sheet {sheet} of {table} is wrong about {wrong} of its blocks")
    return findings


def _columns_of(
    said: Sequence[Any], ids: Sequence[UUID], slices: bytes
) -> Iterator[tuple[UUID, bytes]]:
    """Yield what a sheet keeps of each block; nothing fits a sheet of another shape."""
    _, filter_bytes, width, *_ = said
    fits = width == sheets.slice_bytes(len(ids)) and len(slices) == 8 * filter_bytes * width
    kept = transpose.filters_of(slices, len(ids)) if fits else [b""] * len(ids)
    yield from zip(ids, kept, strict=True)


def _is_told(said: Sequence[Any], kept: bytes, block: Sequence[Any]) -> bool:
    """Tell whether a sheet says the truth about a block."""
    sheet_team, _, _, low, high = said
    team, ts_min, ts_max, bits = block
    return bool(kept == bits and sheet_team == team and low <= ts_min and ts_max <= high)


async def _names(connection: AsyncConnection, team: int, service: str) -> list[str]:
    twice = await connection.execute(_NAMES, (team, service, MOST_FINDINGS))
    findings = [
        f"the record at offset {offset} of stream {stream} is there {count} times"
        for stream, offset, count in await twice.fetchall()
    ]
    beyond = await connection.execute(_BEYOND, (team, service, MOST_FINDINGS))
    findings += [
        f"stream {stream} has a record at offset {offset}, acknowledged is {committed}"
        for stream, offset, committed in await beyond.fetchall()
    ]
    return findings
