"""Five thousand agents on one collector: what their heartbeats cost, and how they come back.

Each has a connection of its own, a heartbeat every 10 s and 20 workers in it whose numbers all
change. Then a thousand that deliver lines lose their collector by SIGKILL: until when has each
committed again, and is every line there once.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg

from bench.dense import one
from bench.processes import cpu_s, peak_rss_mb, tree_cpu_s
from bench.simulated_agents import WORKERS, Told, beat, deliver
from outrider_collector.store import agents as enrolment
from outrider_collector.store.connect import connect
from tests.fleet import Fleet, fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results

RAMP_S = 40.0
"""They connect over so long, evenly."""
BATCHES = 30
LINES = 10 * BATCHES
_KNOWN = "select count(*) from heartbeats where component_kind in ('agent', 'worker')"
_LATE = f"{_KNOWN} and due_at < clock_timestamp()"
_FALSE = """
    select count(*) from system_health_history
    where component_kind in ('agent', 'worker') and to_state <> 'up'
"""


def run(postgres_url: str, server_pid: int, agents: int, seconds: int, results: Results) -> None:
    """Measure both; the collector is ended between them."""
    with fleet(postgres_url, database="bench_heartbeats") as made:
        asyncio.run(_heartbeats(made, server_pid, agents, seconds, results))
    with fleet(postgres_url, database="bench_reconnect") as made:
        asyncio.run(_reconnect(made, max(1, agents // 5), results))


async def _enrolled(url: str, agents: int) -> list[tuple[str, str]]:
    """Enrol agents; return host and token of each."""
    async with await connect(url, application_name="outrider bench") as connection:
        hosts = [f"host-{n:04}" for n in range(agents)]
        return [(host, (await enrolment.enroll(connection, 1, host))[1]) for host in hosts]


async def _heartbeats(
    made: Fleet, server_pid: int, agents: int, seconds: int, results: Results
) -> None:
    address = await _start(made)
    told, stop = Told(), asyncio.Event()
    running = [
        asyncio.create_task(beat(address, host, token, told, stop, RAMP_S * n / agents))
        for n, (host, token) in enumerate(await _enrolled(made.url, agents))
    ]
    pid = made.processes["collector"].pid
    with psycopg.connect(made.url, autocommit=True) as connection:
        await _until(lambda: len(told.first_answers) == agents)
        # The collector judges nobody's silence before it has watched for a minute.
        await asyncio.sleep(60)
        told.answered, told.slowest_answer_s = 0, 0.0
        before, started = (cpu_s(pid), tree_cpu_s(server_pid)), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - started
        collector_s, postgres_s = cpu_s(pid) - before[0], tree_cpu_s(server_pid) - before[1]
        late = one(connection, _LATE)
        known = one(connection, _KNOWN)
        false_states = one(connection, _FALSE)
        rss_mb = peak_rss_mb(pid)
    stop.set()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    if known != agents * (1 + WORKERS) or told.failures:
        raise SystemExit(f"heartbeats: {known} components, {told.failures} streams broke")
    results.add("heartbeats.collector_cpu_pct", 100 * collector_s / elapsed, "% of a core")
    results.add("heartbeats.postgres_cpu_pct", 100 * postgres_s / elapsed, "% of a core")
    results.add("heartbeats.rss_mb", rss_mb, "MB")
    results.add("heartbeats.per_s", told.answered / elapsed, "heartbeats/s")
    results.add("heartbeats.slowest_answer_ms", told.slowest_answer_s * 1_000, "ms")
    results.add("heartbeats.false_states", false_states, "components")
    results.add("heartbeats.late", late, "components")


async def _reconnect(made: Fleet, agents: int, results: Results) -> None:
    address = await _start(made)
    back: dict[int, float] = {}
    enrolled = await _enrolled(made.url, agents)
    told, stop = Told(), asyncio.Event()
    beating = [
        asyncio.create_task(beat(address, host, token, told, stop, 0.0)) for host, token in enrolled
    ]
    delivering = [
        asyncio.create_task(
            deliver(
                address, host, token, n + 1, BATCHES, pace_s=1.0,
                acknowledged=lambda stream: back.setdefault(stream, time.monotonic()),
            )
        )
        for n, (host, token) in enumerate(enrolled)
    ]  # fmt: skip
    await _until(lambda: len(back) == agents)
    made.kill("collector")
    killed = time.monotonic()
    back.clear()
    made.start_collector("collector")
    async with asyncio.timeout(180):
        await asyncio.gather(*delivering)
    with psycopg.connect(made.url, autocommit=True) as connection:
        stored = one(connection, "select sum(n) from blocks where service = 'payments'")
        distinct = one(connection, "select count(distinct (stream, stream_offset)) from logs")
        false_states = one(connection, _FALSE)
    stop.set()
    for task in beating:
        task.cancel()
    await asyncio.gather(*beating, return_exceptions=True)
    if not stored == distinct == agents * LINES:
        raise SystemExit(f"reconnect: {distinct} of {agents * LINES} lines, {stored} records")
    results.add("reconnect.seconds", max(back.values()) - killed, "s")
    results.add("reconnect.false_states", false_states, "components")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not condition():  # noqa: ASYNC110  figures that many tasks write
            await asyncio.sleep(0.1)


async def _start(made: Fleet) -> str:
    made.start_collector("collector")
    await asyncio.to_thread(made.wait_for_port, "collector")
    return f"127.0.0.1:{made.ports['collector']}"
