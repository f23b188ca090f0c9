"""What a question would cost, before it is asked: sums of block summaries, nothing is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading import blocks, sheets
from outrider_collector.store.reading.expressions import of_streams
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Cost

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider.filter import Filter

_COST: Final = sql.SQL("""
    select coalesce(sum(n) filter (where opened), 0)::bigint, count(*) filter (where opened),
           count(*)
    from (select b.n, {opened} as opened from {blocks} offset 0) tested
    """)


async def cost(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
) -> Cost:
    """Return how much a search of the whole range would look through. Raises QUERY_TIMEOUT."""
    low, high = max(since, blocks.EARLIEST), min(until, blocks.LATEST)
    compiled = compile_filter(filter)
    async with snapshot(conn) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        parameters = {**conditions.parameters, **scope.parameters, **blocks.between(low, high)}
        answers = await sheets.left_out(open_snapshot, conditions, parameters)
        source = sheets.asked(conditions, by_sheets=answers is not None)
        row = await open_snapshot.row(
            _COST.format(blocks=source.blocks, opened=source.opened),
            {**parameters, **(answers or {})},
        )
    assert row is not None  # noqa: S101  an aggregate always returns one row
    return Cost(*row)
