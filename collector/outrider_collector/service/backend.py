"""What the services ask of the store, over a few shared connections; wire messages on this side."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from outrider.errors import Fault, Reason
from outrider.instants import to_us
from outrider_collector.service.auth import AgentIdentity
from outrider_collector.store import agents, feed, health, streams
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.ingest.links import Links
    from outrider_collector.ingest.session import Session


class Greeting(NamedTuple):
    """What the store says to a hello."""

    session: int
    clock_us: int
    store_regressed: bool
    streams: list[ingest_pb2.StreamState]
    watermarks: dict[int, int]
    """Stream -> up to when it is complete, where that is known."""


class Backend:
    """Agents and streams, as the store has them. Every method raises Fault."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def find(self, token_hash: bytes) -> AgentIdentity:
        """Return whose token it is. Raises AGENT_UNKNOWN, TOKEN_REVOKED, STORE_DOWN."""
        async with self._links.use() as connection:
            agent = await agents.agent_by_token_hash(connection, token_hash)
        if agent is None:
            raise Fault(Reason.AGENT_UNKNOWN)
        if agent.revoked:
            raise Fault(Reason.TOKEN_REVOKED, agent=agent.id)
        return AgentIdentity(agent.id, agent.team, agent.host)

    async def enroll(self, host: str) -> tuple[int, str]:
        """Make an agent; return its id and its token."""
        async with self._links.use() as connection:
            return await agents.enroll(connection, agents.DEFAULT_TEAM, host)

    async def instance(self, identity: AgentIdentity) -> bytes:
        """Return which process of the agent began the newest session, at any collector."""
        async with self._links.use() as connection:
            return await agents.instance(connection, identity.agent)

    async def holder(self, identity: AgentIdentity) -> agents.Holder:
        """Return which process holds the agent, at any collector, and whether it seems alive."""
        async with self._links.use() as connection:
            return await agents.holder(connection, identity.agent)

    async def hello(self, identity: AgentIdentity, hello: ingest_pb2.Hello) -> Greeting:
        """Begin a session, which fences older ones, and say what the store has of the agent."""
        last = hello.last_acknowledged
        async with self._links.use() as connection:
            session = await agents.begin_session(
                connection,
                identity.agent,
                instance=hello.instance,
                software_version=hello.software_version,
                host=hello.host,
            )
            known = not last.number or await feed.knows(
                connection, feed.Position(last.number, last.nonce)
            )
            # After the session began: an older session cannot move these any more.
            states = await streams.agent_streams(connection, identity.agent)
            now = await health.clock(connection)
        watermarks = {s.stream.stream_id: s.watermark_us for s in states if s.watermark_us}
        wire = [_state(state) for state in states]
        return Greeting(session, to_us(now), not known, wire, watermarks)

    async def open(
        self, session: Session, births: Sequence[ingest_pb2.Stream]
    ) -> ingest_pb2.StreamsOpened:
        """Store births of streams; streams that are there already are returned as they stand."""
        async with self._links.use() as connection:
            opened = await streams.open_streams(
                connection, session.agent, session.team, map(_stream, births)
            )
        for state in opened.states:
            session.complete(state.stream.stream_id, state.watermark_us)
        return ingest_pb2.StreamsOpened(
            streams=[_state(state) for state in opened.states],
            refused=[
                ingest_pb2.Refusal(
                    stream_id=stream, reason=str(Reason.STREAM_REFUSED), detail=detail
                )
                for stream, detail in opened.refused.items()
            ],
        )

    async def components(self, identity: AgentIdentity) -> list[health.Component]:
        """Return what the agent reports and whose last known state is not an end."""
        async with self._links.use() as connection:
            return await health.components_of(connection, identity.agent)


_FIELDS = [field.name for field in dataclasses.fields(streams.Stream)]


def _stream(birth: ingest_pb2.Stream) -> streams.Stream:
    return streams.Stream(**{name: getattr(birth, name) for name in _FIELDS})


def _state(state: streams.StreamState) -> ingest_pb2.StreamState:
    stream = ingest_pb2.Stream(**{name: getattr(state.stream, name) for name in _FIELDS})
    return ingest_pb2.StreamState(
        stream=stream,
        committed=state.committed,
        digest=state.digest,
        framer_state=state.framer_state,
    )
