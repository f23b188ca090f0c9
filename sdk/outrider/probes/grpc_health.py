"""gRPC health: what ``grpc.health.v1.Health/Check`` says of a server or one of its services.

The call itself is passed in (this package needs nothing but Python); the two messages are small
enough to be written and read here: a request is field 1, a text; an answer field 1, a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from outrider.probes import certificate
from outrider.probes.reach import ReachError, allowed
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec, host_and_port

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

METHOD = "/grpc.health.v1.Health/Check"

_SERVICE_FIELD = 0x0A  # field 1, length-delimited
_STATUS_FIELD = 0x08  # field 1, varint
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_MAX_SERVICE_BYTES = 127


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Which server, and which of its services."""

    host: str
    port: int
    service: str
    """Empty: the server as a whole."""
    tls: bool
    ca_file: str


class Call(Protocol):
    """Makes the call, to an address of gRPC's (``ipv4:192.0.2.1:50051``)."""

    def __call__(self, target: GrpcTarget, address: str, request: bytes, timeout_s: float) -> bytes:
        """Return the answer's bytes. Raises ReachError, TimeoutError."""


def kind(call: Call) -> Kind[GrpcTarget]:
    """Return the kind of probe whose calls are made so."""
    return Kind("grpc", _read, partial(_look, call=call))


def _read(keys: Keys, networks: tuple[Network, ...]) -> GrpcTarget:
    host, port = host_and_port(keys, "address", networks)
    service = keys.text("service", "")
    if len(service.encode()) > _MAX_SERVICE_BYTES:
        raise keys.mistake("service", f"longer than {_MAX_SERVICE_BYTES} bytes")
    tls = keys.flag("tls", default=False)
    return GrpcTarget(host, port, service, tls, certificate.read_ca_file(keys))


def _look(spec: Spec[GrpcTarget], deadline: Deadline, *, call: Call) -> Result:
    target = spec.target
    first, *_ = allowed(target.host, target.port, spec.networks)
    family, host = ("ipv6", f"[{first}]") if ":" in first else ("ipv4", first)
    address = f"{family}:{host}:{target.port}"
    status = status_of(call(target, address, request_of(target.service), deadline.left_s()))
    took_ms = deadline.took_ms()
    state: str = _STATUSES[status] if status < len(_STATUSES) else f"status {status}"
    whole = f"service {target.service}" if target.service else "the server"
    if state == "SERVING":
        return Result("up", f"{whole} is SERVING", took_ms)
    return Result("down", f"{whole} is {state}", took_ms)


def request_of(service: str) -> bytes:
    """Return a HealthCheckRequest."""
    name = service.encode()
    return bytes((_SERVICE_FIELD, len(name))) + name if name else b""


def status_of(answer: bytes) -> int:
    """Return the status of a HealthCheckResponse; one that is left out is 0. Raises ReachError."""
    if not answer:
        return 0
    if len(answer) != 2 or answer[0] != _STATUS_FIELD or answer[1] > 127:
        raise ReachError("protocol", "the answer is none of the health service")
    return answer[1]
