"""`python -m bench [SHAPE ...] [--runs N] [--records N]`: all but the optional by default.

`python -m bench search --records 100000000 --data DIR` fills DIR (10 GB) unless it is filled,
asks it and leaves it as it is, to be asked again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import (
    agent,
    beside,
    compaction,
    compaction_beside,
    dense,
    heartbeats,
    latency,
    search,
    servers,
    sparse,
    storm,
)
from bench.results import PATH, Results

SHAPES = ("dense", "sparse", "latency", "store", "heartbeats", "storm", "agent")
OPTIONAL = ("beside", "search")
"""Programs of others on the same lines, where this machine has them; a store of many records."""


def main() -> None:
    """Measure on the embedded server, then on one with lz4 where the machine has it."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m bench", description=__doc__
    )
    parser.add_argument(
        "shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES + OPTIONAL)}"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=30, help="of sparse and agent")
    parser.add_argument("--lines", type=int, default=100, help="single ones, of the agent shape")
    parser.add_argument("--alerts", type=int, default=200)
    parser.add_argument("--agents", type=int, default=5_000, help="of the heartbeats")
    parser.add_argument(
        "--store-records", type=int, default=10_000_000, help="of compaction and search"
    )
    parser.add_argument("--data", type=Path, help="of search: where its store is kept")
    options = parser.parse_args()
    unknown = set(options.shapes) - set(SHAPES + OPTIONAL)
    if unknown:
        parser.error(
            f"no shape {', '.join(sorted(unknown))}: there are {', '.join(SHAPES + OPTIONAL)}"
        )
    if "search" in options.shapes and options.data is None:
        parser.error("search keeps its store in a directory: --data DIR")
    options.shapes = options.shapes or list(SHAPES)
    results = Results()
    try:
        _measure_all(options, results)
    finally:
        # Also where a shape failed: what the others showed took minutes to measure.
        results.write()
        print(results.table())
        print(f"written to {PATH}")


def _measure_all(options: argparse.Namespace, results: Results) -> None:
    if "search" in options.shapes:
        print(f"search in {options.records:,} records in {options.data} ...", flush=True)
        search.run_large(options.data, options.records, results)
        if len(options.shapes) == 1:
            return
    with servers.embedded() as (url, pid):
        _measure(options, url, pid, results, "")
    with servers.with_lz4() as server:
        if server is None:
            print("no Postgres with lz4 on this machine: only the embedded server was measured")
        else:
            _measure(options, *server, results, "lz4.")


def _measure(
    options: argparse.Namespace, url: str, pid: int, results: Results, prefix: str
) -> None:
    name = prefix.rstrip(".") or "embedded"
    for run in range(options.runs):
        if "dense" in options.shapes:
            print(f"{name}: dense, run {run + 1} of {options.runs} ...", flush=True)
            dense.run(url, pid, options.records, results, prefix)
        if "beside" in options.shapes and not prefix:
            print(f"{name}: rsyslog, run {run + 1} of {options.runs} ...", flush=True)
            beside.run(url, pid, options.records, results)
        if "agent" in options.shapes and not prefix:
            print(f"{name}: agent, run {run + 1} of {options.runs} ...", flush=True)
            agent.run(url, options.seconds, options.lines, results)
        if "storm" in options.shapes and not prefix:
            print(f"{name}: 10,000 alerts, run {run + 1} of {options.runs} ...", flush=True)
            storm.run(url, results)
    if "sparse" in options.shapes:
        print(f"{name}: sparse, {options.seconds} s ...", flush=True)
        sparse.run(url, pid, options.seconds, results, prefix)
    if "store" in options.shapes:
        print(f"{name}: compaction and search of {options.store_records:,} records ...", flush=True)
        with compaction.filled(url, pid, options.store_records, results, prefix) as made:
            search.run(made, results, f"{prefix}store.")
            compaction.as_rows(made, results, prefix)
        print(f"{name}: ingest of {options.records:,} records beside compaction ...", flush=True)
        compaction_beside.run(url, pid, options.records, options.runs, results, prefix)
    if "latency" in options.shapes and not prefix:
        print(f"{name}: latency of {options.alerts} alerts ...", flush=True)
        latency.run(url, options.alerts, results)
    if "heartbeats" in options.shapes and not prefix:
        print(f"{name}: heartbeats of {options.agents:,} agents ...", flush=True)
        heartbeats.run(url, pid, options.agents, options.seconds, results)


if __name__ == "__main__":
    main()
