"""EnrollService: an enrolment secret becomes an agent's own token.

The interceptor has checked the secret. The store makes id and token, and keeps of the token its
SHA-256 only: it is told once, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import outrider
from outrider.errors import Fault, Reason
from outrider_collector.ingest.gauges import clean
from outrider_collector.service.errors import guarded
from outrider_protos.v1 import ingest_pb2, ingest_pb2_grpc

if TYPE_CHECKING:
    import grpc

MAX_HOST_BYTES = 255

log = outrider.get_logger(__name__)


class NewAgents(Protocol):
    """Where agents are made."""

    async def enroll(self, host: str) -> tuple[int, str]:
        """Make an agent; return its id and its token. Raises Fault."""


class EnrollServicer(ingest_pb2_grpc.EnrollServiceServicer):
    """Answers agents that have no token yet."""

    def __init__(self, agents: NewAgents) -> None:
        self._agents = agents

    @guarded
    async def Enroll(  # noqa: N802  the name is the wire's
        self, request: ingest_pb2.EnrollRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ingest_pb2.EnrollResponse:
        """Make an agent and return its token."""
        del context
        host = clean(request.host, MAX_HOST_BYTES)
        if not host or len(host.encode()) > MAX_HOST_BYTES:
            raise Fault(Reason.RECORD_INVALID, detail="the host name is missing or too long")
        agent, token = await self._agents.enroll(host)
        log.info("an agent was enrolled", agent=agent, host=host)
        return ingest_pb2.EnrollResponse(token=token)
