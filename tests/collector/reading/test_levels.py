"""Fresh, half compacted, all compacted: whatever is asked, the answer is the same."""

from __future__ import annotations

import itertools
import random
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider.filter import parse
from outrider_collector.store.reading import cost, logs
from tests.collector.reading.compacting import compact, compact_some
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit, newest_first

if TYPE_CHECKING:
    from psycopg import AsyncConnection

STREAMS = [
    Source(11, "payments", "pay-1", "host-1"),
    Source(12, "payments", "pay-2", "host-2"),
    Source(21, "scrapers", "news-1", "host-1"),
]
TRACES = [None, uuid.UUID(int=1), uuid.UUID(int=0xDEADBEEF << 96)]
MESSAGES = [
    "GET /orders/42 took 17 ms", "order-deadbeef was filled", "peer 10.2.3.4 said Timed-Out",
    "déjà vu: Ärger with naïve_client", "", "a.b.c 1.2.3", "x" * 300, None, "K\u212aelvin ok",
]  # fmt: skip
ATTRIBUTES = [
    None, '{"order_id": 42, "who": "anna"}', '{"text": "first\\nValueError: 10.9.8.7"}',
    '{"a": {"b": "Timed-Out"}, "ms": 17.5}',
]  # fmt: skip
FILTERS = [
    "", "severity>=warn", "service:payments severity:debug", "event:order.filled", "filled",
    "deadbeef", "order-deadbeef", "10.2.3.4", "10.2.3", "2.3", "valueerror", "10.9.8.7", "9.8",
    "deja", "déjà", "ärger", "naïve_client", "client", "time*", '"timed-out"', '"/orders/42 took"',
    "-filled", "filled OR severity>=error", "kelvin", "k\u212aelvin", "absent_word", "attrs.ms>17",
    "attrs.order_id:42", "attrs.who:anna took", "trace_id:" + TRACES[2].hex, "logger:app.db",  # type: ignore[union-attr]
    "correlation_id:c-1", "error_code:E_*", "worker:pay-2 42", "b", "1.2.3", "stream:21",
]  # fmt: skip


def some_records(seed: int, count: int) -> list[Record]:
    """Records over 30 hours, some of them weeks before their arrival, in arbitrary order."""
    dice = random.Random(seed)
    return [
        Record(
            stream=dice.choice(STREAMS),
            offset=offset,
            ts=BASE
            + timedelta(
                hours=dice.choice([0, 0, 0, 1, 2, 30, -24 * 40]),
                seconds=dice.choice([0, 1, 59, 60, 61, 3_000]),
                microseconds=dice.choice([0, 999_999]),
            ),
            message=dice.choice(MESSAGES),
            severity=dice.choice([1, 5, 9, 9, 13, 17, 21]),
            logger=dice.choice([None, "app.db"]),
            event=dice.choice([None, None, "order.filled", "job.started", "auth.denied"]),
            error_code=dice.choice([None, "E_TIMEOUT"]),
            trace_id=dice.choice(TRACES),
            correlation_id=dice.choice([None, "c-1"]),
            attributes=dice.choice(ATTRIBUTES),
        )
        for offset in range(count)
    ]


async def stored(owner: AsyncConnection[Any], seed: int) -> list[Record]:
    """Store records in blocks that overlap in time."""
    records = some_records(seed, 240)
    dice = random.Random(seed)
    left = list(records)
    while left:
        size = dice.randint(1, 25)
        part, left = left[:size], left[size:]
        newest = max(record.ts for record in part)
        await commit(owner, part, newest + timedelta(minutes=dice.choice([0, 1, 90])))
    return records


async def answers(reader: AsyncConnection[Any], text: str) -> dict[str, Any]:
    """Everything that can be asked about a filter and a range."""
    filter_ = parse(text)
    since, until = BASE - 1_000 * HOUR, BASE + 40 * HOUR
    pages, after = [], None
    while True:
        page = await logs.search(reader, filter_, since, until, 50, after=after)
        pages += page.rows
        if page.next is None:
            break
        after = page.next
    exported = [row async for chunk in logs.export(reader, filter_, since, until) for row in chunk]
    return {
        "pages": pages,
        "export": exported,
        "count": await logs.count(reader, filter_, since, until),
        "edges": await logs.count(
            reader, filter_, BASE + timedelta(seconds=1), BASE + timedelta(hours=1, seconds=60)
        ),
        # Edges within blocks, by whole minutes.
        "minutes": await logs.histogram(
            reader, filter_, BASE + timedelta(minutes=10), BASE + timedelta(minutes=202), 48
        ),
        "odd parts": await logs.histogram(
            reader, filter_, BASE + timedelta(seconds=7), BASE + HOUR, 37
        ),
        "facets": await logs.facets(reader, filter_, since, until, top=50),
    }


@pytest.mark.parametrize("seed", [1, 2])
async def test_answers_do_not_depend_on_what_is_compacted(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str, seed: int
) -> None:
    """Pages, exports, counts, histograms and facets of every filter stay what they were.

    Every column of every record is compared, those with strange texts and times too.
    """
    records = await stored(owner, seed)
    asked = ["", *FILTERS[seed % 2 :: 2]]
    before = {text: await answers(reader, text) for text in asked}
    assert len(before[""]["pages"]) == len(records)
    assert sum(1 for text in asked if before[text]["pages"]) > len(asked) - 5

    assert await compact_some(database_url, seed) > 0
    half = {text: await answers(reader, text) for text in asked}
    assert await (await owner.execute("select count(*) > 0 from blocks_fresh")).fetchone() == (
        True,
    )
    await compact(database_url)
    assert await (await owner.execute("select count(*) from blocks_fresh")).fetchone() == (0,)
    whole = {text: await answers(reader, text) for text in asked}
    for text in asked:
        assert half[text] == before[text], text
        assert whole[text] == before[text], text


async def test_edges_of_ranges_are_exact_on_both_levels(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str
) -> None:
    """To the microsecond, also where many records of a block have one time, and page by page."""
    tick = timedelta(microseconds=1)
    times = [BASE, BASE + tick, BASE + tick, *[BASE + 5 * tick] * 9, BASE + timedelta(seconds=2)]
    records = [Record(STREAMS[0], i, ts, f"x {i}") for i, ts in enumerate(times)]
    dice = random.Random(8)
    edges = sorted({ts + d * tick for ts in times for d in (-1, 0, 1)})
    for level in ("fresh", "compacted"):
        if level == "fresh":
            await commit(owner, dice.sample(records, len(records)))
        else:
            await compact(database_url)
        for since, until in itertools.combinations(edges, 2):
            expected = newest_first(r for r in records if since <= r.ts < until)
            for text in ("x", "/x/"):
                found: list[tuple[int, int]] = []
                after = None
                while True:
                    page = await logs.search(reader, parse(text), since, until, 4, after=after)
                    found += [(row.stream, row.stream_offset) for row in page.rows]
                    after = page.next
                    if after is None:
                        break
                assert found == expected, (level, text, since, until)


@pytest.mark.parametrize("stream", STREAMS)
async def test_context_is_the_same_on_both_levels(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str, stream: Source
) -> None:
    """A record and what its stream said around it are found by its name wherever they lie."""
    for step in range(30):
        ts = BASE + step * timedelta(minutes=7) - timedelta(hours=step % 3)
        await commit(
            owner,
            [Record(each, step * 10 + i, ts) for each in STREAMS for i in range(3)],
            BASE + step * timedelta(minutes=7),
        )
    places = [0, 3, 151, 292]
    asked = [place - place % 10 + min(place % 10, 2) for place in places]
    before = [await logs.context(reader, stream.id, offset, 12, 12) for offset in asked]
    near = [
        await logs.record(reader, stream.id, row[0].stream_offset, near=row[0].ts) for row in before
    ]
    await compact_some(database_url, 5)
    assert [await logs.context(reader, stream.id, offset, 12, 12) for offset in asked] == before
    await compact(database_url)
    assert [await logs.context(reader, stream.id, offset, 12, 12) for offset in asked] == before
    assert near == [
        await logs.record(reader, stream.id, row[0].stream_offset, near=row[0].ts) for row in before
    ]


async def test_views_for_people_hold_both_levels(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str
) -> None:
    """`logs` and `logs_between` give the same rows before and after, arrival included."""
    await stored(owner, 4)
    whole = "select * from logs order by stream, stream_offset"
    part = (
        f"select * from logs_between('{BASE.isoformat()}', '{(BASE + HOUR).isoformat()}')"
        " order by stream, stream_offset"
    )
    before = [await (await reader.execute(query)).fetchall() for query in (whole, part)]
    assert len(before[0]) == 240
    assert 0 < len(before[1]) < 240
    await compact_some(database_url, 4)
    assert [await (await reader.execute(query)).fetchall() for query in (whole, part)] == before
    await compact(database_url)
    assert [await (await reader.execute(query)).fetchall() for query in (whole, part)] == before


async def test_a_tail_behind_the_compactor_says_what_it_did_not_look_at(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str
) -> None:
    """Records that were moved before the tail came are counted as unread, not lost in silence."""
    for step in range(4):
        number = await commit(owner, [Record(STREAMS[0], step * 10 + i, BASE) for i in range(3)])
        await owner.execute(
            "update feed set detail = '{\"records\": 3}' where number = %s", (number,)
        )
    assert (await logs.tail(reader, 0, parse(""))).unread == 0
    await compact(database_url)
    late = await commit(owner, [Record(STREAMS[0], 90, BASE + HOUR)])
    await owner.execute("update feed set detail = '{\"records\": 1}' where number = %s", (late,))
    page = await logs.tail(reader, 0, parse(""))
    assert [row.stream_offset for row in page.rows] == [90]
    assert (page.unread, page.last_number) == (12, late)


async def test_a_rare_word_opens_the_blocks_that_have_it(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], database_url: str
) -> None:
    """Of many compacted blocks, the filter leaves those with the word; others are passed over."""
    for hour in range(20):
        await commit(
            owner,
            [
                Record(
                    STREAMS[0], hour * 100 + i, BASE + hour * HOUR + timedelta(seconds=i),
                    f"line {i} of hour {hour}" + (" needle-7f3a" if (hour, i) == (7, 40) else ""),
                )
                for i in range(50)
            ],
        )  # fmt: skip
    await compact(database_url)
    until = BASE + 20 * HOUR
    for text in ("7f3a", "needle", "needle-7f3a", '"hour 7 needle"'):
        page = await logs.search(reader, parse(text), BASE, until)
        assert ([row.stream_offset for row in page.rows], page.blocks_total) == ([740], 20)
        assert page.blocks_read <= 2
        assert (await cost.cost(reader, parse(text), BASE, until)).blocks <= 2
