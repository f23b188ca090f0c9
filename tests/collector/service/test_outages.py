"""Two collectors, a stop in order, a database that goes away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from tests.collector.service.agent_client import batch_of, lines
from tests.collector.service.running import STREAM, ask, stored

if TYPE_CHECKING:
    from tests.collector.service.conftest import Start
    from tests.collector.service.running import Running


async def test_agent_alternates_between_two_collectors(start: Start, database_url: str) -> None:
    """Whoever an agent talks to, each line is stored once; each session fences the one before."""
    data = lines(40)
    one, two = await start(name="one"), await start(name="two")
    agent = await one.agent()
    elsewhere = two.connect(agent.token, agent)
    push = await agent.push()
    await push.open(STREAM)
    for i, begin in enumerate(range(0, 640, 64)):
        push = await (agent if i % 2 else elsewhere).push()
        assert push.welcome is not None
        assert push.welcome.streams[0].committed == begin
        await push.batch(batch_of(STREAM, data, begin, begin + 64))
        await push.acked(STREAM, begin + 64)

    assert stored(database_url) == data.decode().splitlines()


async def test_older_session_on_another_collector_cannot_commit(
    start: Start, database_url: str
) -> None:
    """A session that lost its agent to another collector is ended at its next batch."""
    data = lines(2)
    one, two = await start(name="one"), await start(name="two")
    agent = await one.agent()
    older = await agent.push()
    await older.open(STREAM)
    newer = await two.connect(agent.token).push()
    await older.batch(batch_of(STREAM, data, 0, 16))
    await older.ended()
    await newer.batch(batch_of(STREAM, data, 0, 32))
    await newer.acked(STREAM, 32)

    assert older.goodbye is not None
    assert older.goodbye.reason == "STREAM_FENCED"
    assert len(stored(database_url)) == 2


async def test_graceful_stop_commits_and_acknowledges_what_is_held(
    collector: Running, database_url: str
) -> None:
    """Batches on their way are committed and acknowledged before the goodbye; nothing rewinds."""
    data = lines(200)
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    for begin in range(0, len(data), 160):
        await push.batch(batch_of(STREAM, data, begin, begin + 160))
    await collector.end()
    await push.ended()

    assert push.committed[STREAM] == len(data)
    assert push.rewinds == []
    assert push.credit_bytes == 0
    assert push.goodbye is not None
    assert push.goodbye.reason == "COLLECTOR_STOPPING"
    assert push.goodbye.retry_after_ms > 0
    assert len(stored(database_url)) == 200


async def test_database_outage_acknowledges_nothing_and_loses_nothing(
    collector: Running, database_url: str
) -> None:
    """While the database takes no connection batches are held; then they are committed."""
    data = lines(8)
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    admin = psycopg.conninfo.make_conninfo(database_url, dbname="postgres")
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    ask(admin, f'alter database "{name}" allow_connections false')
    ask(admin, f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
    await push.batch(batch_of(STREAM, data, 0, len(data)))
    await asyncio.sleep(0.5)
    assert push.acks == []
    ask(admin, f'alter database "{name}" allow_connections true')
    await push.acked(STREAM, len(data))

    assert stored(database_url) == data.decode().splitlines()
    assert push.rewinds == []
