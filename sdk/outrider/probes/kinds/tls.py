"""TLS: the certificate is accepted, and for how long it will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.probes import certificate
from outrider.probes.deadline import now_us
from outrider.probes.reach import certificate_expires_us, connect, secure
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec, host_and_port

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys


@dataclass(frozen=True, slots=True)
class TlsTarget:
    """Where to connect, and whose certificate is expected."""

    host: str
    port: int
    server_name: str
    """The name that the certificate must be for."""
    ca_file: str
    certificate_days: int


def _read(keys: Keys, networks: tuple[Network, ...]) -> TlsTarget:
    host, port = host_and_port(keys, "address", networks)
    name = keys.text("server_name", host)
    return TlsTarget(host, port, name, certificate.read_ca_file(keys), certificate.read_days(keys))


def look(spec: Spec[TlsTarget], deadline: Deadline) -> Result:
    """Shake hands and hang up."""
    target = spec.target
    plain = connect(target.host, target.port, deadline, spec.networks)
    with secure(plain, target.server_name, deadline, target.ca_file) as secured:
        expires_us = certificate_expires_us(secured)
    took_ms = deadline.took_ms()
    facts = certificate.facts(expires_us, now_us())
    if warning := certificate.ends_soon(expires_us, target.certificate_days, now_us()):
        return Result("degraded", warning, took_ms, facts)
    return Result("up", "the certificate is accepted", took_ms, facts)


KIND = Kind("tls", _read, look, needs_tls=True)
