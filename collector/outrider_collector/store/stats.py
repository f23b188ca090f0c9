"""What the store holds, in figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_STATS = """
select
    b.records, b.blocks, b.oldest, b.newest,
    b.fresh_records, b.fresh_blocks,
    (select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint from pg_inherits
        where inhparent in ('blocks_fresh'::regclass, 'blocks_compacted'::regclass)) as block_bytes,
    (select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint from pg_inherits
        where inhparent = 'blocks_fresh'::regclass) as fresh_bytes,
    pg_total_relation_size('block_sheets') as sheet_bytes,
    (select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class
        where relkind = 'r' and not relispartition and oid <> 'block_sheets'::regclass
        and relnamespace = current_schema()::regnamespace) as other_bytes,
    (select count(*) from pg_inherits
        where inhparent in ('blocks_fresh'::regclass, 'blocks_compacted'::regclass)) as partitions,
    (select count(*) from streams) as streams,
    (select count(*) from stream_info where closed_at is null) as open_streams,
    (select count(*) from gaps) as gaps,
    (select count(*) from quarantine) as quarantined,
    (select coalesce(max(number), 0) from feed) as feed_number
from (
    select coalesce(sum(n), 0)::bigint as records, count(*) as blocks,
        min(received_min) as oldest, max(received_max) as newest,
        coalesce(sum(n) filter (where class is null), 0)::bigint as fresh_records,
        count(*) filter (where class is null) as fresh_blocks
    from blocks
) b
"""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and sizes of everything kept; sizes include indexes."""

    records: int
    blocks: int
    oldest: datetime | None
    newest: datetime | None
    fresh_records: int
    fresh_blocks: int
    block_bytes: int
    fresh_bytes: int
    sheet_bytes: int
    """Of the filters of compacted blocks once more, as searches read them; not in block_bytes."""
    other_bytes: int
    partitions: int
    streams: int
    open_streams: int
    gaps: int
    quarantined: int
    feed_number: int

    def document(self, **more: int) -> dict[str, Any]:
        """Return the figures as JSON values; times as ISO 8601."""
        values = asdict(self) | more
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()}


async def read_stats(connection: AsyncConnection) -> Stats:
    """Count everything; reads each block's summary, so it takes a while on a large store."""
    cursor = connection.cursor(row_factory=class_row(Stats))
    await cursor.execute(_STATS)
    stats = await cursor.fetchone()
    assert stats is not None  # noqa: S101  an aggregate returns one row
    return stats
