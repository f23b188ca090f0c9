"""Paging through logs: exact, ordered, pruned."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from outrider.errors import Fault
from outrider.filter import parse
from outrider_collector.store.reading import logs
from outrider_collector.store.reading.session import Snapshot, snapshot
from outrider_collector.store.reading.types import Cursor, LogRow
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit, newest_first

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider.filter import Filter

EVERYTHING = parse("")
STREAMS = [
    Source(11, "payments", "pay-1", "host-1"),
    Source(12, "payments", "pay-2", "host-2"),
    Source(21, "scrapers", "news-1", "host-1"),
    Source(31, "etl", "ledger-1", "host-3"),
]


def name(row: LogRow) -> tuple[int, int]:
    """Return the record's name."""
    return row.stream, row.stream_offset


def some_records(seed: int, count: int = 400) -> list[Record]:
    """Return records with few distinct times, spread over three hours, in arbitrary order."""
    dice = random.Random(seed)
    return [
        Record(
            stream=dice.choice(STREAMS),
            offset=offset,
            # Few distinct times, so that many are equal; some dense, some far apart.
            ts=BASE + timedelta(seconds=dice.choice([0, 1, 1, 2, 60, 61, 3_000, 7_000, 10_700])),
            message=dice.choice(["alpha", "beta", "alpha beta", "gamma"]),
            severity=dice.choice([1, 5, 9, 9, 9, 13, 17, 21]),
            event=dice.choice([None, "order.filled", "job.tick"]),
        )
        for offset in range(count)
    ]


async def store(owner: AsyncConnection[Any], records: list[Record], seed: int) -> None:
    """Store records in blocks that overlap in time, some of them long after their event."""
    dice = random.Random(seed)
    left = list(records)
    while left:
        size = dice.randint(1, 40)
        part, left = left[:size], left[size:]
        newest = max(record.ts for record in part)
        await commit(owner, part, newest + timedelta(minutes=dice.choice([0, 1, 90])))


async def all_pages(
    reader: AsyncConnection[Any], filter_: Filter, limit: int
) -> list[tuple[int, int]]:
    """Page to the end; return the names in the order they came."""
    names: list[tuple[int, int]] = []
    after: Cursor | None = None
    while True:
        page = await logs.search(reader, filter_, BASE, BASE + 3 * HOUR, limit, after=after)
        assert len(page.rows) <= limit
        names += map(name, page.rows)
        if page.next is None:
            return names
        after = Cursor.parse(page.next.encode())


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_pages_have_every_record_once_in_order(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], limit: int
) -> None:
    """Pages of any size, put together, are all records by key, with no repeat and no hole."""
    records = some_records(seed=limit, count=60 if limit == 1 else 400)
    await store(owner, records, seed=limit)
    assert await all_pages(reader, EVERYTHING, limit) == newest_first(records)


async def test_pages_of_a_filter_are_its_matches(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A filter over service, worker, level, event and words pages through exactly its matches."""
    records = some_records(seed=3)
    await store(owner, records, seed=3)
    found = await all_pages(reader, parse("service:payments -worker:pay-2 alpha severity>=info"), 9)
    assert found == newest_first(
        r
        for r in records
        if r.stream.worker == "pay-1" and "alpha" in (r.message or "") and r.severity >= 9
    )
    found = await all_pages(reader, parse("event:order.* OR host:host-3"), 9)
    assert found == newest_first(
        r for r in records if r.event == "order.filled" or r.stream.host == "host-3"
    )


async def test_the_range_includes_since_and_excludes_until(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A record at ``since`` is in the range, one at ``until`` is not."""
    await commit(owner, [Record(STREAMS[0], i, BASE + timedelta(seconds=i)) for i in range(3)])
    page = await logs.search(
        reader, EVERYTHING, BASE + timedelta(seconds=1), BASE + timedelta(seconds=2)
    )
    assert [row.stream_offset for row in page.rows] == [1]


async def test_late_and_early_arrivals_are_found(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A record that arrived a day late, or from a clock an hour ahead, is found by its own time."""
    await commit(owner, [Record(STREAMS[0], 1, BASE)], BASE + 24 * HOUR)
    await commit(owner, [Record(STREAMS[0], 2, BASE + HOUR)], BASE)
    page = await logs.search(reader, EVERYTHING, BASE, BASE + timedelta(minutes=1))
    assert [row.stream_offset for row in page.rows] == [1]
    page = await logs.search(reader, EVERYTHING, BASE + HOUR, BASE + 2 * HOUR)
    assert [row.stream_offset for row in page.rows] == [2]


async def test_every_column_comes_back(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """All fields of a record are returned as they were stored; absent columns are None."""
    full = Record(
        STREAMS[0], 5, BASE, "déjà vu\n\ttrace", 18, "app.db", "db.deadlock", "DB_DEADLOCK",
        correlation_id="c-1", attributes='{"n": 1.50, "b": [true]}',
    )  # fmt: skip
    await commit(owner, [full], BASE + timedelta(seconds=2))
    await commit(owner, [Record(STREAMS[1], 6, BASE - timedelta(seconds=1), None)])
    row, bare = (await logs.search(reader, EVERYTHING, BASE - HOUR, BASE + HOUR)).rows
    assert (row.message, row.logger, row.event) == (full.message, "app.db", "db.deadlock")
    assert (row.error_code, row.correlation_id) == ("DB_DEADLOCK", "c-1")
    assert (row.severity, row.level) == (18, "ERROR")
    assert (row.service, row.worker, row.host, row.source) == (
        "payments", "pay-1", "host-1", "file",
    )  # fmt: skip
    assert row.attributes_json == full.attributes
    assert row.attributes == {"n": 1.5, "b": [True]}
    assert (row.ts, row.received_at) == (BASE, BASE + timedelta(seconds=2))
    assert (bare.message, bare.logger, bare.attributes, bare.trace_id) == (None, None, {}, None)


async def test_blocks_without_a_match_are_passed_over(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Blocks whose summaries rule a match out are counted but not opened."""
    for i in range(10):
        event = "order.filled" if i == 4 else "job.tick"
        severity = 17 if i == 7 else 9
        ts = BASE + timedelta(seconds=i)
        await commit(owner, [Record(STREAMS[0], i, ts, severity=severity, event=event)])
    for text in ("event:order.filled", "severity>=error", "event:order.*"):
        page = await logs.search(reader, parse(text), BASE, BASE + HOUR)
        assert (len(page.rows), page.blocks_read, page.blocks_total) == (1, 1, 10)
    page = await logs.search(reader, parse("worker:nobody"), BASE, BASE + HOUR)
    assert (page.rows, page.blocks_read, page.next) == ([], 0, None)


async def test_hours_outside_the_range_are_not_in_the_plan(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search touches the partitions from an hour before its range on, and no older ones."""
    for hour in range(6):
        await commit(owner, [Record(STREAMS[0], hour, BASE + hour * HOUR)])
    plans: list[str] = []
    run = Snapshot.rows

    async def explained(self: Snapshot, query: Any, parameters: Any = None) -> Any:
        if "from blocks b" in query.as_string():
            explain = "explain (analyze, costs off, timing off, summary off) " + query.as_string()
            cursor = await self._cursor.execute(explain, parameters)
            plans.append("\n".join(row[0] for row in await cursor.fetchall()))
        return await run(self, query, parameters)

    monkeypatch.setattr(Snapshot, "rows", explained)
    page = await logs.search(reader, EVERYTHING, BASE + 4 * HOUR, BASE + 6 * HOUR)
    assert [row.stream_offset for row in page.rows] == [5, 4]
    assert plans
    for plan in plans:
        for hour in range(3):
            lines = [x for x in plan.splitlines() if f"_{BASE + hour * HOUR:%Y%m%d%H}" in x]
            assert all("never executed" in x for x in lines), plan


async def test_a_search_that_takes_too_long_says_so(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Beyond its time a search ends in QUERY_TIMEOUT, and the connection serves on."""
    await commit(owner, [Record(STREAMS[0], i, BASE) for i in range(20_000)])
    with pytest.raises(Fault) as caught:
        await logs.search(reader, parse("absent"), BASE, BASE + HOUR, timeout_ms=1)
    assert caught.value.reason == "QUERY_TIMEOUT"
    assert (await logs.search(reader, EVERYTHING, BASE, BASE + HOUR, 5)).rows


async def test_a_stream_that_is_left_leaves_a_usable_connection(
    reader: AsyncConnection[Any],
) -> None:
    """Rows that nobody takes any more, for want of time or by a mistake, end with their query."""

    async def take(*, late: bool) -> None:
        query = sql.SQL("select n::bigint, repeat('x', 10000) from generate_series(1, 9999) n")
        async with (
            snapshot(reader, 10_000) as taken,
            aclosing(taken.stream(query.format(), {})) as found,
        ):
            async for number, _ in found:
                if late:
                    taken._deadline = 0.0
                else:
                    assert number / 0

    with pytest.raises(Fault) as caught:
        await take(late=True)
    assert caught.value.reason == "QUERY_TIMEOUT"
    with pytest.raises(ZeroDivisionError):
        await take(late=False)
    cursor = await reader.execute("select 1")
    assert await cursor.fetchone() == (1,)


async def test_a_search_that_is_given_up_ends_in_the_database(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Cancelled, a search is no longer worked on by the server, and the connection serves on."""
    await commit(owner, [Record(STREAMS[0], 1, BASE)])
    waiting = "select count(*) from pg_locks where pid = %s and not granted"
    pid = reader.info.backend_pid

    async def waits() -> bool:
        row = await (await owner.execute(waiting, (pid,))).fetchone()
        assert row is not None
        return bool(row[0])

    async with owner.transaction():
        await owner.execute("lock table stream_info in access exclusive mode")
        search = asyncio.create_task(logs.search(reader, EVERYTHING, BASE, BASE + HOUR))
        async with asyncio.timeout(20):
            while not await waits():
                await asyncio.sleep(0.01)
        search.cancel()
        (ended,) = await asyncio.gather(search, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        assert not await waits()
    assert (await logs.search(reader, EVERYTHING, BASE, BASE + HOUR)).rows


async def test_the_connection_cannot_write(reader: AsyncConnection[Any]) -> None:
    """What reads for pages is refused every write by the database."""
    with pytest.raises(Exception, match=r"read-only|permission denied"):
        await reader.execute("delete from feed")


def test_a_position_that_was_tampered_with_is_refused() -> None:
    """Text that no page gave out is FILTER_INVALID, whatever it is."""
    for text in ("", "1.2", "a.b.c", "1.2.3.4", "1.-2.3", "9" * 400 + ".1.1"):
        with pytest.raises(Fault):
            Cursor.parse(text)
