"""The feed: numbers without holes, in the order in which commits became visible."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.alerts.fates import judge_cut_short
from outrider_collector.store import acts, feed, outbox, outcomes, rules
from outrider_collector.store.connect import connect
from outrider_collector.store.feed import Position
from tests.collector.alerts import samples
from tests.collector.store.making import Store, commit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection


async def test_numbers_rise_without_holes_in_commit_order(store: Store) -> None:
    """With three writers and one that rolls back, a reader of `number > last` misses nothing."""
    await store.open(3)
    stop = asyncio.Event()
    seen: list[int] = []

    async def write(stream: int) -> None:
        writer, at = store.writer(), 0
        for _ in range(25):
            result = await commit(writer, store.batch(at, [b"x"], stream=stream))
            assert result.acked
            at += 10

    async def disturb() -> None:
        async with await connect(store.url, application_name="test") as connection:
            while not stop.is_set():
                await connection.execute("begin")
                await _hold(connection)
                await connection.execute("rollback")
                await asyncio.sleep(0.005)

    async def read() -> None:
        async with await connect(store.url, application_name="test") as connection:
            last = 0
            while len(seen) < 75:
                cursor = await connection.execute(
                    "select number from feed where number > %s order by number", (last,)
                )
                new = [number for (number,) in await cursor.fetchall()]
                seen.extend(new)
                last = max([last, *new])

    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        disturbing = group.create_task(disturb())
        await asyncio.gather(*(write(stream) for stream in (1, 2, 3)))
        async with asyncio.timeout(10):
            await reader
        stop.set()
        await disturbing

    assert seen == list(range(1, 76))


async def test_a_number_is_taken_from_a_snapshot_after_the_lock(
    database_url: str, connection: AsyncConnection
) -> None:
    """Who waited for the lock sees the row of the one it waited for, and takes the next number."""
    async with (
        await connect(database_url, application_name="test") as other,
        asyncio.timeout(10),
    ):
        await connection.execute("begin")
        first = await _hold(connection)
        await other.execute("begin")
        waiting = asyncio.create_task(feed.commit(other, "admin", detail={"who": "second"}))
        while not await _waiters(connection):
            await asyncio.sleep(0.01)
        await connection.execute("commit")
        second = await waiting
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    assert (first, second.number) == (1, 2)


async def _hold(connection: AsyncConnection) -> int:
    """Add a row without COMMIT, which no writer does; returns its number."""
    await connection.execute("select pg_advisory_xact_lock(feed_lock_key())")
    cursor = await connection.execute(
        "insert into feed (number, nonce, kind)"
        " select coalesce(max(number), 0) + 1, uuid_send(gen_random_uuid()), 'admin' from feed"
        " returning number"
    )
    ((number,),) = await cursor.fetchall()
    return int(number)


async def _waiters(connection: AsyncConnection) -> int:
    cursor = await connection.execute(
        "select count(*) from pg_locks where not granted and locktype = 'advisory' and database ="
        " (select oid from pg_database where datname = current_database())"
    )
    ((count,),) = await cursor.fetchall()
    return int(count)


async def test_a_position_is_known_by_number_and_nonce(connection: AsyncConnection) -> None:
    """Another nonce or a number never given is another history; a trimmed one is not."""
    positions = []
    for _ in range(3):
        await connection.execute("begin")
        positions.append(await feed.commit(connection, "admin"))
    await connection.execute("delete from feed where number = 1")
    first, second, third = positions

    assert await feed.knows(connection, third)
    assert await feed.newest(connection) == third
    assert not await feed.knows(connection, Position(second.number, third.nonce))
    assert not await feed.knows(connection, Position(4, b"x" * 16))
    assert await feed.knows(connection, first)
    await connection.execute("truncate feed")
    assert not await feed.knows(connection, first)


_FREEZE = """
import asyncio, os, signal, sys
from outrider_collector.store import feed
from outrider_collector.store.connect import connect

async def main():
    connection = await connect(sys.argv[1], application_name="frozen")
    await connection.execute("begin")
    feed.failpoint = freeze
    await feed.commit(connection, "admin")

def freeze(_):
    print("sent", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(main())
"""


async def test_a_writer_frozen_while_committing_holds_nobody(store: Store) -> None:
    """Lock, row and COMMIT are one message: stopped right after sending it, others go on."""
    frozen = subprocess.Popen(
        [sys.executable, "-c", _FREEZE, store.url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert frozen.stdout is not None
        assert await asyncio.to_thread(frozen.stdout.readline) == "sent\n"
        async with asyncio.timeout(3):
            result = await commit(store.writer(), store.batch())
    finally:
        os.kill(frozen.pid, signal.SIGKILL)
        frozen.communicate()

    assert result.position is not None
    assert result.position.number == 2


async def test_a_row_belongs_to_its_transaction(connection: AsyncConnection) -> None:
    """The row appears with what was written before it, and nothing of a block that fails."""
    kind = random.choice(["admin", "health"])
    async with feed.transaction(connection):
        await _add_silence(connection)
        position = await feed.commit(connection, kind, commit_id=5, detail={"a": [1]})
    async with feed.transaction(connection):
        await _add_silence(connection)
    with pytest.raises(psycopg.errors.CheckViolation):
        await _fail(connection)
    cursor = await connection.execute("select number, nonce, kind, commit_id, detail from feed")
    silences = await connection.execute("select count(*) from silences")

    assert await cursor.fetchall() == [(1, position.nonce, kind, 5, {"a": [1]})]
    assert await silences.fetchall() == [(2,)]
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def _fail(connection: AsyncConnection) -> None:
    async with feed.transaction(connection):
        await _add_silence(connection)
        raise psycopg.errors.CheckViolation


async def _add_silence(connection: AsyncConnection) -> None:
    await connection.execute(
        "insert into silences (filter, starts_at, ends_at, created_by)"
        " values ('rule:x', now(), now() + interval '1 hour', 'anna')"
    )


async def _make_alert(connection: AsyncConnection) -> None:
    """An open alert, number 1, with a notice that waits."""
    await connection.execute(
        "insert into alerts (rule, key, labels, kind, priority, state, summary, started_at,"
        " rule_set)"
        " values ('r', '{}', '{}', 'count', 'info', 'firing', '', now(), 1)"
    )
    await connection.execute(
        "insert into notifications (alert, notice, channel, channel_type, conversation, priority,"
        " fate, content) values (1, 'fired', 'ops', 'telegram', 't', 'info', 'waiting', '{}')"
    )


async def _acknowledge(connection: AsyncConnection) -> None:
    assert (await acts.acknowledge(connection, 1, "anna")).changed


async def _silence(connection: AsyncConnection) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    await acts.add_silence(
        connection, filter_text="rule:x", starts_at=None, ends_at=ends, actor="anna"
    )


async def _end_silence(connection: AsyncConnection) -> None:
    await _add_silence(connection)
    assert await acts.end_silence(connection, 1, "anna")


async def _apply(connection: AsyncConnection) -> None:
    assert (await rules.apply(connection, {"a.toml": samples.MATCH}, "anna")).stored


async def _finish(connection: AsyncConnection) -> None:
    (claim,) = await outbox.claim(connection, [1], holder="h", lease_s=60)
    done = outcomes.Finish(claim, outcome="sent", error=None, fate="sent")
    assert await outcomes.finish(connection, [done], holder="h") == 1


async def _release(connection: AsyncConnection) -> None:
    await outbox.claim(connection, [1], holder="h", lease_s=-1)
    assert await outcomes.release_expired(connection, judge_cut_short) == 1


@pytest.mark.parametrize("act", [_acknowledge, _silence, _end_silence, _apply, _finish, _release])
async def test_whoever_writes_to_the_feed_may_freeze(
    connection: AsyncConnection,
    beside: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[AsyncConnection], Awaitable[None]],
) -> None:
    """While the writer's loop stands still, the server commits for it and frees the lock."""
    await _make_alert(connection)
    seen: list[tuple[int, ...] | None] = []

    def stand_still(_: str) -> None:
        beside.execute("set lock_timeout = '3s'")
        # A wait for the writer's commit, where that has not come yet.
        deadline = time.monotonic() + 3
        while beside.execute("select from feed").rowcount == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        beside.execute("select pg_advisory_lock(feed_lock_key())")
        seen.append(beside.execute("select count(*) from feed").fetchone())
        beside.execute("select pg_advisory_unlock_all()")

    monkeypatch.setattr(feed, "failpoint", stand_still)
    await act(connection)

    assert seen == [(1,)]
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
