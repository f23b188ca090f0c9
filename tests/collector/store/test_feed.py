"""The feed: numbers without holes, in the order in which commits became visible."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg

from outrider_collector.store import feed
from outrider_collector.store.connect import connect
from outrider_collector.store.feed import Position
from tests.collector.store.making import Store, commit

if TYPE_CHECKING:
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
                await feed.append(connection, "admin")
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
        first = await feed.append(connection, "admin")
        await other.execute("begin")
        waiting = asyncio.create_task(feed.commit(other, "admin", detail={"who": "second"}))
        while not await _waiters(connection):
            await asyncio.sleep(0.01)
        await connection.execute("commit")
        second = await waiting
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    assert (first.number, second.number) == (1, 2)


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
    await connection.execute("set idle_in_transaction_session_timeout = 500")
    await connection.execute("begin")
    await feed.append(connection, "admin")
    print("holds", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(main())
"""


async def test_a_frozen_holder_stops_the_others_for_seconds_at_most(
    database_url: str, connection: AsyncConnection
) -> None:
    """A process stopped with the lock in hand loses it to the server's timeout."""
    frozen = subprocess.Popen(
        [sys.executable, "-c", _FREEZE, database_url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert frozen.stdout is not None
        assert await asyncio.to_thread(frozen.stdout.readline) == "holds\n"
        async with asyncio.timeout(8):
            await connection.execute("begin")
            position = await feed.commit(connection, "admin")
    finally:
        os.kill(frozen.pid, signal.SIGKILL)
        frozen.communicate()

    assert position.number == 1


async def test_a_writer_frozen_while_committing_holds_nobody(store: Store) -> None:
    """Lock, row and COMMIT are one message: stopped right after sending it, others go on."""
    script = _FREEZE.replace(
        'await feed.append(connection, "admin")\n    print("holds", flush=True)\n    ', ""
    ).replace(
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "feed.failpoint = lambda _: (print('sent', flush=True),"
        " os.kill(os.getpid(), signal.SIGSTOP))\n    await feed.commit(connection, 'admin')",
    )
    frozen = subprocess.Popen(
        [sys.executable, "-c", script, store.url], stdout=subprocess.PIPE, text=True
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


async def test_append_belongs_to_its_transaction(connection: AsyncConnection) -> None:
    """Inside a transaction block the row appears with the block, and not when it fails."""
    kind = random.choice(["admin", "health"])
    async with connection.transaction():
        position = await feed.append(connection, kind, commit_id=5, detail={"a": [1]})
    cursor = await connection.execute("select number, nonce, kind, commit_id, detail from feed")

    assert await cursor.fetchall() == [(1, position.nonce, kind, 5, {"a": [1]})]
