"""One call of the standard health service, for probes: the same from an agent and a collector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from outrider.probes.grpc_health import METHOD, kind
from outrider.probes.reach import ReachError

if TYPE_CHECKING:
    from outrider.probes.grpc_health import GrpcTarget

_SHOWN_CHARACTERS = 100


def check(target: GrpcTarget, address: str, request: bytes, timeout_s: float) -> bytes:
    """Ask ``address``; see :class:`outrider.probes.grpc_health.Call`."""
    with _channel(target, address) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            return ask(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise _told(error, target) from None


def _channel(target: GrpcTarget, address: str) -> grpc.Channel:
    # The address was judged before: no proxy, and no name that could mean another one.
    options = [
        ("grpc.default_authority", f"{target.host}:{target.port}"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]
    if not target.tls:
        return grpc.insecure_channel(address, options)
    authorities = Path(target.ca_file).read_bytes() if target.ca_file else None
    named = ("grpc.ssl_target_name_override", target.host)
    credentials = grpc.ssl_channel_credentials(authorities)
    return grpc.secure_channel(address, credentials, [*options[1:], named])


def _told(error: Any, target: GrpcTarget) -> Exception:
    # What a call raises is a grpc.Call too; the types of the library do not say so.
    code: grpc.StatusCode = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError("no answer")
    if code is grpc.StatusCode.NOT_FOUND:
        return ReachError("protocol", f"it does not know the service {target.service}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ReachError("protocol", "it has no health service (grpc.health.v1)")
    detail = " ".join((error.details() or "").split())[:_SHOWN_CHARACTERS]
    return ReachError("connect", f"{code.name}: {detail}")


KIND = kind(check)
