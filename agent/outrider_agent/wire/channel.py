"""Channels to a collector: the options, and gRPC's failures as faults of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from outrider.errors import Fault, Reason
from outrider_protos.v1 import ingest_pb2, ingest_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SEND_BYTES = 16 << 20
MAX_RECEIVE_BYTES = 8 << 20

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_send_message_length", MAX_SEND_BYTES),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # A peer that is gone without a word is noticed within a minute. Collectors allow pings at
    # least 30 s apart.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # What is sent again, and when, is decided in one place, and that is not here.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Each attempt to connect is a channel of its own, with no connection left over from another.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)

_REASON_KEY = "outrider-reason"
_RETRY_AFTER_KEY = "outrider-retry-after-ms"


def open_channel(address: str) -> grpc.aio.Channel:
    """Open a channel; it connects with the first call."""
    return grpc.aio.insecure_channel(address, options=OPTIONS)


def push_call(channel: grpc.aio.Channel) -> Any:
    """Return the method ``Push``, which also takes requests that are serialized already."""
    return channel.stream_stream(
        "/outrider.v1.IngestService/Push",
        request_serializer=_serialized,
        response_deserializer=ingest_pb2.PushResponse.FromString,
    )


def _serialized(request: ingest_pb2.PushRequest | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def ingest_stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub of IngestService; the generated one has no types."""
    generated: Any = ingest_pb2_grpc
    return generated.IngestServiceStub(channel)


def enroll_stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub of EnrollService."""
    generated: Any = ingest_pb2_grpc
    return generated.EnrollServiceStub(channel)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that says who calls."""
    return (("authorization", f"Bearer {token}"),)


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """Turn a call's failure into a fault: the server's own reason, else what the code means."""
    trailers = {key: str(value) for key, value in error.trailing_metadata() or ()}
    detail = error.details() or error.code().name.lower()
    after = trailers.get(_RETRY_AFTER_KEY, "")
    delay_s = int(after) / 1000 if after.isdigit() else None
    named = trailers.get(_REASON_KEY)
    if named:
        return Fault(named, retry_after_s=delay_s, detail=detail)
    reason = _MEANINGS.get(error.code(), Reason.COLLECTOR_UNREACHABLE)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in detail:
        reason = Reason.BATCH_TOO_LARGE
    return Fault(reason, retry_after_s=delay_s, detail=detail)


# What gRPC itself says, or something on the way; a collector names its reason.
_MEANINGS = {
    grpc.StatusCode.UNAUTHENTICATED: Reason.TOKEN_INVALID,
    grpc.StatusCode.PERMISSION_DENIED: Reason.SCOPE_DENIED,
    grpc.StatusCode.UNIMPLEMENTED: Reason.VERSION_UNSUPPORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.COLLECTOR_BUSY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.COLLECTOR_BUSY,
}
