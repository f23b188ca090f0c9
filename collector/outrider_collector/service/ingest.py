"""IngestService: the servicer that gRPC calls, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_protos.v1 import ingest_pb2_grpc

if TYPE_CHECKING:
    from outrider_collector.service.connection import Context
    from outrider_collector.service.heartbeat import HeartbeatContext, Heartbeats
    from outrider_collector.service.push import Pushes


class IngestServicer(ingest_pb2_grpc.IngestServiceServicer):
    """Hands each stream to who serves it; requests are read from the context, not the iterator."""

    def __init__(self, pushes: Pushes, heartbeats: Heartbeats) -> None:
        self._pushes = pushes
        self._heartbeats = heartbeats

    async def Push(self, request_iterator: Any, context: Context) -> None:  # noqa: N802  wire name
        """Logs of one agent."""
        del request_iterator
        await self._pushes.serve(context)

    async def Heartbeat(  # noqa: N802  wire name
        self, request_iterator: Any, context: HeartbeatContext
    ) -> None:
        """Heartbeats of one agent."""
        del request_iterator
        await self._heartbeats.serve(context)
