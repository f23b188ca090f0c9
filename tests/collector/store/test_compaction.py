"""The compactor against a real database: nothing is lost or doubled, whenever it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from outrider.columns import pack_dictionary
from outrider_collector.compacting import keep_compacting
from outrider_collector.config import StoreConfig
from outrider_collector.store import binary, leases
from outrider_collector.store.compaction import compactor
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.move import candidates, move
from outrider_collector.store.compaction.plan import FULL_RECORDS, Move, moves
from outrider_collector.store.connect import connect
from outrider_collector.store.stats import read_stats
from outrider_collector.terminal import store as store_command
from tests.collector.store.making import LINE_BYTES, Store, commit, make_columns

if TYPE_CHECKING:
    from psycopg import AsyncConnection

AT_ONCE = Pace(age=timedelta(0), share=1.0, everything=True)
COMPACT = "from outrider.command import main; raise SystemExit(main(['store', 'compact']))"


async def _fill(store: Store, commits: int = 6, lines: int = 5) -> int:
    """Commits of both streams, as if minutes old; returns the number of records."""
    writer, place = store.writer(), 0
    for _ in range(commits):
        for stream in (1, 2):
            texts = [b"line %d" % (place + i * LINE_BYTES) for i in range(lines)]
            await commit(writer, store.batch(place, texts, stream=stream))
        place += lines * LINE_BYTES
    return 2 * commits * lines


async def _age(connection: AsyncConnection) -> None:
    """Make every fresh block ten minutes older, in the hour's table that then holds it."""
    await connection.execute(
        "do $$ declare h timestamptz := date_trunc('hour', now() - interval '10 min'); begin"
        " execute format('create table if not exists blocks_fresh_%s partition of blocks_fresh"
        " for values from (%L) to (%L)', to_char(h at time zone 'UTC', 'YYYYMMDDHH24'), h,"
        " h + interval '1 hour'); end $$"
    )
    await connection.execute(
        "update blocks_fresh set received_at = received_at - interval '10 min'"
    )


async def _levels(store: Store) -> tuple[int, int]:
    """Records on the fresh and on the compacted level."""
    return (
        await store.value("select coalesce(sum(n), 0)::int from blocks_fresh"),
        await store.value("select coalesce(sum(n), 0)::int from blocks_compacted"),
    )


@pytest.mark.parametrize(
    ("failpoint", "moved"),
    [("compact/taken", False), ("compact/inserted", False), ("compact/committed", True)],
)
async def test_a_kill_at_any_step_loses_and_doubles_nothing(
    store: Store, failpoint: str, moved: bool
) -> None:
    """Killed before COMMIT the blocks are where they were, after it they are moved: each once.

    The next compactor goes on at once, for the lease of a dead one is free.
    """
    records = await _fill(store)
    await _age(store.connection)
    before = await store.rows("select * from logs order by stream, stream_offset")
    killed = await asyncio.to_thread(_compact_process, store.url, f"{failpoint}=kill")
    assert killed.returncode == -signal.SIGKILL
    async with asyncio.timeout(20):
        # The server notices a dead client when it next reads from it.
        while await store.value(
            "select count(*) from pg_stat_activity where application_name = 'outrider compactor'"
        ):
            await asyncio.sleep(0.02)
    assert await _levels(store) == ((0, records) if moved else (records, 0))
    assert await store.rows("select * from logs order by stream, stream_offset") == before

    again = await asyncio.to_thread(_compact_process, store.url, "")
    assert again.returncode == 0, again.stderr
    assert await _levels(store) == (0, records)
    assert await store.rows("select * from logs order by stream, stream_offset") == before


def _compact_process(url: str, failpoints: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ, "OUTRIDER_DATABASE_URL": url, "OUTRIDER_CONFIG": "/dev/null",
        "OUTRIDER_FAILPOINTS": failpoints,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", COMPACT], env=environment, capture_output=True, check=False
    )


async def test_readers_see_each_record_once_while_blocks_are_moved(store: Store) -> None:
    """Every statement that runs beside the compactor counts all records, no more and no less."""
    records = await _fill(store, commits=40)
    counts: list[int] = []
    done = asyncio.Event()

    async def read() -> None:
        async with await connect(store.url, application_name="reader") as reader:
            while not done.is_set():
                cursor = await reader.execute("select count(*) from logs")
                counts.extend(count for (count,) in await cursor.fetchall())

    reading = asyncio.create_task(read())
    while not counts:
        await asyncio.sleep(0.01)
    moved = await _one_at_a_time(store)
    done.set()
    await reading
    assert set(counts) == {records}
    assert len(counts) > 5
    assert moved == records
    assert (await _levels(store))[0] == 0


async def _one_at_a_time(store: Store) -> int:
    """Move every block by itself: many transactions."""
    moved = 0
    async with await connect(store.url, application_name="test") as connection:
        binary.register(connection)
        lease = await leases.take(connection, compactor.LEASE, "test", 60)
        assert lease is not None
        for (hour,) in await store.rows(
            "select inhrelid::regclass::text from pg_inherits"
            " where inhparent = 'blocks_fresh'::regclass"
        ):
            for each in await candidates(connection, hour, timedelta(0)):
                moved += (await move(connection, lease, hour, Move((each.block,), 1))).records
    return moved


async def test_a_compactor_that_lost_its_lease_moves_nothing(store: Store) -> None:
    """What it took out is put back by the rollback: the lease is part of the transaction."""
    records = await _fill(store)
    async with await connect(store.url, application_name="test") as connection:
        binary.register(connection)
        lease = await leases.take(connection, compactor.LEASE, "test", 60)
        assert lease is not None
        await leases.release(connection, lease)
        taken = await leases.take(store.connection, compactor.LEASE, "another", 60)
        assert taken is not None
        hour: str = await store.value("select distinct tableoid::regclass::text from blocks_fresh")
        (planned,) = moves(await candidates(connection, hour, timedelta(0)), all_of_them=True)
        with pytest.raises(leases.LeaseLost):
            await move(connection, lease, hour, planned)
        assert not await Compactor(store.url, AT_ONCE, holder="third").once(asyncio.Event())
    assert await _levels(store) == (records, 0)


async def test_young_and_small_blocks_wait(store: Store) -> None:
    """Nothing younger than two minutes is moved, nor what fills no block while its hour goes on."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"x"] * FULL_RECORDS))
    await commit(writer, store.batch(0, [b"y"], stream=2))
    patient = Compactor(store.url, Pace(share=1.0), holder="test")
    assert await patient.once(asyncio.Event())
    assert patient.totals.records == 0

    eager = Compactor(store.url, Pace(age=timedelta(0), share=1.0), holder="test")
    assert await eager.once(asyncio.Event())
    assert await _levels(store) == (0, FULL_RECORDS + 1)

    await commit(writer, store.batch(10, [b"z"], stream=2))
    assert await eager.once(asyncio.Event())
    assert await _levels(store) == (1, FULL_RECORDS + 1)


async def test_records_are_kept_by_their_class(store: Store) -> None:
    """Audit and security events, ops, debug and all others lie in tables of their own."""
    events = ["order.filled", "auth.denied", "job.started", None, None, "app.thing"]
    columns = make_columns(
        [b"x"] * 6, severity=bytes([5, 9, 9, 5, 9, 5]), event=_dictionary(events)
    )
    await commit(store.writer(), store.batch(0, [b"x"] * 6, columns=columns))
    await Compactor(store.url, AT_ONCE, holder="test").once(asyncio.Event())
    rows = await store.rows(
        "select c.tableoid::regclass::text, u.o from blocks_compacted c,"
        " unnest(c.stream_offset) u(o) order by 2"
    )
    assert [table.rpartition("_")[2] for table, _ in rows] == [
        "audit", "security", "ops", "debug", "app", "debug",
    ]  # fmt: skip


def _dictionary(values: list[str | None]) -> object:
    return pack_dictionary(values)


async def test_a_collector_s_compactor_works_and_ends_with_it(store: Store) -> None:
    """The process beside a collector moves what is due, and ends when its input does."""
    records = await _fill(store, commits=2, lines=FULL_RECORDS // 4)
    await _age(store.connection)
    stop = asyncio.Event()
    keeping = asyncio.create_task(keep_compacting(store.url, StoreConfig(), "test", stop))
    async with asyncio.timeout(30):
        while (await _levels(store))[1] < records:
            await asyncio.sleep(0.05)
        stop.set()
        await keeping
    assert await store.value("select holder from leases where name = 'compactor'") == ""


async def test_stats_count_both_levels(store: Store) -> None:
    """What was compacted is still counted; what is fresh is told apart."""
    records = await _fill(store)
    await Compactor(store.url, AT_ONCE, holder="test").once(asyncio.Event())
    await commit(store.writer(), store.batch(300, [b"new"]))
    stats = await read_stats(store.connection)
    assert (stats.records, stats.fresh_records, stats.fresh_blocks) == (records + 1, 1, 1)
    assert 0 < stats.fresh_bytes < stats.block_bytes
    assert stats.oldest is not None
    assert stats.newest is not None
    assert stats.oldest < stats.newest


def test_compact_says_what_it_did(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: nothing to do is said; the exit code is 0."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    assert store_command.main(["compact"]) == 0
    assert "nothing is old enough" in capsys.readouterr().out
