"""How the collectors and the database are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider.gap_reasons import ERASED
from outrider_collector.store.reading import replica
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Collector, StoreHealth

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot

COLLECTOR_SILENT_S = 30
"""A collector publishes every 5 s; after this long without a word it counts as gone."""

_COLLECTORS: Final = sql.SQL("""
    select name, started_at, seen_at, stopped_at,
           stopped_at is null and seen_at > {as_of} - make_interval(secs => {silent}),
           status
    from collector_states order by name
    """).format(silent=sql.Literal(COLLECTOR_SILENT_S), as_of=replica.AS_OF)

_PARTITIONS: Final = sql.SQL("""
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, count(*),
           min(bound.low),
           max(bound.high) filter (where i.inhparent = 'blocks_fresh'::regclass)
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    cross join lateral (
        select (found)[1]::timestamptz as low, (found)[2]::timestamptz as high
        from regexp_match(pg_get_expr(c.relpartbound, c.oid),
                          'FROM \\(''([^'']+)''.*TO \\(''([^'']+)''') as found
    ) bound
    where i.inhparent in ('blocks_fresh'::regclass, 'blocks_compacted'::regclass)
    """)

# Over the blocks of the last minute: cheap, because arrival is what partitions are made by.
_LAST_MINUTE: Final = sql.SQL("""
    select coalesce(sum(b.n), 0)::bigint, count(*),
           percentile_cont(0.5) within group (order by
               extract(epoch from b.received_at - (b.observed_at)[array_upper(b.observed_at, 1)])
               * 1000)
    from blocks_fresh b
    where b.received_at > now() - interval '1 minute'
    """)

_GAPS_TODAY: Final = sql.SQL("""
    select count(*), coalesce(sum(records), 0)::bigint from gaps
    where detected_at >= date_trunc('day', now()) and reason <> {erased}
    """).format(erased=sql.Literal(ERASED))

_SERVER: Final = sql.SQL("""
    select clock_timestamp(), current_setting('server_version'),
           pg_database_size(current_database()), (select coalesce(max(number), 0) from feed)
    """)


async def now(conn: AsyncConnection[Any]) -> datetime:
    """Return the database's clock."""
    async with snapshot(conn) as open_snapshot:
        return await select_now(open_snapshot)


async def select_now(open_snapshot: Snapshot) -> datetime:
    """Do what ``now`` does, inside a snapshot."""
    row = await open_snapshot.row(sql.SQL("select clock_timestamp()"))
    assert row is not None  # noqa: S101  a select without from returns one row
    moment: datetime = row[0]
    return moment


async def collectors(conn: AsyncConnection[Any]) -> list[Collector]:
    """Return what each collector last published, by name."""
    async with snapshot(conn) as open_snapshot:
        return await select_collectors(open_snapshot)


async def select_collectors(open_snapshot: Snapshot) -> list[Collector]:
    """Do what ``collectors`` does, inside a snapshot."""
    return [Collector(*row) for row in await open_snapshot.rows(_COLLECTORS)]


async def store(conn: AsyncConnection[Any]) -> StoreHealth:
    """Return how large the database is, and what came in during the last minute."""
    async with snapshot(conn) as open_snapshot:
        server = await open_snapshot.row(_SERVER)
        partitions = await open_snapshot.row(_PARTITIONS)
        minute = await open_snapshot.row(_LAST_MINUTE)
        gaps = await open_snapshot.row(_GAPS_TODAY)
    assert server and partitions and minute and gaps  # noqa: S101, PT018  aggregates return a row
    return StoreHealth(
        now=server[0],
        version=server[1],
        database_bytes=server[2],
        blocks_bytes=partitions[0],
        partitions=partitions[1],
        oldest_partition_from=partitions[2],
        newest_partition_to=partitions[3],
        lines_last_minute=minute[0],
        blocks_last_minute=minute[1],
        commit_delay_ms_p50=minute[2],
        gaps_today=gaps[0],
        lines_lost_today=gaps[1],
        feed_number=server[3],
    )
