"""Hours of blocks: made ahead by many at once, dropped when old, in nobody's way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from outrider_collector.store import partitions
from outrider_collector.store.connect import connect
from outrider_collector.store.partitions import partition_hour, partition_name

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


async def test_hours_older_than_the_cutoff_are_dropped(connection: AsyncConnection) -> None:
    """An hour goes when its end is past the cutoff; the hour that spans it stays."""
    old, spanning = await _make_past(connection, 30), await _make_past(connection, 29)
    cutoff = await _present(connection) - timedelta(hours=29)

    assert await partitions.drop_before(connection, cutoff + timedelta(minutes=59)) == [old]
    assert await partitions.drop_before(connection, cutoff + timedelta(hours=1)) == [spanning]
    assert await partitions.drop_before(connection, cutoff + timedelta(hours=1)) == []


async def test_an_interrupted_drop_is_finished(connection: AsyncConnection) -> None:
    """A table that was detached and not dropped goes with the next call."""
    name = await _make_past(connection, 50)
    await connection.execute(
        sql.SQL("alter table blocks_fresh detach partition {}").format(sql.Identifier(name))
    )

    assert await partitions.drop_before(connection, await _present(connection)) == [name]


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

    dropped = await partitions.drop_before(connection, await _present(connection), sleep=pause)
    await reader.close()

    assert dropped == [name]
    assert len(pauses) >= 2


async def test_a_parent_that_stays_locked_is_an_error_after_some_tries(
    database_url: str, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends: the caller hears that the lock was never free."""
    import psycopg

    monkeypatch.setattr(partitions, "_TRIES", 2)

    async def pause(_: float) -> None:
        return

    async with await connect(database_url, application_name="test") as holder:
        await holder.execute("begin")
        await holder.execute("lock table blocks_fresh in access exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await partitions._make(
                connection, datetime(2040, 1, 1, tzinfo=UTC), lz4=False, sleep=pause
            )
