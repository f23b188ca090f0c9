"""What an agent costs a host: at rest, at a thousand lines a second, and how soon a line is a row.

Twenty files and three workers with the SDK, one collector. CPU is from /proc over whole windows.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from bench.dense import one, until_connected
from bench.lines import json_lines
from bench.processes import cpu_s
from tests.fleet import fleet

if TYPE_CHECKING:
    from bench.results import Results
    from tests.fleet import Fleet

FILES = 20
WORKERS = 3
LINES_PER_S = 1_000
_STEPS_PER_S = 100
# All that follows a start is over: the first heartbeats, what the first look found.
_SETTLE_S = 12.0
_WORKER = """
import sys, time, outrider
outrider.init(service="quiet", worker=sys.argv[1])
outrider.get_logger("quiet").info("ready")
time.sleep(3600)
"""
_COMMITTED = """
select coalesce(max(s.committed), 0) from streams s join stream_info i using (id)
where i.worker = 'single'
"""


def run(postgres_url: str, seconds: int, lines: int, results: Results) -> None:
    """Measure at rest and under load for ``seconds`` each, then ``lines`` single lines."""
    with fleet(postgres_url, database="bench_agent", service="trading") as made:
        made.start_collector("collector")
        made.wait_for_port("collector")
        agent = made.start_agent()
        workers: list[subprocess.Popen[bytes]] = []
        try:
            with psycopg.connect(made.url, autocommit=True) as connection:
                until_connected(connection)
                for number in range(WORKERS):
                    command = [sys.executable, "-c", _WORKER, f"w{number}"]
                    workers.append(subprocess.Popen(command, env=made.environment("agent")))
                _write_first_lines(made)
                time.sleep(_SETTLE_S)
                results.add("agent.idle_percent", _idle_percent(agent, seconds), "% of a core")
                waits_ms = _single_lines(made, connection, lines)
                busy = _busy_percent(made, connection, agent, seconds)
                results.add("agent.thousand_lines_percent", busy, "% of a core")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    ordered = sorted(waits_ms)
    results.add("agent.line_to_row_ms_p50", statistics.median(ordered), "ms")
    results.add("agent.line_to_row_ms_p99", ordered[int(len(ordered) * 0.99) - 1], "ms")


def _write_first_lines(made: Fleet) -> None:
    start = datetime.now(UTC)
    for number in range(FILES):
        lines = json_lines(100, start, service="trading", seed=number)
        (made.logs / f"f{number:02d}.log").write_bytes(b"".join(lines))


def _idle_percent(agent: int, seconds: int) -> float:
    before, started = cpu_s(agent), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_s(agent) - before) / (time.perf_counter() - started)


def _busy_percent(made: Fleet, connection: psycopg.Connection, agent: int, seconds: int) -> float:
    """One of the files gets ten lines a hundredth of a second."""
    lines = list(json_lines(LINES_PER_S * seconds, datetime.now(UTC), service="trading"))
    stored = "select coalesce(sum(n), 0) from blocks where service = 'trading'"
    before_records = one(connection, stored)
    step = LINES_PER_S // _STEPS_PER_S
    before, started = cpu_s(agent), time.perf_counter()
    with (made.logs / "f00.log").open("ab", buffering=0) as out:
        for number in range(_STEPS_PER_S * seconds):
            ahead = started + number / _STEPS_PER_S - time.perf_counter()
            time.sleep(max(0.0, ahead))
            out.write(b"".join(lines[number * step : (number + 1) * step]))
    while one(connection, stored) < before_records + len(lines):
        if time.perf_counter() - started > seconds + 60:
            raise SystemExit("agent: not all records were committed in time")
        time.sleep(0.05)
    return 100 * (cpu_s(agent) - before) / (time.perf_counter() - started)


def _single_lines(made: Fleet, connection: psycopg.Connection, count: int) -> list[float]:
    """Write one line, wait for its commit, and rest; return the waits in milliseconds."""
    rng = random.Random(5)
    path = made.logs / "single.log"
    waits_ms = []
    with path.open("ab", buffering=0) as out:
        for line in json_lines(count + 1, datetime.now(UTC), service="trading", seed=9):
            out.write(line)
            wrote = time.perf_counter()
            size = path.stat().st_size
            while one(connection, _COMMITTED) < size:
                if time.perf_counter() - wrote > 30:
                    raise SystemExit("agent: a line was not committed within 30 s")
                time.sleep(0.002)
            waits_ms.append((time.perf_counter() - wrote) * 1000)
            time.sleep(rng.uniform(0.2, 0.8))
    # The first made the file known, which is another figure.
    return waits_ms[1:]
