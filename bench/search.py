"""Searches over compacted records: what a page of a common word, a rare word, a histogram cost.

Warm: each question is asked six times, the first answer is not counted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bench.corpus import COMMON, NEEDLE
from outrider.filter import parse
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.compaction import Filled
    from bench.results import Results

_TIMES = 5
_TIMEOUT_MS = 600_000


def run(made: Filled, results: Results, prefix: str) -> None:
    """Ask everything of a filled database."""
    asyncio.run(_run(made, results, prefix))


async def _run(made: Filled, results: Results, prefix: str) -> None:
    since, until = made.newest - timedelta(days=30), made.newest + timedelta(minutes=1)
    day = made.newest - timedelta(days=1)
    async with await connect(
        made.url, application_name="bench", role=READ_ROLE, statement_timeout_ms=_TIMEOUT_MS
    ) as reader:

        async def page(text: str) -> int:
            found = await logs.search(reader, parse(text), since, until, timeout_ms=_TIMEOUT_MS)
            return len(found.rows)

        async def day_by_severity() -> int:
            buckets = await logs.histogram(reader, parse(""), day, made.newest, 120)
            return sum(bucket.total for bucket in buckets)

        async def scan() -> int:
            return await logs.count(
                reader, parse("absentprefix*"), since, until,
                most_records=2 * made.records, timeout_ms=_TIMEOUT_MS,
            )  # fmt: skip

        questions: list[tuple[str, Callable[[], Awaitable[int]], Callable[[int], bool]]] = [
            ("search.common_page_ms", lambda: page(COMMON), lambda n: n == 100),
            ("search.rare_word_ms", lambda: page(NEEDLE), lambda n: 15 <= n <= 25),
            ("search.absent_word_ms", lambda: page("absentword9"), lambda n: n == 0),
            ("search.errors_of_service_ms", lambda: page("service:service-03 severity>=error"),
             lambda n: n == 100),
            ("search.histogram_day_ms", day_by_severity, lambda n: n > 0),
        ]  # fmt: skip
        for name, ask, right in questions:
            results.add(prefix + name, await _median_ms(ask, right), "ms", made.records)
        elapsed_ms = await _median_ms(scan, lambda n: n == 0, times=2)
        rate = made.records / elapsed_ms * 1000
        results.add(f"{prefix}search.scan_records_per_s", rate, "records/s", made.records)


async def _median_ms(
    ask: Callable[[], Awaitable[Any]], right: Callable[[int], bool], times: int = _TIMES
) -> float:
    taken: list[float] = []
    for _ in range(times + 1):
        began = time.perf_counter()
        answer = await ask()
        taken.append((time.perf_counter() - began) * 1000)
        assert right(answer), answer
    return statistics.median(taken[1:])
