"""The gRPC server: its options, each with the reason, and how it binds.

A misspelt option is ignored in silence, so tests look at what the options do, not at their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from outrider.configuration import ConfigError
from outrider_collector.service.connection import orphans_ended
from outrider_collector.service.unreadable import Reader
from outrider_protos.v1 import admin_pb2_grpc, ingest_pb2_grpc

if TYPE_CHECKING:
    from outrider_collector.service.auth import Authenticator

MAX_MESSAGE_BYTES = 9 * 1024 * 1024
"""A batch is at most 8 MiB, an applied rule set 4 MiB."""

OPTIONS: list[tuple[str, Any]] = [
    # On by default: two collectors would share the port and nobody would notice.
    ("grpc.so_reuseport", 0),
    # A host that vanished is noticed within 80 s; a heartbeat that is missing says it earlier.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Without this an agent that pings an idle connection every 10 s is cut off after 50 s.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # The window that grows with bandwidth lets an agent push 4 MiB that nobody reads; this one
    # 0.2 MiB. What an agent may have on its way is its credit's business.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
    # An agent needs two streams and a call now and then.
    ("grpc.max_concurrent_streams", 16),
]

SERVICES = ("outrider.v1.IngestService", "outrider.v1.EnrollService", "outrider.v1.AdminService")


class Server:
    """A gRPC server with the standard health service."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.grpc = grpc.aio.server(interceptors=[authenticator, Reader()], options=OPTIONS)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)

    def add(
        self,
        ingest: ingest_pb2_grpc.IngestServiceServicer,
        enrol: ingest_pb2_grpc.EnrollServiceServicer,
        admin: admin_pb2_grpc.AdminServiceServicer,
    ) -> None:
        """Add the three services; before :meth:`start`."""
        # Generated code has no annotations.
        ingest_pb2_grpc.add_IngestServiceServicer_to_server(ingest, self.grpc)  # type: ignore[no-untyped-call]
        ingest_pb2_grpc.add_EnrollServiceServicer_to_server(enrol, self.grpc)  # type: ignore[no-untyped-call]
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, self.grpc)  # type: ignore[no-untyped-call]

    def bind(self, host: str, port: int) -> int:
        """Take the address and return the port. Raises ConfigError when it is taken."""
        try:
            bound = self.grpc.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise ConfigError(
                f"cannot listen on {host}:{port}, another process has the address",
                what_to_do=f"see who by `ss -ltnp sport = :{port}`, or set `collector.listen`",
            )
        return bound

    async def start(self) -> None:
        """Take calls; :meth:`serving` says whether balancers send any."""
        await self.grpc.start()
        await self.serving(False)

    async def serving(self, ready: bool) -> None:  # noqa: FBT001  one question, one answer
        """Tell balancers whether to send agents here; without effect after :meth:`not_serving`."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *SERVICES):
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def not_serving(self) -> None:
        """Tell balancers to send nobody here any more, for good."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Let calls end by themselves for ``grace_s`` seconds, then end them."""
        await self.grpc.stop(grace_s)
        await orphans_ended()
