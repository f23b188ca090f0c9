"""Sheets: filters of many blocks turned round. Answers are the same with and without them."""

from __future__ import annotations

import asyncio
import random
from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.columns import DictionaryColumn
from outrider.filter import parse
from outrider_collector.store import leases
from outrider_collector.store.budget import growth, shed
from outrider_collector.store.budget.limits import Measured, Wanted
from outrider_collector.store.compaction import (
    bloom,
    checksums,
    compactor,
    days,
    sheeting,
    sheets,
    transpose,
)
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.verify import verify
from outrider_collector.store.erasing.purge import Purge
from outrider_collector.store.reading import logs, sieve
from outrider_collector.store.reading import sheets as asking
from tests.collector.store.making import LINE_BYTES, commit, make_columns, now_us

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.reading.types import Page
    from tests.collector.store.making import Store

AT_ONCE = Pace(age=timedelta(0), share=1.0, everything=True)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
WORDS = [b"alpha", b"beta", b"gamma", b"delta", b"order7", b"order8"]


def _filter(tokens: list[bytes], size: int) -> bytes:
    """A filter of a size, as blocks have them."""
    bits = np.zeros(8 * size, dtype=np.uint8)
    for token in tokens:
        for place in bloom.places(token):
            bits[place & (8 * size - 1)] = 1
    return np.packbits(bits).tobytes()


@given(
    blocks=st.lists(st.lists(st.sampled_from(WORDS), max_size=4), min_size=1, max_size=40),
    size=st.sampled_from([32, 64, 4096]),
    sought=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2),
)
def test_a_sheet_answers_as_the_filters_it_was_made_of(
    blocks: list[list[bytes]], size: int, sought: list[bytes]
) -> None:
    """A block's bit is set exactly where its own filter has all places of the tokens."""
    filters = [_filter(tokens, size) for tokens in blocks]
    sheet, width = transpose.slices_of(filters), sheets.slice_bytes(len(filters))
    places = [place & (8 * size - 1) for token in sought for place in bloom.places(token)]
    bits = sheets.in_all([sheet[place * width : (place + 1) * width] for place in places])
    asked = np.array([checksum for token in sought for checksum in checksums.of_texts([token])])
    answered = [bool(bits[number // 8] & 128 >> number % 8) for number in range(len(filters))]
    assert answered == [not checksums.missing_in(each, asked.astype(np.uint32)) for each in filters]
    assert sheets.has_every_block(bits, len(filters)) == all(answered)


@given(
    filters=st.sampled_from([32, 4096]).flatmap(
        lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=20)
    )
)
def test_the_filters_come_back(filters: list[bytes]) -> None:
    """Nothing of a filter is lost in a sheet."""
    assert transpose.filters_of(transpose.slices_of(filters), len(filters)) == filters


@given(count=st.integers(0, 3000), least=st.sampled_from([16, 256, 512]))
def test_pieces_are_neither_small_nor_large(count: int, least: int) -> None:
    """No sheet has less than is worth it or more than fits; none is left out that would do."""
    taken = [len(range(count)[piece]) for piece in sheets.pieces(count, least)]
    assert all(least <= one <= sheets.MOST_BLOCKS for one in taken)
    assert 0 <= count - sum(taken) < least


# ------------------------------------------------------------------ with the database


@pytest.fixture
def store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with sheets of few blocks, which are asked for any range."""
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 2)
    monkeypatch.setattr(sheeting, "LEAST_OF_OVER", 2)
    monkeypatch.setattr(sheets, "MOST_BLOCKS", 3)
    monkeypatch.setattr(asking, "LEAST_RANGE", timedelta(0))
    return store


async def _fill(store: Store, texts: list[bytes], *, severity: int = 9, days_ago: int = 0) -> None:
    """A block of its own for each text, an hour apart, without sheets."""
    writer, place = store.writer(), await store.committed(1)
    begin = now_us() // DAY_US * DAY_US - days_ago * DAY_US - DAY_US
    for number, text in enumerate(texts):
        columns = make_columns(
            [text],
            begin=place,
            severity=bytes([severity]),
            event=DictionaryColumn(),
            ts_us=array("q", [begin + number % 24 * HOUR_US]),
        )
        await commit(writer, store.batch(place, [text], columns=columns))
        place += LINE_BYTES
    await _compact(store)


async def _compact(store: Store) -> int:
    """Compact what there is; returns how many sheets were made."""
    compacting = Compactor(store.url, AT_ONCE, holder="test")
    assert await compacting.once(asyncio.Event())
    return compacting.totals.sheets


async def _page(connection: AsyncConnection, text: str) -> Page:
    now = datetime.now(UTC)
    since, until = now - timedelta(days=20), now + timedelta(days=1)
    return await logs.search(connection, parse(text), since, until)


async def _found(connection: AsyncConnection, text: str) -> list[str]:
    return [row.message or "" for row in (await _page(connection, text)).rows]


async def _answers(connection: AsyncConnection, now: datetime, text: str) -> tuple[Any, ...]:
    """All that a filter is asked for: its matches, how many, when, and with which values."""
    asked, since, until = parse(text), now - timedelta(days=20), now + timedelta(days=1)
    found = await _found(connection, text)
    count = await logs.count(connection, asked, since, until)
    buckets = await logs.histogram(connection, asked, since, until, 21)
    facets = await logs.facets(connection, asked, since, until)
    some = await logs.facets(connection, asked, since, until, most_records=10)
    assert count == len(found) == sum(bucket.total for bucket in buckets) == facets.lines
    return found, buckets, facets, some


async def test_what_is_found_is_the_same_with_sheets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words, phrases, AND, OR, NOT over blocks of mixed sizes, in sheets, gone, and one fresh:
    pages, counts and facets are the same, also where fresh ones are looked into beside Postgres.
    """
    dice = random.Random(4)
    texts = [b" ".join(dice.choices(WORDS, k=dice.randrange(4))) for _ in range(30)]
    # Of another size of filter.
    texts += [b" ".join([*dice.choices(WORDS, k=2), *(b"w%d" % n for n in range(40))])] * 3
    await _fill(store, texts)
    assert await store.value("select count(distinct filter_bytes)::int from block_sheets") == 2
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 1_000)
    await _fill(store, texts[:7], severity=17)
    await store.connection.execute(
        "delete from blocks_compacted where id in (select ids[2] from block_sheets)"
    )
    await commit(
        store.writer(),
        store.batch(370, texts[:3], columns=make_columns(texts[:3], begin=370)),
    )
    asked, now = 0, datetime.now(UTC)
    for _ in range(60):
        wanted = _some_filter(dice, 2)
        monkeypatch.setattr(asking, "LEAST_RANGE", timedelta(days=10_000))
        without = await _answers(store.connection, now, wanted)
        monkeypatch.setattr(asking, "LEAST_RANGE", timedelta(0))
        assert await _answers(store.connection, now, wanted) == without, wanted
        with monkeypatch.context() as patch:
            patch.setattr(sieve, "LEAST_RECORDS", 0)
            assert await _answers(store.connection, now, wanted) == without, wanted
        asked += bool(without[0])
    assert asked > 20


def _some_filter(dice: random.Random, depth: int) -> str:
    one = dice.choice([*(word.decode() for word in WORDS), '"alpha beta"', "absent", "alph*",
                       "severity>=error", "service:shop"])  # fmt: skip
    if not depth or dice.random() < 0.3:
        return one
    left, right = _some_filter(dice, depth - 1), _some_filter(dice, depth - 1)
    return dice.choice([f"({left} {right})", f"({left} OR {right})", f"NOT ({left})"])


async def test_a_block_without_the_word_is_passed_over_by_its_sheet(store: Store) -> None:
    """Its own filter is not asked any more: one that would let all through makes no difference."""
    await _fill(store, [b"alpha", b"beta", b"gamma", b"delta", b"alpha"])
    page = await _page(store.connection, "alpha")
    assert len(page.rows) == 2
    await store.connection.execute(
        "update blocks_compacted set bloom = decode(repeat('ff', 32), 'hex')"
    )
    # The three without it and with a sheet; each of these names three blocks or two.
    assert (await _page(store.connection, "alpha")).blocks_read == page.blocks_read == 2


async def test_a_rewritten_block_is_asked_itself(store: Store) -> None:
    """Purge makes a block that no sheet names; what it left is found, what it took is not."""
    await _fill(store, [b"alpha secret7", b"beta", b"gamma"])
    await commit(
        store.writer(),
        store.batch(30, [b"alpha left", b"secret7 gone"], columns=make_columns(
            [b"alpha left", b"secret7 gone"], begin=30, event=DictionaryColumn())),
    )  # fmt: skip
    await _compact(store)
    await Purge(store.url, parse("secret7"), share=1.0).erase("test", "")
    assert await _found(store.connection, "secret7") == []
    assert await _found(store.connection, "alpha") == ["alpha left"]
    assert await _found(store.connection, "beta") == ["beta"]
    assert await _findings(store) == []


async def test_a_block_of_before_there_were_ids_is_asked_itself(store: Store) -> None:
    """It has no id, so it is in no sheet, and is found."""
    await _fill(store, [b"alpha"])
    await store.connection.execute("update blocks_compacted set id = null")
    await _fill(store, [b"beta", b"gamma", b"delta"])
    assert await store.value("select sum(cardinality(ids))::int from block_sheets") == 3
    assert await _found(store.connection, "alpha") == ["alpha"]


async def test_sheets_are_not_put_off_for_ever_where_others_want_the_processor(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer ago they were found due the less it gives way: after an hour not at all."""
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 1_000)
    await _fill(store, [b"alpha"] * 12)
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 2)
    clock_s = waited_s = 1_000.0
    rests: list[float] = []

    def waited() -> float:
        """What comes between two looks takes 300 s, in all of which others have the processor."""
        nonlocal clock_s, waited_s
        clock_s, waited_s = clock_s + 300, waited_s + 300
        return waited_s

    async def rest(rest_s: float, *_: asyncio.Event) -> None:
        nonlocal clock_s
        clock_s += rest_s
        rests.append(rest_s)

    monkeypatch.setattr(compactor, "_waited_s", waited)
    monkeypatch.setattr(compactor, "first_of", rest)
    compacting = Compactor(store.url, Pace(), holder="test", clock=lambda: clock_s)
    assert await compacting.once(asyncio.Event())
    assert compacting.totals.sheets == 4
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == 300 + 300 * compactor.PATIENCE * (1 - 300 / compactor.PATIENT_S)
    assert rests[-1] == 300


async def test_sheets_that_are_made_between_two_pages_and_within_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is one snapshot: it sees the sheets of its blocks, or none; nothing is missed."""
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 1_000)
    await _fill(store, [b"alpha", b"beta"] * 6)
    monkeypatch.setattr(sheeting, "LEAST_BLOCKS", 2)
    made: list[int] = []
    asked = asking.left_out

    async def beside(*arguments: Any) -> dict[str, Any] | None:
        made.append(await _compact(store))
        await Purge(store.url, parse("beta"), share=1.0).erase("test", "")
        return await asked(*arguments)

    now = datetime.now(UTC)
    since, until = now - timedelta(days=3), now + timedelta(days=1)
    monkeypatch.setattr(asking, "left_out", beside)
    first = await logs.search(store.connection, parse("alpha"), since, until, 4)
    assert made[0] > 0
    rest = await logs.search(store.connection, parse("alpha"), since, until, after=first.next)
    rows = [(row.stream, row.stream_offset) for page in (first, rest) for row in page.rows]
    assert len(rows) == len(set(rows)) == 6


async def test_sheets_go_with_their_day(store: Store) -> None:
    """By retention and for room, in the transaction that drops the table; others stay."""
    await _fill(store, [b"alpha", b"beta"], severity=5, days_ago=6)
    await _fill(store, [b"alpha", b"beta"], severity=5, days_ago=3)
    await _fill(store, [b"alpha", b"beta"])
    assert await _sheet_days(store) == 3

    async def full(_: AsyncConnection) -> Measured:
        return Measured(next(used), 0, None)

    used = iter((95, 80))
    assert len(await shed.shed(store.connection, Wanted(100), measure=full)) == 1
    assert await _sheet_days(store) == 2
    kept = dict.fromkeys(RecordClass, timedelta(days=30)) | {RecordClass.DEBUG: timedelta(days=1)}
    later = datetime.now(UTC) + timedelta(days=2)
    assert len(await days.drop_old(store.connection, later, kept)) == 1
    assert await _sheet_days(store) == 1


async def test_a_class_costs_its_sheets_too(store: Store) -> None:
    """What retention drops of a class is its blocks and their sheets."""
    await _fill(store, [b"alpha", b"beta"])
    kept = dict.fromkeys(RecordClass, timedelta(days=30))
    size = "select coalesce(sum(octet_length(slices)), 0)::int from block_sheets"
    sheet_bytes = await store.value(size)
    with_sheets = {one.label: one for one in await growth.read_stocks(store.connection, kept)}
    await store.connection.execute("delete from block_sheets")
    without = {one.label: one for one in await growth.read_stocks(store.connection, kept)}
    assert with_sheets["app"].size_bytes == without["app"].size_bytes + sheet_bytes
    assert sheet_bytes > 0


async def test_sheets_of_a_day_that_an_older_version_dropped_go_too(store: Store) -> None:
    """Whoever drops the table alone leaves sheets that match nothing, until the next look."""
    await _fill(store, [b"alpha", b"beta"], days_ago=3)
    await store.connection.execute("drop table " + await store.value(
        "select tableoid::regclass::text from blocks_compacted limit 1"))  # fmt: skip
    assert await _found(store.connection, "alpha") == []
    await _compact(store)
    assert await _sheet_days(store) == 0


async def test_who_lost_the_lease_makes_no_sheet(store: Store) -> None:
    """It raises LeaseLost and leaves nothing behind."""
    await _fill(store, [b"alpha", b"beta"])
    await store.connection.execute("delete from block_sheets")
    (due,) = await sheeting.due(store.connection)
    lease = await leases.take(store.connection, compactor.LEASE, "test", 60)
    assert lease is not None
    with pytest.raises(leases.LeaseLost):
        await sheeting.make(store.connection, replace(lease, epoch=lease.epoch - 1), due)
    assert await _sheet_days(store) == 0
    assert await sheeting.make(store.connection, lease, due)
    assert await sheeting.due(store.connection) == []


@pytest.mark.parametrize(
    "damage",
    [
        "update block_sheets set slices = decode(repeat('00', length(slices)), 'hex')",
        "update block_sheets set slices = substr(slices, 2)",
        "update block_sheets set ids = ids[2:2] || ids[1:1]",
        "update block_sheets set ts_max = ts_min - interval '1 s'",
        "update block_sheets set team = 2",
    ],
)
async def test_verify_holds_sheets_against_filters(store: Store, damage: str) -> None:
    """A sheet that is not what the filters of its blocks say is one finding."""
    await _fill(store, [b"alpha", b"beta"])
    assert await _findings(store) == []
    await store.connection.execute(damage)
    findings = await _findings(store)
    assert len(findings) == 1, findings
    assert "is wrong about" in findings[0]


async def _findings(store: Store) -> list[str]:
    return [each async for looked in verify(store.connection) for each in looked.findings]


async def _sheet_days(store: Store) -> int:
    days_: int = await store.value("select count(distinct (day, class))::int from block_sheets")
    return days_
