"""IngestService.Heartbeat: each message goes into the book, each answer tells database time.

An agent corrects its clock by the answers, so they are sent at once and from memory: no database is
asked. The book is flushed by the keeper. A stream that breaks says nothing by itself: it only
brings nearer when the next heartbeat is due, here or at another collector.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import grpc

import outrider
from outrider.errors import Fault
from outrider_collector.service.auth import AgentIdentity, caller
from outrider_collector.service.connection import apart
from outrider_collector.service.errors import abort
from outrider_collector.service.unreadable import require
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider_collector.ingest.clock import DatabaseClock
    from outrider_collector.ingest.heartbeats import HeartbeatBook
    from outrider_collector.store.health import Component

HeartbeatContext = grpc.aio.ServicerContext[
    ingest_pb2.HeartbeatRequest, ingest_pb2.HeartbeatResponse
]

log = outrider.get_logger(__name__)


class Known(Protocol):
    """What the store knows of an agent's workers, and of what its probes look at."""

    async def components(self, identity: AgentIdentity) -> Sequence[Component]:
        """Return those whose last state is not an end. Raises Fault."""


class Heartbeats:
    """Serves Heartbeat for all agents."""

    def __init__(
        self,
        book: HeartbeatBook,
        known: Known,
        clock: DatabaseClock,
        heard: Callable[[int], None] = lambda _: None,
        audit_head: Callable[[], tuple[int, bytes]] = lambda: (0, b""),
    ) -> None:
        self._book = book
        self._known = known
        self._clock = clock
        self._heard = heard
        self._audit_head = audit_head
        self.connected: dict[int, int] = {}
        """Streams of heartbeats by agent."""
        self.stopping: Fault | None = None
        """Why no new stream is taken; None while the collector serves."""
        self._end = asyncio.Event()

    async def serve(self, context: HeartbeatContext) -> None:
        """Answer one agent's heartbeats until it ends the stream."""
        await self._refuse_when_stopping(context)
        identity = caller()
        try:
            self._book.expect(identity.agent, await self._known.components(identity))
        except Fault as fault:
            await abort(context, fault)
        self.connected[identity.agent] = self.connected.get(identity.agent, 0) + 1
        try:
            await apart(self._answer(identity, context), self._end)
        except Fault as fault:
            await abort(context, fault)
        finally:
            self._left(identity.agent)
        await self._refuse_when_stopping(context)

    def stop(self, fault: Fault) -> None:
        """Take no new streams and end the ones there are, with the reason."""
        self.stopping = fault
        self._end.set()

    async def _refuse_when_stopping(self, context: HeartbeatContext) -> None:
        if self.stopping is not None:
            await abort(context, self.stopping)

    async def _answer(self, identity: AgentIdentity, context: HeartbeatContext) -> None:
        while not self._end.is_set():
            # Typed without the end of the stream, which is not a request.
            message: object = await context.read()
            require(message)
            if not isinstance(message, ingest_pb2.HeartbeatRequest):
                return
            self._heard(identity.agent)
            now_us = self._clock.now_us()
            self._book.heard(identity.agent, identity.team, identity.host, message, now_us)
            seal, root = self._audit_head()
            await context.write(
                ingest_pb2.HeartbeatResponse(
                    number=message.number,
                    clock_us=now_us,
                    audit_seal=seal,
                    audit_root=root if seal else b"",
                )
            )

    def _left(self, agent: int) -> None:
        self.connected[agent] -= 1
        if not self.connected[agent]:
            del self.connected[agent]
            broke = self.stopping is None
            self._book.left(agent, self._clock.now_us(), broke=broke)
