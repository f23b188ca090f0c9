"""The same records as rows, by binary COPY, with the indexes a log table has: bytes, and searches.

Indexes: (service, ts), BRIN on ts, trigrams of the message. The rows are the newest of the store's,
fewer, because making the trigrams takes minutes; the same questions are asked of the store over the
same time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from bench.corpus import COMMON, NEEDLE, STEP_US
from outrider.filter import parse
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import logs

if TYPE_CHECKING:
    from datetime import datetime

    from bench.compaction import Filled
    from bench.results import Results

ROWS: Final = 2_000_000
_TABLE: Final = """
drop table if exists bench_rows;
create table bench_rows (ts timestamptz not null, service text not null, worker text not null,
    severity smallint not null, logger text, message text, attributes text);
create index on bench_rows (service, ts);
create index on bench_rows using brin (ts);
"""
_READ: Final = """
copy (select ts, service, worker, severity, logger, message, attributes::text
      from logs_between({since}, {until}) order by ts) to stdout (format binary)
"""
_TRIGRAMS: Final = """
create extension if not exists pg_trgm;
set maintenance_work_mem = '1GB';
create index on bench_rows using gin (message gin_trgm_ops);
analyze bench_rows;
"""
_ASKED: Final = {
    "common_page": (f"message ~* '\\m{COMMON}\\M'", COMMON),
    "rare_word": (f"message ~* '\\m{NEEDLE}\\M'", NEEDLE),
    "absent_word": ("message ~* '\\mabsentword9\\M'", "absentword9"),
    "errors_of_service": (
        "service = 'service-03' and severity >= 17", "service:service-03 severity>=error"
    ),
}  # fmt: skip
_PAGE: Final = "select * from bench_rows where {} order by ts desc limit 100"
_HISTOGRAM: Final = """
select date_bin('12 min', ts, %(since)s), severity / 4, count(*) from bench_rows
where ts >= %(since)s and ts < %(until)s group by 1, 2
"""
_TIMES: Final = 5


def run(made: Filled, results: Results) -> None:
    """Fill a table of rows from the store, measure, ask both, and drop it."""
    until = made.newest
    since = until - timedelta(microseconds=ROWS * STEP_US)
    with psycopg.connect(made.url, autocommit=True) as connection:
        connection.execute(_TABLE.encode())
        try:
            _copy(made, since, until)
            n = _one(connection, "select count(*) from bench_rows")
            _size(connection, results, "rows.bytes_per_record", n)
            connection.execute(_TRIGRAMS.encode())
            _size(connection, results, "rows_with_trigrams.bytes_per_record", n)
            for name, (condition, _) in _ASKED.items():
                query = _PAGE.format(condition)
                taken = _median_ms(connection, query, {})
                results.add(f"rows.search.{name}_ms", taken, "ms", n)
            taken = _median_ms(connection, _HISTOGRAM, {"since": since, "until": until})
            results.add("rows.search.histogram_ms", taken, "ms", n)
        finally:
            connection.execute("drop table bench_rows")
    asyncio.run(_same_of_the_store(made, since, until, n, results))


def _copy(made: Filled, since: datetime, until: datetime) -> None:
    with psycopg.connect(made.url) as source, psycopg.connect(made.url) as target:
        query = sql.SQL(_READ).format(since=sql.Literal(since), until=sql.Literal(until))
        with (
            source.cursor().copy(query) as read,
            target.cursor().copy("copy bench_rows from stdin (format binary)") as write,
        ):
            for data in read:
                write.write(data)


async def _same_of_the_store(
    made: Filled, since: datetime, until: datetime, n: int, results: Results
) -> None:
    reader = await connect(
        made.url, application_name="bench", role=READ_ROLE, statement_timeout_ms=600_000
    )
    async with reader:
        for name, (_, asked) in _ASKED.items():
            taken = []
            for _ in range(_TIMES + 1):
                began = time.perf_counter()
                await logs.search(reader, parse(asked), since, until, timeout_ms=600_000)
                taken.append((time.perf_counter() - began) * 1000)
            median = statistics.median(taken[1:])
            results.add(f"beside_rows.search.{name}_ms", median, "ms", n)
        taken = []
        for _ in range(_TIMES + 1):
            began = time.perf_counter()
            await logs.histogram(reader, parse(""), since, until, 24)
            taken.append((time.perf_counter() - began) * 1000)
        results.add("beside_rows.search.histogram_ms", statistics.median(taken[1:]), "ms", n)


def _size(connection: psycopg.Connection, results: Results, name: str, n: int) -> None:
    size = _one(connection, "select pg_total_relation_size('bench_rows')")
    results.add(name, size / n, "bytes", n)


def _median_ms(connection: psycopg.Connection, query: str, parameters: dict[str, object]) -> float:
    taken = []
    for _ in range(_TIMES + 1):
        began = time.perf_counter()
        connection.execute(query.encode(), parameters).fetchall()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[1:])


def _one(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
