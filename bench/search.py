"""Searches: what a page, a count and facets of words, a histogram and a scan cost.

Warm: each question is asked six times, the first answer is not counted. Beside the time stands the
processor's time in the database (`.._cpu_ms`, by steps of 10 ms over five answers), which does not
depend on what else the machine does. Cold: the server is started anew and the kernel's cache of its
files dropped before each answer; that needs root.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import large, rows
from bench.compaction import Filled
from bench.corpus import COMMON, NEEDLE
from bench.processes import cpu_s
from outrider.filter import parse
from outrider.instants import from_us
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from bench.results import Results
    from outrider_collector.up.postgres import Postgres

_TIMES = 5
_TIMEOUT_MS = 600_000
_SCANNED = timedelta(days=1)
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def run(made: Filled, results: Results, prefix: str) -> None:
    """Ask everything of a filled database."""
    asyncio.run(_run(made, results, prefix))


def run_large(directory: Path, records: int, results: Results) -> None:
    """Ask everything of the store in a directory, warm and cold; it is filled first if need be."""
    with large.serving(directory) as server:
        held = large.filled(server, directory, records)
        results.add(
            "compacted.large.bytes_per_record", held.compacted_bytes_per_record, "bytes",
            held.records,
        )  # fmt: skip
        made = Filled(large.url_of(server), held.records, from_us(held.newest_us))
        run(made, results, "")
        _run_cold(server, made, results)
        rows.run(made, results)


async def _run(made: Filled, results: Results, prefix: str) -> None:
    day = made.newest - timedelta(days=1)
    async with await _reader(made) as reader:

        async def day_by_severity() -> int:
            buckets = await logs.histogram(reader, parse(""), day, made.newest, 120)
            return sum(bucket.total for bucket in buckets)

        since, until = made.newest - timedelta(days=30), made.newest + timedelta(minutes=1)

        async def rare_count() -> int:
            return await logs.count(reader, parse(NEEDLE), since, until, timeout_ms=_TIMEOUT_MS)

        async def rare_facets() -> int:
            facets = await logs.facets(reader, parse(NEEDLE), since, until, timeout_ms=_TIMEOUT_MS)
            return facets.lines

        def page(text: str) -> Callable[[], Awaitable[int]]:
            return lambda: _page(reader, made, text)

        questions: list[tuple[str, Callable[[], Awaitable[int]], Callable[[int], bool]]] = [
            ("search.common_page", page(COMMON), lambda n: n == 100),
            ("search.newest_page", page(""), lambda n: n == 100),
            ("search.rare_word", page(NEEDLE), lambda n: 15 <= n <= 25),
            ("search.rare_count", rare_count, lambda n: 15 <= n <= 25),
            ("search.rare_facets", rare_facets, lambda n: 15 <= n <= 25),
            ("search.absent_word", page("absentword9"), lambda n: n == 0),
            ("search.errors_of_service", page("service:service-03 severity>=error"),
             lambda n: n == 100),
            ("search.histogram_day", day_by_severity, lambda n: n > 0),
        ]  # fmt: skip
        for name, ask, right in questions:
            elapsed_ms, cpu_ms = await _median_ms(reader, ask, right)
            results.add(f"{prefix}{name}_ms", elapsed_ms, "ms", made.records)
            results.add(f"{prefix}{name}_cpu_ms", cpu_ms, "ms", made.records)

        scanned = await logs.count(reader, parse(""), made.newest - _SCANNED, made.newest)

        async def scan() -> int:
            return await logs.count(
                reader, parse("absentprefix*"), made.newest - _SCANNED, made.newest,
                most_records=2 * made.records, timeout_ms=_TIMEOUT_MS,
            )  # fmt: skip

        elapsed_ms, cpu_ms = await _median_ms(reader, scan, lambda n: n == 0, times=2)
        name = f"{prefix}search.scan"
        results.add(f"{name}_records_per_s", scanned / elapsed_ms * 1000, "records/s", scanned)
        results.add(f"{name}_cpu_us_per_record", cpu_ms / scanned * 1000, "us", scanned)


def _run_cold(server: Postgres, made: Filled, results: Results) -> None:
    """Ask for the rare word after the server, and the machine's memory, have forgotten."""
    if not os.access(_DROP_CACHES, os.W_OK):
        print(f"no cold searches: {_DROP_CACHES} cannot be written")
        return
    for _ in range(3):
        server.stop()
        os.sync()
        _DROP_CACHES.write_text("3")
        server.start()
        name = "search.rare_word_cold_ms"
        results.add(name, asyncio.run(_cold_ms(made)), "ms", made.records)


async def _cold_ms(made: Filled) -> float:
    async with await _reader(made) as reader:
        began = time.perf_counter()
        found = await _page(reader, made, NEEDLE)
        assert 15 <= found <= 25, found
        return (time.perf_counter() - began) * 1000


async def _reader(made: Filled) -> AsyncConnection:
    return await connect(
        made.url, application_name="bench", role=READ_ROLE, statement_timeout_ms=_TIMEOUT_MS
    )


async def _page(reader: AsyncConnection, made: Filled, text: str) -> int:
    since, until = made.newest - timedelta(days=30), made.newest + timedelta(minutes=1)
    found = await logs.search(reader, parse(text), since, until, timeout_ms=_TIMEOUT_MS)
    return len(found.rows)


async def _median_ms(
    reader: AsyncConnection,
    ask: Callable[[], Awaitable[Any]],
    right: Callable[[int], bool],
    times: int = _TIMES,
) -> tuple[float, float]:
    """Return the median time of an answer, and the mean of the backend's own."""
    pid = reader.info.backend_pid
    taken: list[float] = []
    used = 0.0
    for number in range(times + 1):
        if number == 1:
            used = cpu_s(pid)
        began = time.perf_counter()
        answer = await ask()
        taken.append((time.perf_counter() - began) * 1000)
        assert right(answer), answer
    return statistics.median(taken[1:]), (cpu_s(pid) - used) / times * 1000
