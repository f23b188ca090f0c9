"""Reading log records: pages, counts, one record and its surroundings, and the live tail.

All functions take a connection of the read role that is idle, and a filter; ``since`` is inclusive
and ``until`` exclusive, both in event time. Records are ordered by (ts, stream, stream_offset).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.around import context, record
from outrider_collector.store.reading.counts import count, histogram
from outrider_collector.store.reading.expressions import of_streams
from outrider_collector.store.reading.facets import facets
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.gaps import gap, gaps
from outrider_collector.store.reading.session import DEFAULT_TIMEOUT_MS, snapshot
from outrider_collector.store.reading.slices import Slices
from outrider_collector.store.reading.tail import tail
from outrider_collector.store.reading.types import Cursor, LogRow, Page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider.filter import Filter

__all__ = [
    "context",
    "count",
    "export",
    "facets",
    "gap",
    "gaps",
    "histogram",
    "record",
    "search",
    "tail",
]

MOST_ROWS = 1_000
"""A page holds at most so many records."""

EXPORT_CHUNK = 5_000
EXPORT_SLICE_RECORDS = 200_000
EXPORT_TIMEOUT_MS = 60_000
"""For one chunk of an export, never for the whole."""


async def search(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    limit: int = 100,
    *,
    after: Cursor | None = None,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
    enough: Callable[[], bool] = lambda: False,
) -> Page:
    """Return the newest matches of the range, or those that follow ``after``, as one snapshot.

    ``enough`` is asked after each part of the range: True ends the page there, ``partial``.

    ``limit`` is cut to 1,000. Paging with ``Page.next`` shows each record of the range that was
    there at the first page exactly once. Raises QUERY_TIMEOUT.
    """
    limit = min(max(limit, 1), MOST_ROWS)
    slices = Slices(since, until, after)
    hits: list[blocks.Hit] = []
    read = total = 0
    stopped = False
    compiled = compile_filter(filter)
    async with snapshot(conn, timeout_ms) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        # One hit more than wanted tells whether there is a next page.
        while len(hits) <= limit and scope.services and not (slices.done or stopped):
            part = await slices.read(open_snapshot, scope, conditions, limit + 1 - len(hits))
            hits += part.hits
            read += part.blocks_read
            total += part.blocks_total
            stopped = enough()
        rows = await blocks.rows(open_snapshot, hits[:limit])
    if len(hits) > limit:
        return Page(rows, hits[limit - 1].cursor, read, total)
    if stopped and scope.services and not slices.done:
        # Before every record of the first moment that was not looked at.
        return Page(rows, Cursor(slices.high, 0, 0), read, total, partial=True)
    return Page(rows, None, read, total)


async def export(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    *,
    after: Cursor | None = None,
    chunk: int = EXPORT_CHUNK,
) -> AsyncGenerator[list[LogRow]]:
    """Yield all matches of the range, newest first, in chunks, in constant memory.

    Each chunk is one short transaction that continues after the last record before it, so an
    export of hours holds no snapshot back. It equals the search: what arrives meanwhile is
    included where its time is older than what was already given. Go on after an interruption with
    ``after``. The connection may be used by nobody else until the iterator is closed.
    """
    slices = Slices(since, until, after)
    compiled = compile_filter(filter)
    while not slices.done:
        async with snapshot(conn, EXPORT_TIMEOUT_MS) as open_snapshot:
            conditions = await of_streams(open_snapshot, compiled)
            scope = await blocks.scope(open_snapshot, conditions)
            if not scope.services:
                return
            part = await slices.read(
                open_snapshot, scope, conditions, chunk, most_records=EXPORT_SLICE_RECORDS
            )
            rows = await blocks.rows(open_snapshot, part.hits)
        if rows:
            yield rows
