"""Hours of blocks: made ahead by many at once, dropped when old, in nobody's way."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from outrider_collector.store import attaching, partitions
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import connect
from outrider_collector.store.partitions import partition_hour, partition_name
from outrider_collector.store.record_columns import RECORD_COLUMNS

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tests.collector.store.making import Store


def test_a_name_says_its_hour() -> None:
    """Names and hours convert both ways; other tables have no hour."""
    hour = datetime(2031, 2, 3, 4, tzinfo=UTC)

    assert partition_name(hour) == "blocks_fresh_2031020304"
    assert partition_hour("blocks_fresh_2031020304") == hour
    for name in ("blocks_fresh", "blocks_fresh_20310203", "blocks_fresh_2031023904", "gaps"):
        assert partition_hour(name) is None


async def _present(connection: AsyncConnection) -> datetime:
    cursor = await connection.execute("select date_trunc('hour', now())")
    ((hour,),) = await cursor.fetchall()
    assert isinstance(hour, datetime)
    return hour


async def _make_past(connection: AsyncConnection, hours_ago: int) -> str:
    """An hour of the past, as the years leave it behind."""
    hour = await _present(connection) - timedelta(hours=hours_ago)
    name = partition_name(hour)
    await connection.execute(
        sql.SQL("create table {} partition of blocks_fresh for values from ({}) to ({})").format(
            sql.Identifier(name), hour.isoformat(), (hour + timedelta(hours=1)).isoformat()
        )
    )
    return name


async def test_analyze_reads_no_records(connection: AsyncConnection) -> None:
    """No column of records, on either level, is one that the server makes statistics of."""
    await partitions.ensure_ahead(connection)
    await days.ensure(connection, [days.Day(datetime(2031, 2, 3, tzinfo=UTC), RecordClass.APP)])
    cursor = await connection.execute(
        "select a.attrelid::regclass::text, a.attname from pg_attribute a"
        " where a.attname = any(%s) and coalesce(a.attstattarget, -1) <> 0 and a.attrelid in ("
        " select inhrelid from pg_inherits where inhparent in"
        " ('blocks_fresh'::regclass, 'blocks_compacted'::regclass)"
        " union values ('blocks_fresh'::regclass), ('blocks_compacted'::regclass))",
        ([*RECORD_COLUMNS, "bloom", "minute_counts"],),
    )
    assert await cursor.fetchall() == []


async def test_partitions_are_made_ahead_and_only_once(connection: AsyncConnection) -> None:
    """Each call makes the hours that lack, without a hole; asking again makes none."""
    await partitions.ensure_ahead(connection)
    assert await partitions.hours_left(connection) == partitions.HOURS_AHEAD
    made = await partitions.ensure_ahead(connection, partitions.HOURS_AHEAD + 2)
    assert made
    assert await partitions.ensure_ahead(connection, partitions.HOURS_AHEAD + 2) == []


async def test_many_may_make_the_same_hours_at_once(
    database_url: str, connection: AsyncConnection
) -> None:
    """Racing makers share the work: each hour is made once, none fails."""
    hours = partitions.HOURS_AHEAD + 6
    others = [await connect(database_url, application_name="test") for _ in range(2)]
    made = await asyncio.gather(
        *(partitions.ensure_ahead(each, hours) for each in (connection, *others))
    )
    for other in others:
        await other.close()

    names = [name for part in made for name in part]
    assert len(names) == len(set(names)) >= 6
    assert await partitions.hours_left(connection) == hours


async def test_big_columns_are_lz4_or_uncompressed(connection: AsyncConnection) -> None:
    """pglz, which halves ingest, is used for no large column."""
    cursor = await connection.execute(
        "select distinct attcompression::text, attstorage::text from pg_attribute"
        " where attrelid = %s::regclass and attname = any(%s)",
        (partition_name(await _present(connection)), ["ts", "message", "attributes", "stream"]),
    )
    expected = ("l", "x") if await partitions.has_lz4(connection) else ("", "e")

    assert await cursor.fetchall() == [expected]


NEVER = datetime(2000, 1, 1, tzinfo=UTC)


async def _now(connection: AsyncConnection) -> datetime:
    cursor = await connection.execute("select clock_timestamp()")
    ((now,),) = await cursor.fetchall()
    assert isinstance(now, datetime)
    return now


async def _put_block(connection: AsyncConnection, name: str) -> None:
    """A block in an hour of the past, as a commit of then left it."""
    hour = partition_hour(name)
    await connection.execute(
        "insert into blocks_fresh (received_at, commit_id, team, service, n, ts_min, ts_max,"
        " level_counts, stream_ids, ts, observed_at, stream, stream_offset, severity)"
        " values (%(t)s, 1, 1, 'shop', 1, %(t)s, %(t)s, '{0,0,1,0,0,0}', '{1}',"
        " array[%(t)s::timestamptz], array[%(t)s::timestamptz], '{1}', '{0}', '{9}')",
        {"t": hour},
    )


async def test_an_hour_goes_when_it_is_over_and_empty(connection: AsyncConnection) -> None:
    """The present hour and one that ended just now stay; one with a block stays."""
    just_over, full, empty = [await _make_past(connection, ago) for ago in (1, 29, 30)]
    await _put_block(connection, full)
    over = await _present(connection)

    assert await partitions.drop_old(connection, over + timedelta(minutes=9), NEVER) == [empty]
    later = over + timedelta(minutes=10)
    assert await partitions.drop_old(connection, later, NEVER) == [just_over]
    cursor = await connection.execute("select count(*) from blocks_fresh")
    assert await cursor.fetchone() == (1,)


async def test_hours_with_blocks_go_when_all_of_them_are_too_old(
    connection: AsyncConnection,
) -> None:
    """An hour that nobody compacted goes when its end is past the cutoff; not a moment before."""
    old = await _make_past(connection, 30)
    await _put_block(connection, old)
    now = await _now(connection)
    end = await _present(connection) - timedelta(hours=29)

    assert await partitions.drop_old(connection, now, end - timedelta(seconds=1)) == []
    assert await partitions.drop_old(connection, now, end) == [old]


async def test_an_hour_is_not_dropped_under_an_open_insert(
    database_url: str, connection: AsyncConnection
) -> None:
    """A block that is not committed yet counts: the hour is locked before it is called empty."""
    name = await _make_past(connection, 30)
    now = await _now(connection)
    async with await connect(database_url, application_name="test") as writer:
        await writer.execute("begin")
        await _put_block(writer, name)
        assert await partitions.drop_old(connection, now, NEVER) == []
        await writer.execute("commit")
    assert await partitions.drop_old(connection, now, NEVER) == []
    cursor = await connection.execute("select count(*) from blocks_fresh")
    assert await cursor.fetchone() == (1,)


@pytest.mark.parametrize("blocks", [0, 1])
async def test_an_interrupted_drop_is_finished_or_taken_back(
    connection: AsyncConnection, blocks: int
) -> None:
    """A table that was detached goes if it is empty; with a block in it, it comes back."""
    name = await _make_past(connection, 50)
    if blocks:
        await _put_block(connection, name)
    await connection.execute(
        sql.SQL("alter table blocks_fresh detach partition {}").format(sql.Identifier(name))
    )
    dropped = await partitions.drop_old(connection, await _now(connection), NEVER)

    assert dropped == ([] if blocks else [name])
    cursor = await connection.execute("select count(*) from blocks_fresh")
    assert await cursor.fetchone() == (blocks,)


async def test_a_reader_delays_a_drop_but_not_ingest(
    store: Store, database_url: str, connection: AsyncConnection
) -> None:
    """While a reader's transaction is open, dropping waits in short tries and commits go on."""
    from tests.collector.store.making import commit

    name = await _make_past(connection, 40)
    writer = store.writer()
    pauses: list[float] = []
    reader = await connect(database_url, application_name="test")
    await reader.execute("begin")
    await reader.execute("select count(*) from blocks_fresh")

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        result = await commit(writer, store.batch(10 * (len(pauses) - 1), [b"x"]))
        assert result.acked
        if len(pauses) == 2:
            await reader.execute("commit")

    now = await _now(connection)
    # Not asked whether it is empty: for that, the reader alone would be enough to let it be.
    dropped = await partitions.drop_old(connection, now, now, sleep=pause)
    await reader.close()

    assert name in dropped
    assert len(pauses) >= 2


async def test_ingest_goes_on_over_midnight_while_a_reader_stays(
    store: Store, database_url: str, connection: AsyncConnection
) -> None:
    """Hours and days are made and removed while a reader holds its snapshot; no commit waits.

    Housekeeping runs all the while, against the reader's locks on everything; a commit takes less
    than the 200 ms for which the housekeeper may stand in a queue before it.
    """
    from tests.collector.store.making import commit

    old = [await _make_past(connection, ago) for ago in (50, 51)]
    await days.ensure(connection, [_DAY])
    stop = asyncio.Event()

    async def keep_house() -> None:
        async with await connect(database_url, application_name="housekeeper") as keeper:
            hours = partitions.HOURS_AHEAD
            while not stop.is_set():
                now, hours = await _now(keeper), hours + 1
                with suppress(psycopg.errors.LockNotAvailable):
                    await partitions.ensure_ahead(keeper, hours)
                    await partitions.drop_old(keeper, now, NEVER)
                    await days.drop_old(keeper, now, dict.fromkeys(RecordClass, timedelta(days=1)))

    async with await connect(database_url, application_name="reader") as reader:
        await reader.execute("begin isolation level repeatable read")
        await reader.execute("set idle_in_transaction_session_timeout = 0")
        await reader.execute("select count(*) from blocks")
        keeping = asyncio.create_task(keep_house())
        writer = store.writer()
        longest, began, place = 0.0, time.monotonic(), 0
        while time.monotonic() - began < 3:
            start = time.monotonic()
            assert (await commit(writer, store.batch(10 * place, [b"x"]))).acked
            longest, place = max(longest, time.monotonic() - start), place + 1
        await reader.execute("commit")
        while (await _names(connection)) & {*old, _DAY.table}:
            await asyncio.sleep(0.05)
        stop.set()
        await keeping
    assert longest < 1.0
    assert place > 30
    assert len(await store.messages()) == place


_DAY = days.Day(datetime(2001, 1, 1, tzinfo=UTC), RecordClass.APP)


async def _names(connection: AsyncConnection) -> set[str]:
    cursor = await connection.execute(
        "select relname::text from pg_class where relname ~ '^blocks_(fresh|compacted)_'"
        " and relkind = 'r'"
    )
    return {name for (name,) in await cursor.fetchall()}


async def test_a_parent_that_stays_locked_is_an_error_after_some_tries(
    database_url: str, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends: the caller hears that the lock was never free."""
    monkeypatch.setattr(attaching, "TRIES", 2)

    async def pause(_: float) -> None:
        return

    async with await connect(database_url, application_name="test") as holder:
        await holder.execute("begin")
        await holder.execute("lock table blocks_fresh in access exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await partitions.ensure_ahead(connection, 40, sleep=pause)
