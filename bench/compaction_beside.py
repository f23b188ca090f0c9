"""What ingest loses by a compactor beside it, and how fast that one is meanwhile.

The ingest of the dense shape is run with and without a compactor, in turns. It is the process that
a collector keeps, at its priority and with its rests, and it has more to do than it can: in a
database of its own of the same server, because the blocks of the dense shape are too young for it.
Its own rate is that over the whole run: agent and collector start within it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from bench import dense
from bench.compaction import BLOCK_RECORDS, fill
from bench.corpus import batches
from bench.results import Results
from outrider.instants import to_us
from outrider_collector.config import StoreConfig
from outrider_collector.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_RATE = "dense.outrider.records_per_s"
_BACKLOG = 4_000_000


def run(url: str, server_pid: int, records: int, runs: int, results: Results, prefix: str) -> None:
    """Run the ingest ``runs`` times each, alone and beside a compactor."""
    alone, beside = Results(), Results()
    with _backlog(url) as backlog:
        for _ in range(runs):
            dense.ingest(url, server_pid, records, alone, "")
            with _compacting(backlog, results, prefix):
                dense.ingest(url, server_pid, records, beside, "")
    shares = [
        with_it / without
        for with_it, without in zip(beside.values[_RATE][1], alone.values[_RATE][1], strict=True)
    ]
    lost = 1 - statistics.median(shares)
    results.add(f"{prefix}compaction.ingest_lost", lost, "of 1", records)


@contextmanager
def _backlog(url: str) -> Iterator[str]:
    own = make_conninfo(url, dbname="bench_backlog")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("drop database if exists bench_backlog with (force)")
        admin.execute("create database bench_backlog")
        try:
            asyncio.run(schema.migrate(own, hours_ahead=2))
            newest_us = to_us(datetime.now(UTC).replace(second=0, microsecond=0))
            corpus = batches(_BACKLOG, newest_us, batch_records=BLOCK_RECORDS)
            asyncio.run(fill(own, corpus))
            yield own
        finally:
            admin.execute("drop database bench_backlog with (force)")


@contextmanager
def _compacting(url: str, results: Results, prefix: str) -> Iterator[None]:
    order = {"url": url, "holder": "bench", "age_s": 0.0, "share": StoreConfig().compact_share}
    compactor = subprocess.Popen(
        [sys.executable, "-m", "outrider_collector.store.compaction"], stdin=subprocess.PIPE
    )
    assert compactor.stdin is not None
    compactor.stdin.write(json.dumps(order).encode() + b"\n")
    compactor.stdin.flush()
    with psycopg.connect(url, autocommit=True) as connection:
        before, began = _compacted(connection), time.perf_counter()
        try:
            yield
            left = dense.one(connection, "select coalesce(sum(n), 0) from blocks_fresh")
            moved, elapsed = _compacted(connection) - before, time.perf_counter() - began
        finally:
            compactor.stdin.close()
            compactor.wait()
    assert left > 0, "the compactor had nothing left to do"
    name = f"{prefix}compaction.beside_ingest_records_per_s"
    results.add(name, moved / elapsed, "records/s", moved)


def _compacted(connection: psycopg.Connection) -> int:
    return dense.one(connection, "select sum(n) from blocks_compacted")
