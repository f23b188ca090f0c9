"""The live tail: records in the order in which they were committed.

The feed names each commit; a block names its commit. Whoever remembers the last feed number it has
seen misses nothing over a lost connection. A tail that is far behind does not try to show what
nobody could read: it shows the newest matches and counts the ones it passed over. Records that the
compactor has moved meanwhile (they are minutes old) have lost their commit; they are counted among
those that were not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.expressions import answered_from, of_streams
from outrider_collector.store.reading.feed import commits_after
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import TailPage

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider.filter import Filter

MOST_RECORDS = 100_000
"""Blocks of at most so many records are opened for one page of the tail."""

MOST_COMMITS = 100_000
"""A tail that is further behind than this begins at the newest so many commits."""

_OPENED: Final = sql.SQL("""
    with new as materialized (
        select * from unnest(%(numbers)s::bigint[], %(commits)s::bigint[]) as new(number, commit_id)
    ), block as materialized (
        select {place}, new.number, b.n,
               sum(b.n) over (order by new.number desc, b.block desc
                              rows unbounded preceding) as records
        from new join blocks b on b.commit_id = new.commit_id
        where b.commit_id = any(%(commits)s::bigint[])
          and b.received_max >= %(oldest)s::timestamptz - interval '1 hour'
          and ({block})
    )
    """)

_CANDIDATES: Final = sql.SQL("""
    {opened}
    select r.*
    from block p
    cross join lateral (select {columns} from blocks b where {at_place}) r
    where p.records - p.n < %(most)s
    """)

_HITS: Final = sql.SQL("""
    {opened}, match as materialized (
        select p.partition, p.block, p.received_min, p.day, u.place, u.ts, u.stream,
               u.stream_offset, p.number
        from block p
        cross join lateral (
            select {columns}, generate_series(1, b.n) as place
            from blocks b where {at_place}
        ) u
        where p.records - p.n < %(most)s and {record}
    ), shown as (
        select *, number as at_number from match
        order by number desc, ts desc, stream desc, stream_offset desc
        limit %(limit)s
    ), sums as (
        select (select count(*) from match) as matches,
               (select coalesce(sum(n), 0)::bigint from block
                where records - n >= %(most)s)
               + greatest(%(stored)s - (
                    select coalesce(sum(b.n), 0)::bigint from blocks b
                    where b.commit_id = any(%(commits)s::bigint[])
                      and b.received_max >= %(oldest)s::timestamptz - interval '1 hour'
               ), 0) as unread
    )
    select sums.matches, sums.unread, s.partition, s.block::text, s.received_min,
           s.day, s.place, s.ts, s.stream, s.stream_offset
    from sums left join shown s on true
    order by s.number, s.ts, s.stream, s.stream_offset
    """)


async def tail(
    conn: AsyncConnection[Any],
    after_feed_number: int,
    filter: Filter,  # noqa: A002  the word users know
    limit: int = 500,
    *,
    most_records: int = MOST_RECORDS,
) -> TailPage:
    """Return matches committed after a feed number, in commit order, and the number reached.

    Start with ``feed.last`` to see only what is new. Where there are more matches than ``limit``,
    the newest are returned and ``skipped`` says how many are not.
    """
    compiled = compile_filter(filter)
    async with snapshot(conn) as open_snapshot:
        new = await commits_after(open_snapshot, after_feed_number, MOST_COMMITS)
        if not new.numbers:
            return TailPage([], new.last, 0)
        parameters = {
            **new.parameters,
            "stored": new.records,
            "limit": limit,
            "most": most_records,
        }
        conditions = await of_streams(open_snapshot, compiled)
        opened = _OPENED.format(block=conditions.block, place=blocks.PLACE)
        candidates = _CANDIDATES.format(
            opened=opened,
            columns=blocks.unnested(conditions.candidate_columns),
            at_place=blocks.AT_PLACE,
        )
        conditions = await answered_from(candidates, open_snapshot, conditions, parameters)
        found = await open_snapshot.rows(
            _HITS.format(
                opened=opened,
                at_place=blocks.AT_PLACE,
                columns=blocks.unnested({"ts", "stream", "stream_offset"} | conditions.columns),
                record=conditions.record,
            ),
            {**conditions.parameters, **parameters},
        )
        matches, unread = found[0][:2]
        hits = [blocks.Hit(*row[2:]) for row in found if row[2] is not None]
        records = {row.cursor: row for row in await blocks.rows(open_snapshot, hits)}
    rows = [records[hit.cursor] for hit in hits]
    return TailPage(rows, new.last, matches - len(rows), unread)
