"""TCP: something takes connections there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.probes.reach import connect
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec, host_and_port

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """Where to connect."""

    host: str
    port: int
    slow_ms: float
    """Slower than this is degraded; 0: never."""


def _read(keys: Keys, networks: tuple[Network, ...]) -> TcpTarget:
    host, port = host_and_port(keys, "address", networks)
    return TcpTarget(host, port, keys.seconds("slow", "", "1ms", "60s") * 1_000)


def look(spec: Spec[TcpTarget], deadline: Deadline) -> Result:
    """Connect and hang up."""
    target = spec.target
    connect(target.host, target.port, deadline, spec.networks).close()
    took_ms = deadline.took_ms()
    if target.slow_ms and took_ms > target.slow_ms:
        reason = f"connected after {took_ms:.0f} ms, slower than {target.slow_ms:g} ms"
        return Result("degraded", reason, took_ms)
    return Result("up", "connects", took_ms)


KIND = Kind("tcp", _read, look)
