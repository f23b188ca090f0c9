"""Sessions of agents: who follows whom, copies, and what a welcome tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import psycopg
import pytest

from outrider_alerting.durations import Duration
from tests.collector.service.agent_client import Agent, batch_of, digest, lines
from tests.collector.service.running import STREAM, ask, stored

if TYPE_CHECKING:
    from tests.collector.service.conftest import Start
    from tests.collector.service.running import Running


async def test_second_session_fences_the_first(collector: Running) -> None:
    """A newer hello of a process ends its older stream with STREAM_FENCED, and takes over."""
    agent = await collector.agent()
    first = await agent.push()
    await first.open(STREAM)
    second = await agent.push()
    await first.ended()

    assert first.goodbye is not None
    assert first.goodbye.reason == "STREAM_FENCED"
    assert second.welcome is not None
    assert [s.stream.stream_id for s in second.welcome.streams] == [STREAM]


async def test_a_copy_of_an_agent_takes_nothing_from_the_living(
    collector: Running, database_url: str
) -> None:
    """A hello of another process while the first is heard of is refused; the first goes on."""
    agent = await collector.agent()
    first = await agent.push()
    await first.open(STREAM)
    data = lines(40)
    copy = asyncio.create_task(agent.push(instance=b"c" * 16))
    begin = 0
    while not copy.done():
        end = min(begin + 16, len(data))
        await first.batch(batch_of(STREAM, data, begin, end))
        await first.acked(STREAM, end)
        begin = end
        await asyncio.wait({copy}, timeout=0.2)
    denied = await copy
    await denied.ended()

    assert denied.welcome is None
    assert denied.goodbye is not None
    assert denied.goodbye.reason == "AGENT_CLONED"
    assert first.status is None
    assert len(stored(database_url)) == begin // 16


async def test_a_process_that_ended_is_followed_at_once(collector: Running) -> None:
    """A restarted agent need not wait for the session of the process before."""
    agent = await collector.agent()
    first = await agent.push()
    second = asyncio.create_task(agent.push(instance=b"r" * 16))
    await asyncio.wait({second}, timeout=0.2)
    first.call.cancel()
    async with asyncio.timeout(5):
        assert (await second).welcome is not None


async def test_a_copy_that_asks_another_collector_takes_nothing_from_the_living(
    start: Start, database_url: str
) -> None:
    """While heartbeats come elsewhere it waits; one heard after it asked makes it the copy.

    Where the stream of heartbeats broke, the agent is the newcomer's.
    """
    collector = await start(name="two")
    agent = await collector.agent()
    first = await agent.push()
    first.call.cancel()
    ((number,),) = ask(database_url, "select id from agents")
    heard = (
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
        f" values ('agent', '{number}', now(), now() + interval '1 minute', 'one', '{{}}')"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(heard)
        connection.execute(
            "insert into system_health (component_kind, component, agent, state, since)"
            f" values ('agent', '{number}', {number}, 'up', now())"
        )

        async def reason() -> str:
            push = await agent.push(instance=b"c" * 16)
            await push.ended()
            assert push.welcome is None
            assert push.goodbye is not None
            return push.goodbye.reason

        assert await reason() == "COLLECTOR_BUSY"
        assert await reason() == "COLLECTOR_BUSY"
        connection.execute("update heartbeats set seen_at = now() + interval '2 s'")
        assert await reason() == "AGENT_CLONED"
        assert (await agent.push()).welcome is not None
        agent.pushes[-1].call.cancel()
        connection.execute("update system_health set state = 'silent'")
        assert (await agent.push(instance=b"n" * 16)).welcome is not None


async def test_a_process_that_is_not_heard_of_loses_its_agent(
    start: Start,
) -> None:
    """A host that vanished without a word holds its agent for three heartbeats, no longer."""
    collector = await start(heartbeat_interval=Duration("1s"))
    agent = await collector.agent()
    first = await agent.push()
    second = await agent.push(instance=b"r" * 16)
    assert second.welcome is not None
    await first.ended()
    assert first.goodbye is not None
    assert first.goodbye.reason == "STREAM_FENCED"

    # It lived after all: now it is the one that has to go.
    back = await agent.push()
    await back.ended()
    assert back.goodbye is not None
    assert back.goodbye.reason == "AGENT_CLONED"
    assert second.status is None


async def test_agents_that_come_and_go_leave_each_other_their_credit(collector: Running) -> None:
    """A session's number is its own: when one agent leaves, the other goes on."""
    first, second = [await collector.agent(host) for host in ("a", "b")]
    gone, stays = await first.push(), await second.push()
    await gone.close()

    data = lines(20)
    await stays.open(STREAM)
    for begin in range(0, len(data), 16):
        await stays.batch(batch_of(STREAM, data, begin, begin + 16))
    await stays.acked(STREAM, len(data))
    assert stays.credit_bytes > 0


async def test_welcome_tells_where_each_stream_stands(collector: Running) -> None:
    """A welcome carries evidence, committed offset, digest and framer state of open streams."""
    data = lines(3)
    agent = await collector.agent()
    first = await agent.push()
    await first.open(STREAM, inode=2**64 - 1, head_digest=b"h" * 16, head_bytes=48)
    await first.batch(batch_of(STREAM, data, 0, 48, framer_state=b"open"))
    await first.acked(STREAM, 48)
    second = await agent.push()

    assert second.welcome is not None
    (state,) = second.welcome.streams
    assert (state.committed, state.digest, state.framer_state) == (48, digest(data, 48), b"open")
    assert (state.stream.inode, state.stream.head_digest) == (2**64 - 1, b"h" * 16)
    assert state.stream.service == "payments"


async def test_closed_stream_is_not_in_the_next_welcome(collector: Running) -> None:
    """A stream is gone from the welcome after its final batch."""
    agent = await collector.agent()
    first = await agent.push()
    await first.open(STREAM)
    await first.batch(batch_of(STREAM, b"", 0, 0, final=True))
    await first.acked(STREAM, 0)
    second = await agent.push()

    assert second.welcome is not None
    assert list(second.welcome.streams) == []


async def test_unknown_token_is_refused(collector: Running) -> None:
    """A token nobody has is UNAUTHENTICATED, with its reason for programs."""
    push = await collector.connect("nobody").push()

    assert push.status == grpc.StatusCode.UNAUTHENTICATED
    assert push.trailers["outrider-reason"] == "AGENT_UNKNOWN"


async def test_enrolment_needs_its_own_token(collector: Running) -> None:
    """Neither a wrong secret nor the admin token enrols an agent."""
    for token in ("guess", collector.admin_token):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await Agent.enrolled(collector.address, token)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_revoked_agent_cannot_commit_on_an_open_stream(
    collector: Running, database_url: str
) -> None:
    """Revocation acts inside the commit: what is sent afterwards is not stored."""
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    ask(database_url, "update agents set revoked_at = now()")
    await push.batch(batch_of(STREAM, lines(1), 0, 16))
    await push.ended()

    assert stored(database_url) == []
    assert push.goodbye is not None


async def test_agent_of_another_wire_version_is_told(collector: Running) -> None:
    """Without a common version the stream ends with VERSION_UNSUPPORTED."""
    push = await (await collector.agent()).push(min_version=2, max_version=3)

    assert push.trailers["outrider-reason"] == "VERSION_UNSUPPORTED"
    assert push.status == grpc.StatusCode.FAILED_PRECONDITION
