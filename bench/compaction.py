"""Compaction: how fast, how small, with the filter; and the same records as rows beside it.

Fresh blocks of 200 records are what a service at a few hundred lines a second leaves. The
compactor runs here, in one thread, without rests, against a server that does nothing else: client
and server take turns, so the rate is that of about one core; both CPU times are told.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from bench.corpus import SERVICES, batches, json_bytes
from bench.processes import tree_cpu_s
from outrider.instants import to_us
from outrider_collector.store import binary, rows, schema
from outrider_collector.store.blocks import pack_blocks
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.results import Results
    from outrider.columns import Columns

BLOCK_RECORDS = 200
SIZE = """
select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint
from pg_inherits where inhparent = %s::regclass
"""
COMPACTED_SIZE = f"select ({SIZE}) + pg_total_relation_size('block_sheets')"
"""With the sheets, which are made of the same blocks' filters."""
_ROWS = """
create table bench_rows as select ts, service, worker, severity, logger, message,
    attributes::text as attributes from logs;
create index on bench_rows (service, ts);
create index on bench_rows using brin (ts);
"""
_TRIGRAMS = """
create extension if not exists pg_trgm;
create index on bench_rows using gin (message gin_trgm_ops);
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with records, all compacted."""

    url: str
    records: int
    newest: datetime
    """Event time of the newest record, rounded up to a minute."""


@contextmanager
def filled(
    url: str, server_pid: int, records: int, results: Results, prefix: str
) -> Iterator[Filled]:
    """Fill a database, compact it, measure both; it is there until the block ends."""
    own = make_conninfo(url, dbname="bench_store")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("drop database if exists bench_store with (force)")
        admin.execute("create database bench_store")
        try:
            yield asyncio.run(_fill_and_compact(own, server_pid, records, results, prefix))
        finally:
            admin.execute("drop database bench_store with (force)")


async def _fill_and_compact(
    url: str, server_pid: int, records: int, results: Results, prefix: str
) -> Filled:
    await schema.migrate(url, hours_ahead=2)
    newest = datetime.now(UTC).replace(second=0, microsecond=0)
    raw = await fill(url, batches(records, to_us(newest), batch_records=BLOCK_RECORDS))
    with psycopg.connect(url, autocommit=True) as connection:
        fresh = one(connection, SIZE, "blocks_fresh")
        compactor = Compactor(url, Pace(timedelta(0), 1.0, everything=True), holder="bench")
        server, own, began = tree_cpu_s(server_pid), time.process_time(), time.perf_counter()
        assert await compactor.once(asyncio.Event())
        elapsed = time.perf_counter() - began
        server, own = tree_cpu_s(server_pid) - server, time.process_time() - own
        assert compactor.totals.records == records
        compacted = one(connection, COMPACTED_SIZE, "blocks_compacted")
        connection.execute("analyze")

    def add(name: str, value: float, unit: str) -> None:
        results.add(prefix + name, value, unit, records=records)

    add("compaction.records_per_s", records / elapsed, "records/s")
    add("compaction.cpu_us_per_record", own / records * 1e6, "us")
    add("compaction.postgres.cpu_us_per_record", server / records * 1e6, "us")
    add("fresh.bytes_per_record", fresh / records, "bytes")
    add("compacted.bytes_per_record", compacted / records, "bytes")
    add("compacted.share_of_json", compacted / raw, "of 1")
    add("fresh.share_of_json", fresh / raw, "of 1")
    return Filled(url, records, newest)


async def fill(url: str, corpus: Iterable[Columns], *, streams: bool = True) -> int:
    """Store records as fresh blocks; returns their size as JSON lines.

    ``streams``: the streams are made too.
    """
    raw = 0
    async with await connect(url, application_name="bench") as connection:
        binary.register(connection)
        for place, service in enumerate(SERVICES if streams else ()):
            await connection.execute(
                "insert into stream_info (id, agent, team, service, worker, host, source, path,"
                " start_offset) values (%s, 1, 1, %s, 'w1', 'bench', 'file', '', 0)",
                (place + 1, service),
            )
        await connection.execute("begin")
        for number, columns in enumerate(corpus):
            raw += json_bytes(columns)
            for block in pack_blocks(1, columns.service, [columns]):
                await rows.insert_block(connection, number, block)
            if number % 64 == 63:
                await connection.execute("commit")
                await connection.execute("begin")
        await connection.execute("commit")
    return raw


def as_rows(made: Filled, results: Results, prefix: str) -> None:
    """The same records as rows, with the usual indexes, and with trigrams where there are any."""
    with psycopg.connect(made.url, autocommit=True) as connection:
        connection.execute(_ROWS)
        size = one(connection, "select pg_total_relation_size(%s::regclass)", "bench_rows")
        results.add(f"{prefix}rows.bytes_per_record", size / made.records, "bytes", made.records)
        try:
            connection.execute(_TRIGRAMS)
        except psycopg.Error as error:
            print(f"no trigrams beside it: {error.diag.message_primary}")
        else:
            size = one(connection, "select pg_total_relation_size(%s::regclass)", "bench_rows")
            name = f"{prefix}rows_with_trigrams.bytes_per_record"
            results.add(name, size / made.records, "bytes", made.records)
        connection.execute("drop table bench_rows")


def one(connection: psycopg.Connection, query: str, parameter: str) -> int:
    """Return the one integer that a query with one parameter yields."""
    row = connection.execute(query.encode(), (parameter,)).fetchone()
    assert row is not None
    return int(row[0])
