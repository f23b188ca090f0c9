"""Agents and their streams: births, owners, ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from outrider.errors import Fault, Reason
from outrider_collector.store import agents, streams
from outrider_collector.store.streams import Stream
from tests.collector.store.making import Store, commit, digest, now_us

if TYPE_CHECKING:
    from psycopg import AsyncConnection

BIRTH = Stream(
    stream_id=2**62 + 5,
    service="shop",
    worker="w",
    host="h",
    source="file",
    path="/x\0y",
    uid=4_000_000_000,
    start_offset=12,
    device=2**63 + 7,
    inode=2**64 - 1,
    head_digest=b"h" * 16,
    head_bytes=100,
)


async def test_a_birth_is_stored_once_and_evidence_comes_back(store: Store) -> None:
    """Opening again changes nothing and says where the stream stands."""
    opened = await streams.open_streams(store.connection, store.agent, 1, [BIRTH])
    assert opened.refused == {}
    (state,) = opened.states
    assert state.stream == replace(BIRTH, path="/x\N{REPLACEMENT CHARACTER}y")
    assert (state.committed, state.digest, state.framer_state) == (12, b"", b"")

    await commit(
        store.writer(),
        store.batch(12, [b"a"], stream=BIRTH.stream_id, previous_digest=b"", framer_state=b"f"),
    )
    changed = replace(BIRTH, service="other")
    again = await streams.open_streams(store.connection, store.agent, 1, [changed])
    assert again.states[0].stream.service == "shop"
    assert again.states[0].committed == 22
    assert again.states[0].digest == digest(22)
    assert again.states[0].framer_state == b"f"


async def test_how_complete_a_stream_is_comes_back_with_it(store: Store) -> None:
    """After a reconnection times before the last statement of completeness are still doubted."""
    now = now_us() - 1_000_000
    await commit(store.writer(), store.batch(0, [b"a"], watermark_us=now))
    listed = await streams.agent_streams(store.connection, store.agent)
    assert [state.watermark_us for state in listed] == [now, 0]
    assert [state.watermark_us for state in (await store.open(1)).states] == [now]


async def test_another_agents_stream_is_refused(store: Store) -> None:
    """An id belongs to whoever stored it first; the others of the message are opened."""
    other, _ = await agents.enroll(store.connection, 1, "web-2")
    opened = await store.open(1, 77, agent=other)

    assert [state.stream.stream_id for state in opened.states] == [77]
    assert opened.refused == {1: "the id belongs to another agent"}


async def test_closed_streams_leave_the_welcome_but_keep_their_place(store: Store) -> None:
    """A closed stream is not listed; asked for by name it still says where it ended."""
    assert [s.stream.stream_id for s in await streams.agent_streams(store.connection, store.agent)]
    await commit(store.writer(), store.batch(final=True))
    left = await streams.agent_streams(store.connection, store.agent)

    assert [state.stream.stream_id for state in left] == [2]
    assert len((await store.open(1)).states) == 1


async def test_a_token_finds_its_agent_and_is_not_stored(connection: AsyncConnection) -> None:
    """Only the token's hash is in the database."""
    agent, token = await agents.enroll(connection, 1, "h" * 300)
    found = await agents.agent_by_token_hash(connection, agents.token_hash(token))

    assert found == agents.Agent(agent, 1, "h" * 255, revoked=False)
    assert await agents.agent_by_token_hash(connection, agents.token_hash("other")) is None


async def test_sessions_rise_and_end_with_revocation(connection: AsyncConnection) -> None:
    """Each hello has a larger number; a revoked or unknown agent gets none."""
    agent, _ = await agents.enroll(connection, 1, "h")
    numbers = [await agents.begin_session(connection, agent, instance=b"x") for _ in range(2)]
    assert numbers == [1, 2]
    assert await agents.revoke(connection, agent)
    assert not await agents.revoke(connection, agent + 1)
    for who, reason in ((agent, Reason.TOKEN_REVOKED), (agent + 1, Reason.AGENT_UNKNOWN)):
        with pytest.raises(Fault) as caught:
            await agents.begin_session(connection, who, instance=b"x")
        assert caught.value.reason is reason
