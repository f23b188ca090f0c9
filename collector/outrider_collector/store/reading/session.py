"""One short transaction that sees one moment: what every answer of the reading side runs in.

REPEATABLE READ makes the statements of one answer see the same rows, so a page that is put
together from several slices is still one snapshot. READ ONLY is what the role may anyway. A time
limit ends what takes too long; JIT is off, and so are parallel workers but where the filters of
very many blocks are asked, because they would take cores from ingest to win milliseconds.
"""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from psycopg import pq, sql
from psycopg.rows import tuple_row

from outrider.errors import Fault, Reason
from outrider_collector.store.connect import driver_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from psycopg import AsyncConnection, AsyncCursor
    from psycopg.sql import SQL, Composed

DEFAULT_TIMEOUT_MS = 10_000
"""An answer takes at most about this long; QUERY_TIMEOUT afterwards."""


# Rows of a stream that are taken over together, where the client's library can do so.
_AT_ONCE: Final = 8 if pq.version() >= 170_000 else 1


class Snapshot:
    """An open transaction with a deadline."""

    def __init__(self, cursor: AsyncCursor[tuple[Any, ...]], timeout_ms: int) -> None:
        self._cursor = cursor
        self._deadline = time.monotonic() + timeout_ms / 1_000

    async def rows(
        self, query: SQL | Composed, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows. QUERY_TIMEOUT after the deadline."""
        if time.monotonic() > self._deadline:
            raise Fault(Reason.QUERY_TIMEOUT)
        # Never prepared: a generic plan could not leave out partitions by the range asked for.
        await self._cursor.execute(query, parameters, prepare=False)
        return await self._cursor.fetchall()

    async def row(
        self, query: SQL | Composed, parameters: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...] | None:
        """Run one statement and return its first row, or None."""
        found = await self.rows(query, parameters)
        return found[0] if found else None

    async def batches(
        self, query: SQL | Composed, parameters: Mapping[str, Any], batch: int
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Run one statement and yield its rows in batches. QUERY_TIMEOUT after the deadline."""
        connection = self._cursor.connection
        async with connection.cursor("batches", row_factory=tuple_row) as cursor:
            await cursor.execute(query, parameters)
            while found := await cursor.fetchmany(batch):
                yield found
                if time.monotonic() > self._deadline:
                    raise Fault(Reason.QUERY_TIMEOUT)

    async def stream(
        self, query: Composed, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[Any, ...]]:
        """Run one statement and yield its rows as the server makes them, binary.

        QUERY_TIMEOUT after the deadline. Nothing else may be asked until the iterator is closed,
        which ends the statement.
        """
        async with self._cursor.connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.stream(query, parameters, binary=True, size=_AT_ONCE)
            # It is a generator, whatever it says; one that is left open would stay in the way.
            async with aclosing(cast("AsyncGenerator[tuple[Any, ...]]", found)):
                async for row in found:
                    yield row
                    if time.monotonic() > self._deadline:
                        raise Fault(Reason.QUERY_TIMEOUT)

    async def use_cores(self) -> None:
        """Let what follows be shared by two more processes of the server, where it has them."""
        await self._cursor.execute(_PARALLEL)


# A table of blocks is small, and what is fetched for its rows is not: a plan's costs do not know.
_PARALLEL: Final = sql.SQL("""
    set local max_parallel_workers_per_gather = 2; set local min_parallel_table_scan_size = 0;
    set local min_parallel_index_scan_size = 0; set local parallel_setup_cost = 100;
    set local parallel_tuple_cost = 0
    """)


@asynccontextmanager
async def snapshot(
    connection: AsyncConnection[Any], timeout_ms: int = DEFAULT_TIMEOUT_MS
) -> AsyncIterator[Snapshot]:
    """Open a transaction for one answer on an idle connection; it ends with the block.

    Errors of the driver leave it as faults.
    """
    begin = sql.SQL(
        "set transaction isolation level repeatable read, read only;"
        "set local statement_timeout = {};"
        "set local max_parallel_workers_per_gather = 0;"
        "set local jit = off"
    ).format(sql.Literal(timeout_ms))
    with driver_errors():
        async with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(begin)
            yield Snapshot(cursor, timeout_ms)
