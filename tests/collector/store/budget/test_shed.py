"""Days of debug records that go before their time: which, in what order, and what is told of it."""

from __future__ import annotations

from array import array
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg.types.json import Jsonb

from outrider.columns import DictionaryColumn
from outrider.filter import parse
from outrider_collector.store.budget import account, growth, measure, services, shed
from outrider_collector.store.budget.limits import OFF, Measured, Wanted
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import connect
from outrider_collector.store.housekeeping import keep_house
from outrider_collector.store.reading import completeness
from tests.collector.reading.compacting import compact
from tests.collector.store.making import commit, make_columns, now_us

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from tests.collector.store.making import Store

DAY_US = 86_400_000_000
DEBUG, INFO = 5, 9


async def fill(store: Store, *days_ago: int, severity: int = DEBUG, stream: int = 1) -> None:
    """Ten records of each of these days, compacted."""
    writer = store.writer()
    place = await store.committed(stream)
    for ago in days_ago:
        texts = [b"line %d" % n for n in range(10)]
        columns = make_columns(
            texts,
            stream=stream,
            begin=place,
            severity=bytes([severity]) * 10,
            ts_us=array("q", [now_us() - ago * DAY_US] * 10),
            event=DictionaryColumn(),
        )
        await commit(writer, store.batch(place, texts, stream=stream, columns=columns))
        place += 100
    await compact(store.url)


def figures(*used: int) -> Callable[[AsyncConnection], Awaitable[Measured]]:
    """A measure that gives one figure after the other."""
    left = list(used)

    async def measured(_: AsyncConnection) -> Measured:
        return Measured(left.pop(0), 0, None)

    return measured


async def ages(store: Store) -> set[tuple[int, str]]:
    """Days ago and level of all that is stored."""
    rows = await store.rows("select distinct (now()::date - ts::date), level from logs")
    return {(ago, level.lower()) for ago, level in rows}


async def test_the_oldest_debug_days_go_first_and_no_more_than_is_needed(store: Store) -> None:
    """From 90 % on, until it is below 85 %: newer days and all other classes stay."""
    await fill(store, 0, 1, 2)
    await fill(store, 1, 2, severity=INFO, stream=2)
    measured = figures(95, 86, 84)

    gone = await shed.shed(store.connection, Wanted(100), measure=measured)

    assert [one.records for one in gone] == [10, 10]
    assert [one.table for one in gone] == sorted(one.table for one in gone)
    assert await ages(store) == {(0, "debug"), (1, "info"), (2, "info")}


async def test_all_debug_days_go_where_that_is_not_enough_and_then_nothing_else(
    store: Store,
) -> None:
    """Today's too: a worker that logs too much does so today. No other class is touched."""
    await fill(store, 0, 1)
    await fill(store, 0, severity=INFO, stream=2)

    gone = await shed.shed(store.connection, Wanted(100), measure=figures(99, 99, 99))
    again = await shed.shed(store.connection, Wanted(100), measure=figures(99))

    assert (len(gone), again) == (2, [])
    assert await ages(store) == {(0, "info")}


@pytest.mark.parametrize(("wanted", "used"), [(Wanted(100), 89), (OFF, 99), (Wanted(), 99)])
async def test_nothing_goes_while_there_is_room_or_no_budget(
    store: Store, wanted: Wanted, used: int
) -> None:
    """Retention says "at least": it is broken for nothing less than a store that is full."""
    await fill(store, 1)
    assert await shed.shed(store.connection, wanted, measure=figures(used)) == []
    assert await ages(store) == {(1, "debug")}


async def test_what_went_is_a_gap_of_each_stream_in_the_completeness_line(store: Store) -> None:
    """How many, from when to when, and why: whoever searches there is told."""
    await fill(store, 1)
    await fill(store, 1, stream=2)
    await shed.shed(store.connection, Wanted(100), measure=figures(95, 10))

    gaps = await store.rows(
        "select stream, service, worker, host, records, at_least, reason, detail,"
        " from_at::date = to_at::date and from_at::date = now()::date - 1, begin_offset, end_offset"
        ", severity_max from gaps order by stream"
    )
    detail = "debug records went before their time: the store was nearly full"
    same = ("shop", "w1", "web-1", 10, False, "shed", detail, True, 0, 91, 8)
    assert gaps == [(1, *same), (2, *same)]
    async with await connect(store.url, application_name="test") as reader:
        ((now,),) = await store.rows("select now()")
        ((since,),) = await store.rows("select now() - interval '2 days'")
        line = await completeness.completeness(reader, parse("worker:w1"), since, now)
    text = completeness.text(completeness.sentence(line, now))
    assert "10 lines" in text, text


async def test_it_is_told_before_it_is_gone_and_taken_back_where_it_has_stayed(
    store: Store,
) -> None:
    """A reader that holds its locks keeps the day from going; no search misses it untold."""
    await fill(store, 1)
    told: list[tuple[int, int]] = []

    async def pause(_: float) -> None:
        told.extend(
            await store.rows(
                "select (select coalesce(sum(records), 0) from gaps)::int,"
                " (select count(*) from logs)::int"
            )
        )

    async with await connect(store.url, application_name="reader") as reader:
        await reader.execute("set idle_in_transaction_session_timeout = 0")
        await reader.execute("begin")
        await reader.execute("select count(*) from blocks")
        wanted = Wanted(100)
        assert await shed.shed(store.connection, wanted, measure=figures(95), sleep=pause) == []
        await reader.execute("rollback")
    assert told
    assert all(gaps == 10 for gaps, _ in told)
    # Half way out it is finished, found too young and attached again by the next round.
    retention = dict.fromkeys(RecordClass, timedelta(days=30))
    await keep_house(store.connection, retention)
    await shed.shed(store.connection, wanted, measure=figures(50))
    assert await store.value("select count(*) from gaps") == 0
    assert await ages(store) == {(1, "debug")}


async def test_no_other_table_takes_a_gap_back(store: Store) -> None:
    """Not one of the same day and class; nor, in a restored copy, one with the old one's number."""
    await fill(store, 1)
    await shed.shed(store.connection, Wanted(100), measure=figures(95, 10))
    before = await store.rows("select gap_id, records, from_at from gaps")
    assert len(before) == 1
    await fill(store, 1)
    await fill(store, 0)
    # What a table is known by inside of a database; tables of a dump get the numbers of others.
    oid = "decode(lpad(to_hex(i.inhrelid::bigint), 8, '0'), 'hex')"
    await store.connection.execute(
        "insert into gaps (gap_id, commit_id, team, service, worker, host, records, at_least,"
        f" bytes, reason) select {oid} || substr(g.gap_id, 5), 1, 1, '', '', '', 1, false, 0,"
        " 'shed'"
        " from gaps g, pg_inherits i where i.inhparent = 'blocks_compacted'::regclass"
    )

    await keep_house(store.connection, dict.fromkeys(RecordClass, timedelta(days=30)))

    assert await store.rows("select gap_id, records, from_at from gaps where records > 1") == before
    assert await store.value("select count(*) from gaps where records = 1") == 2


async def test_records_are_counted_again_only_where_some_came_or_went(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large day takes minutes to count, and must go within a lease."""
    await fill(store, 1)
    ((table,),) = await store.rows(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'blocks_compacted'::regclass"
    )
    one = await account.Account.open(store.connection, table)
    counted = []
    tell = account.Account.tell

    async def told(self: account.Account, connection: AsyncConnection) -> None:
        await tell(self, connection)
        counted.append(self.records)

    monkeypatch.setattr(account.Account, "tell", told)
    await one.tell(store.connection)
    await one.correct(store.connection)
    assert counted == [10]
    await fill(store, 1)
    await one.correct(store.connection)
    await one.correct(store.connection)
    assert counted == [10, 20]
    # A second round names them as the first did, and forgets what is not there any more.
    await store.connection.execute(f"delete from {table}")
    again = await account.Account.open(store.connection, table)
    await again.tell(store.connection)
    assert await store.value("select count(*) from gaps") == 0


async def test_streams_beyond_a_limit_share_a_gap(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many streams wrote debug records: the rows are bounded, the count is exact."""
    monkeypatch.setattr(account, "MOST_STREAMS", 1)
    await store.open(3, 4)
    for stream in (1, 2, 3, 4):
        await fill(store, 1, stream=stream)
    (gone,) = await shed.shed(store.connection, Wanted(100), measure=figures(95, 10))

    rows = await store.rows("select stream is null, records::int from gaps order by records")
    assert rows == [(False, 10), (True, 30)]
    assert gone.records == 40


async def test_housekeeping_sheds_by_what_it_measures(
    store: Store,
) -> None:
    """A round of the housekeeper does it, and says which tables went."""
    await fill(store, 1)
    retention = dict.fromkeys(RecordClass, timedelta(days=30))
    measured = await measure.measure(store.connection)
    assert measured.database_bytes > 1_000_000
    assert (await keep_house(store.connection, retention)).shed == []

    # The database of a test is small: the least budget that a file may name is more.
    done = await keep_house(store.connection, retention, Wanted(measured.database_bytes // 2))
    assert len(done.shed) == 1
    assert await ages(store) == set()


async def test_a_budget_that_only_another_collector_sees_is_shed_for(store: Store) -> None:
    """It measures a nearly full disk; this one, which keeps house, sees none and is told none."""
    await fill(store, 0, 1)
    status = {
        "disk_level": "shed", "disk_budget_bytes": 100, "disk_budget_is_disk": True,
        "disk_wal_bytes": 5,
    }  # fmt: skip
    await store.connection.execute(
        "insert into collectors (name, started_at, seen_at, status)"
        " values ('sees-it', now(), now(), %s)",
        (Jsonb(status),),
    )
    # Its own row is none of another; one that is gone may have seen what is so no more.
    assert await shed.shed(store.connection, Wanted(), name="sees-it", measure=figures(87)) == []
    await store.connection.execute("update collectors set stopped_at = now()")
    assert await shed.shed(store.connection, Wanted(), measure=figures(87)) == []
    await store.connection.execute("update collectors set stopped_at = null")
    assert await shed.shed(store.connection, Wanted(), measure=figures(84)) == []

    # 87 and the 5 of the log that only it sees: 92 %. After the first day 84.
    (gone,) = await shed.shed(store.connection, Wanted(), measure=figures(87, 79))
    assert gone.records == 10
    assert await ages(store) == {(0, "debug")}


async def test_the_figures_of_a_forecast_come_from_the_days_that_are_there(store: Store) -> None:
    """Sizes by class and day, the audit log's months, and since when there are logs."""
    await fill(store, 0, 1)
    await fill(store, 0, severity=INFO, stream=2)
    retention = dict.fromkeys(RecordClass, timedelta(days=30))

    stocks = {one.label: one for one in await growth.read_stocks(store.connection, retention)}
    now, since = await growth.read_since(store.connection)

    assert [len(stocks[name].tables) for name in ("debug", "app", "ops")] == [2, 1, 0]
    assert stocks["debug"].size_bytes > 0
    assert len(stocks["audit log"].tables) >= 2
    assert since is not None
    assert since <= now


async def test_who_filled_the_store_is_counted_on_both_levels(store: Store) -> None:
    """What a service wrote in the last day, most first, and who wrote more than it may."""
    await fill(store, 0)
    writer = store.writer()
    columns = make_columns([b"x" * 5_000] * 10, stream=2, service="bots")
    await commit(writer, store.batch(0, [b"x"] * 10, stream=2, service="bots", columns=columns))
    await fill(store, 0)

    written = await services.read_written(store.connection)
    assert {one.service: one.records for one in written} == {"bots": 10, "shop": 20}
    assert all(one.size_bytes > 100 for one in written)
    quota = services.Quota(1, {"shop": 10**9})
    assert [one.service for one in services.over(written, quota)] == ["bots"]
    assert services.over(written, services.Quota()) == []
