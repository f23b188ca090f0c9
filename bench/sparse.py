"""Many quiet streams: 500 files at 2 lines a second each, what most fleets look like."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from bench.dense import BLOCK_BYTES, one, until_connected
from bench.lines import json_lines
from bench.processes import cpu_s, tree_cpu_s
from bench.row_copy import measure
from bench.rule_sets import two_hundred_rules
from tests.fleet import fleet

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results

STREAMS = 500
LINES_PER_S = 2


def run(postgres_url: str, server_pid: int, seconds: int, results: Results, prefix: str) -> None:
    """Write for ``seconds``, wait for the last commit, and measure; then the same as rows."""
    records = STREAMS * LINES_PER_S * seconds
    lines = list(json_lines(records, datetime.now(UTC), service="trading"))
    with fleet(postgres_url, database="bench_sparse") as made:
        (made.rules / "bench.toml").write_text(two_hundred_rules())
        collector = made.start_collector("collector")
        made.wait_for_port("collector")
        made.run("rules", "apply", str(made.rules))
        agent = made.start_agent()
        with psycopg.connect(made.url, autocommit=True) as connection:
            until_connected(connection)
            empty_bytes = one(connection, BLOCK_BYTES)
            first_commit = one(connection, "select coalesce(max(number), 0) from feed")
            before = cpu_s(agent), cpu_s(collector), tree_cpu_s(server_pid)
            started = time.perf_counter()
            _write_paced(made.logs, lines, seconds)
            query = "select coalesce(sum(n), 0) from blocks where service = 'trading'"
            while one(connection, query) < records:
                if time.perf_counter() - started > seconds + 60:
                    raise SystemExit("sparse: not all records were committed in time")
                time.sleep(0.1)
            elapsed = time.perf_counter() - started
            after = cpu_s(agent), cpu_s(collector), tree_cpu_s(server_pid)
            used = one(connection, BLOCK_BYTES) - empty_bytes
            commits = one(connection, "select max(number) from feed") - first_commit
        shares = [100 * (b - a) / elapsed for a, b in zip(before, after, strict=True)]
        results.add(f"{prefix}sparse.outrider.records_per_s", records / elapsed, "records/s")
        results.add(f"{prefix}sparse.outrider.bytes_per_record", used / records, "bytes")
        results.add(f"{prefix}sparse.outrider.records_per_commit", records / commits, "records")
        for name, share in zip(("agent", "collector", "postgres"), shares, strict=True):
            results.add(f"{prefix}sparse.{name}.cpu_pct", share, "% of a core")
    rows = measure(postgres_url, lines, commit_rows=max(1, records // commits))
    results.add(f"{prefix}sparse.row_copy.records_per_s", rows.records_per_s, "records/s")
    results.add(f"{prefix}sparse.row_copy.bytes_per_record", rows.bytes_per_record, "bytes")


def _write_paced(directory: Path, lines: list[bytes], seconds: int) -> None:
    """Each file gets a line every half second, the files spread evenly over it."""
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context((directory / f"s{n:03d}.log").open("ab", buffering=0))
            for n in range(STREAMS)
        ]
        started = time.perf_counter()
        total = STREAMS * LINES_PER_S * seconds
        for number in range(total):
            due = started + number / (STREAMS * LINES_PER_S)
            ahead = due - time.perf_counter()
            if ahead > 0.002:
                time.sleep(ahead)
            files[number % STREAMS].write(lines[number])
