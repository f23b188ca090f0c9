"""Counting: by time, by value, in all; and what is said where counting stops."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider.errors import Fault
from outrider.filter import parse
from outrider_collector.store.reading import logs
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

STREAMS = [
    Source(1, "payments", "pay-1", "host-1"),
    Source(2, "payments", "pay-2", "host-2"),
    Source(3, "etl", "ledger", "host-2"),
]


async def stored(owner: AsyncConnection[Any], count: int = 300) -> list[Record]:
    """Store records over an hour in blocks that cross the edges of buckets."""
    dice = random.Random(11)
    records = [
        Record(
            dice.choice(STREAMS),
            offset,
            BASE
            + timedelta(seconds=dice.randint(0, 3_599), microseconds=dice.choice([0, 999_999])),
            severity=dice.choice([1, 6, 9, 12, 13, 17, 22]),
            message=dice.choice(["alpha", "beta"]),
            event=dice.choice([None, "order.filled", "job.tick"]),
            error_code=dice.choice([None, None, "E1"]),
        )
        for offset in range(count)
    ]
    for start in range(0, count, 30):
        await commit(owner, records[start : start + 30], BASE + HOUR)
    return records


@pytest.mark.parametrize("text", ["", "service:payments severity>=warn", "alpha", "worker:pay-2"])
async def test_buckets_hold_exactly_their_records(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], text: str
) -> None:
    """Each bucket has the matches of its span by level, from summaries as from records."""
    records = await stored(owner)
    since, until = BASE + timedelta(minutes=3), BASE + timedelta(minutes=47)
    buckets = await logs.histogram(reader, parse(text), since, until, 11)
    assert len(buckets) == 11
    width = timedelta(minutes=4)
    for place, bucket in enumerate(buckets):
        assert bucket.start == since + place * width
        inside = [
            r.severity
            for r in records
            if bucket.start <= r.ts < bucket.start + width
            and ("payments" not in text or r.stream.service == "payments")
            and ("warn" not in text or r.severity >= 13)
            and ("alpha" not in text or r.message == "alpha")
            and ("pay-2" not in text or r.stream.worker == "pay-2")
        ]
        assert (bucket.debug, bucket.info) == (
            sum(s < 9 for s in inside), sum(9 <= s < 13 for s in inside),
        )  # fmt: skip
        assert (bucket.warn, bucket.error) == (
            sum(13 <= s < 17 for s in inside), sum(s >= 17 for s in inside),
        )  # fmt: skip
        assert bucket.known
    total = await logs.count(reader, parse(text), since, until)
    assert total == sum(bucket.total for bucket in buckets)


async def test_what_was_not_counted_is_not_known(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Beyond the limit of records the oldest buckets are unknown, the newest exact."""
    for minute in range(10):
        moment = BASE + timedelta(minutes=minute, seconds=30)
        await commit(owner, [Record(STREAMS[0], minute * 100 + i, moment) for i in range(50)])
    until = BASE + timedelta(minutes=10)
    buckets = await logs.histogram(reader, parse("hello"), BASE, until, 10, most_records=200)
    assert [bucket.known for bucket in buckets] == [False] * 6 + [True] * 4
    assert [bucket.total for bucket in buckets] == [0] * 6 + [50] * 4
    with pytest.raises(Fault) as caught:
        await logs.count(reader, parse("hello"), BASE, until, most_records=200)
    assert caught.value.reason == "QUERY_TOO_LARGE"
    assert caught.value.metadata["records"] == 500
    # What summaries decide has no such limit.
    assert await logs.count(reader, parse(""), BASE, until, most_records=200) == 500


async def test_facets_count_every_field(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Facets count the matches by value, most frequent first, severity worst first."""
    records = [r for r in await stored(owner) if r.message == "alpha"]
    facets = await logs.facets(reader, parse("alpha"), BASE, BASE + HOUR, top=2)
    assert facets.lines == len(records)
    assert facets.counted_since == BASE
    assert {f.value: f.n for f in facets.service} == {
        name: sum(r.stream.service == name for r in records) for name in ("payments", "etl")
    }
    assert sum(f.n for f in facets.host) == len(records)
    assert {f.value for f in facets.error_code} == {"E1"}
    assert sum(f.n for f in facets.event) == sum(r.event is not None for r in records)
    assert (len(facets.worker), facets.distinct["worker"]) == (2, 3)
    assert facets.worker[0].n >= facets.worker[1].n
    all_levels = await logs.facets(reader, parse("alpha"), BASE, BASE + HOUR)
    assert [f.value for f in all_levels.severity] == [
        "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE",
    ]  # fmt: skip


async def test_nothing_there_is_counted_as_nothing(reader: AsyncConnection[Any]) -> None:
    """An empty store gives zeros and empty lists, not errors."""
    assert await logs.count(reader, parse("x"), BASE, BASE + HOUR) == 0
    assert await logs.count(reader, parse(""), BASE + HOUR, BASE) == 0
    assert (await logs.facets(reader, parse(""), BASE, BASE + HOUR)).lines == 0
    buckets = await logs.histogram(reader, parse(""), BASE, BASE + HOUR)
    assert (len(buckets), sum(b.total for b in buckets)) == (120, 0)
    page = await logs.search(reader, parse(""), BASE, BASE + HOUR)
    assert (page.rows, page.next) == ([], None)
