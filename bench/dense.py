"""One file at full speed: from the moment it appears to the commit of its last byte."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from bench.lines import json_lines
from bench.processes import cpu_s, peak_rss_mb, tree_cpu_s
from bench.row_copy import measure
from bench.rule_sets import two_hundred_rules
from tests.fleet import fleet

if TYPE_CHECKING:
    from bench.results import Results

BLOCK_BYTES = """
select coalesce(sum(pg_total_relation_size(inhrelid)), 0)
from pg_inherits where inhparent = 'blocks_fresh'::regclass
"""


def run(postgres_url: str, server_pid: int, records: int, results: Results, prefix: str) -> None:
    """One run of both: Outrider, then rows; ``prefix`` names the server's figures."""
    lines = ingest(postgres_url, server_pid, records, results, prefix)
    rows = measure(postgres_url, lines, commit_rows=32_000)
    results.add(f"{prefix}dense.row_copy.records_per_s", rows.records_per_s, "records/s")
    results.add(f"{prefix}dense.row_copy.bytes_per_record", rows.bytes_per_record, "bytes")


def ingest(
    postgres_url: str, server_pid: int, records: int, results: Results, prefix: str
) -> list[bytes]:
    """One run of Outrider; returns the lines that it stored."""
    start = datetime.now(UTC) - timedelta(seconds=records / 10_000)
    lines = list(json_lines(records, start, service="trading"))
    with fleet(postgres_url, database="bench_dense") as made:
        (made.rules / "bench.toml").write_text(two_hundred_rules())
        collector = made.start_collector("collector")
        made.wait_for_port("collector")
        made.run("rules", "apply", str(made.rules))
        agent = made.start_agent()
        whole = made.root / "whole"
        whole.write_bytes(b"".join(lines))
        size = whole.stat().st_size
        with psycopg.connect(made.url, autocommit=True) as connection:
            empty_bytes = one(connection, BLOCK_BYTES)
            until_connected(connection)
            before = cpu_s(agent), cpu_s(collector), tree_cpu_s(server_pid)
            started = time.perf_counter()
            whole.rename(made.logs / "w1.log")
            _until_committed(connection, size, deadline_s=300)
            elapsed = time.perf_counter() - started
            after = cpu_s(agent), cpu_s(collector), tree_cpu_s(server_pid)
            stored = one(connection, "select sum(n) from blocks where service = 'trading'")
            if stored != records:
                raise SystemExit(f"{stored} records stored where {records} were written")
            used = one(connection, BLOCK_BYTES) - empty_bytes
            hits = one(connection, "select coalesce(sum(n), 0) from hits")
        agent_us, collector_us, server_us = (
            (b - a) / records * 1e6 for a, b in zip(before, after, strict=True)
        )
        results.add(f"{prefix}dense.outrider.records_per_s", records / elapsed, "records/s")
        results.add(f"{prefix}dense.outrider.bytes_per_record", used / records, "bytes")
        results.add(f"{prefix}dense.outrider.hits", hits, "hits")
        results.add(f"{prefix}agent.rss_mb", peak_rss_mb(agent), "MB")
        results.add(f"{prefix}agent.cpu_us_per_record", agent_us, "us")
        results.add(f"{prefix}collector.cpu_us_per_record", collector_us, "us")
        results.add(f"{prefix}dense.postgres.cpu_us_per_record", server_us, "us")
    return lines


def one(connection: psycopg.Connection, query: str) -> int:
    """The one number a query answers, 0 for null."""
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def until_connected(connection: psycopg.Connection, deadline_s: float = 30) -> None:
    """Until the agent has a session: what is timed is the path, not the start of Python."""
    end = time.monotonic() + deadline_s
    while one(connection, "select count(*) from agents where session > 0") == 0:
        if time.monotonic() > end:
            raise SystemExit("the agent did not connect")
        time.sleep(0.05)
    time.sleep(1.5)


def _until_committed(connection: psycopg.Connection, size: int, *, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    query = (
        "select max(s.committed) from streams s join stream_info i using (id)"
        " where i.service = 'trading'"
    )
    while one(connection, query) < size:
        if time.monotonic() > end:
            raise SystemExit("the file was not committed in time")
        time.sleep(0.02)
