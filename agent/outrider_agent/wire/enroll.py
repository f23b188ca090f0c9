"""Enrolment: the secret of the token file becomes a token of this agent's own."""

from __future__ import annotations

import grpc

from outrider_agent.wire.channel import bearer, enroll_stub, fault_of
from outrider_protos.v1 import ingest_pb2

TIMEOUT_S = 10.0


async def enroll(channel: grpc.aio.Channel, secret: str, host: str) -> str:
    """Return the agent's own token. Raises Fault."""
    try:
        response = await enroll_stub(channel).Enroll(
            ingest_pb2.EnrollRequest(host=host), metadata=bearer(secret), timeout=TIMEOUT_S
        )
    except grpc.aio.AioRpcError as error:
        raise fault_of(error) from error
    return str(response.token)
