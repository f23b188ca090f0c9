"""Following the feed: the live tail and the activity window."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outrider.filter import parse
from outrider_collector.store.reading import feed, logs
from outrider_collector.store.reading.activity import ActivityWindow
from outrider_collector.store.reading.types import WorkerName
from tests.collector.reading.rows import BASE, Record, Source, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PAY = Source(1, "payments", "pay-1", "host-1")
ETL = Source(2, "etl", "ledger", "host-2")


async def test_a_tail_resumes_without_repeat_or_hole(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Pages of the tail, each from the last number, are all new matches in commit order."""
    dice = random.Random(2)
    await commit(owner, [Record(PAY, 0, BASE)])
    number = await feed.last(reader)
    seen: list[int] = []
    expected: list[int] = []
    for step in range(1, 20):
        stream = dice.choice([PAY, ETL])
        # Later commits may hold older records: order is that of the commits.
        await commit(owner, [Record(stream, step, BASE - timedelta(seconds=dice.randint(0, 900)))])
        if stream is PAY:
            expected.append(step)
        if dice.random() < 0.4:
            page = await logs.tail(reader, number, parse("service:payments"))
            seen += [row.stream_offset for row in page.rows]
            number = page.last_number
    page = await logs.tail(reader, number, parse("service:payments"))
    seen += [row.stream_offset for row in page.rows]
    assert seen == expected
    assert page.last_number == await feed.last(reader)
    again = await logs.tail(reader, page.last_number, parse("service:payments"))
    assert (again.rows, again.skipped, again.last_number) == ([], 0, page.last_number)


async def test_a_tail_says_what_it_skipped(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """With more matches than the limit the newest are shown and the others counted."""
    for step in range(6):
        await commit(owner, [Record(PAY, step * 10 + i, BASE) for i in range(10)])
    page = await logs.tail(reader, 0, parse("hello"), 15)
    assert [row.stream_offset for row in page.rows] == [*range(45, 50), *range(50, 60)]
    assert (page.skipped, page.unread) == (45, 0)
    page = await logs.tail(reader, 0, parse("hello"), 100, most_records=20)
    assert [row.stream_offset for row in page.rows] == [*range(40, 60)]
    assert (page.skipped, page.unread) == (0, 40)


async def test_changes_come_in_order_from_a_number_on(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """The feed is read by number: rows after it, in order, at most as many as asked for."""
    for step in range(5):
        await commit(owner, [Record(PAY, step, BASE)])
    await owner.execute(
        "insert into feed (number, nonce, kind, detail) values (6, '', 'health', '{\"a\": 1}')"
    )
    rows = await feed.changes(reader, 3)
    assert [(row.number, row.kind) for row in rows] == [
        (4, "ingest"), (5, "ingest"), (6, "health"),
    ]  # fmt: skip
    assert rows[-1].detail == {"a": 1}
    assert [row.number for row in await feed.changes(reader, 0, 2)] == [1, 2]


async def test_activity_counts_each_line_once(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Whenever a window is refreshed, its minutes hold each committed line once."""
    now = BASE
    minute = timedelta(minutes=1)
    window = ActivityWindow(minutes=10)
    offsets = iter(range(1_000))

    async def lines(stream: Source, age: timedelta, severity: int, count: int) -> None:
        records = [
            Record(stream, next(offsets), now - age, severity=severity) for _ in range(count)
        ]
        await commit(owner, records, now)

    await lines(PAY, 5 * minute, 9, 7)
    await lines(PAY, 5 * minute, 17, 2)
    await lines(ETL, 2 * minute, 14, 3)
    await lines(ETL, 30 * minute, 9, 50)
    await window.refresh(reader, now)
    await lines(PAY, 5 * minute, 9, 1)
    await window.refresh(reader, now)
    await window.refresh(reader, now)
    payments = window.of(WorkerName("payments", "pay-1", "host-1"))
    assert sum(n or 0 for n in payments.lines) == 10
    assert sum(n or 0 for n in payments.errors) == 2
    etl = window.of_service("etl")
    assert (sum(n or 0 for n in etl.lines), sum(n or 0 for n in etl.warns)) == (3, 3)
    assert sum(n or 0 for n in window.total().lines) == 13
    assert len(payments.lines) == 10
    assert None not in payments.lines


async def test_activity_beyond_the_limit_is_unknown(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Minutes that were too many to count are None, never zero."""
    for age in range(8, 0, -1):
        moment = BASE - timedelta(minutes=age)
        await commit(owner, [Record(PAY, age * 100 + i, moment) for i in range(10)], BASE)
    window = ActivityWindow(minutes=10, most_records=45)
    await window.refresh(reader, BASE)
    # Of ten minutes up to the present one: four blocks fit, and the minute of a fifth is not whole.
    assert window.total().lines == [None] * 5 + [10] * 4 + [0]
