"""SMTP: a mail server greets, knows EHLO and, where asked, speaks TLS. No message is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.probes import certificate
from outrider.probes.deadline import now_us
from outrider.probes.reach import ReachError, certificate_expires_us, connect, reader, secure
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec, host_and_port

if TYPE_CHECKING:
    import io
    import socket

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

_MAX_LINE_BYTES = 2_000
_MAX_LINES = 100


@dataclass(frozen=True, slots=True)
class SmtpTarget:
    """Which server, and how it is spoken to."""

    host: str
    port: int
    tls: str
    """``none``, ``starttls``, or ``tls`` from the first byte."""
    ca_file: str
    certificate_days: int


def _read(keys: Keys, networks: tuple[Network, ...]) -> SmtpTarget:
    host, port = host_and_port(keys, "address", networks)
    tls = keys.choice("tls", ("none", "starttls", "tls"), "starttls")
    return SmtpTarget(host, port, tls, certificate.read_ca_file(keys), certificate.read_days(keys))


def look(spec: Spec[SmtpTarget], deadline: Deadline) -> Result:
    """Greet, and take leave."""
    target = spec.target
    sock = connect(target.host, target.port, deadline, spec.networks)
    expires_us = None
    try:
        if target.tls == "tls":
            sock, expires_us = _secured(sock, target, deadline)
        talk = _Talk(sock, deadline)
        talk.expect(220, "greeted")
        talk.say("EHLO outrider.invalid", 250)
        if target.tls == "starttls":
            talk.say("STARTTLS", 220)
            sock, expires_us = _secured(sock, target, deadline)
            talk = _Talk(sock, deadline)
            talk.say("EHLO outrider.invalid", 250)
        took_ms = deadline.took_ms()
        talk.say("QUIT", 221)
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise ReachError("protocol", f"the connection broke: {error}") from None
    finally:
        sock.close()
    facts = {} if expires_us is None else certificate.facts(expires_us, now_us())
    if expires_us is not None:
        warning = certificate.ends_soon(expires_us, target.certificate_days, now_us())
        if warning:
            return Result("degraded", warning, took_ms, facts)
    return Result("up", "greets", took_ms, facts)


def _secured(
    sock: socket.socket, target: SmtpTarget, deadline: Deadline
) -> tuple[socket.socket, int]:
    secured = secure(sock, target.host, deadline, target.ca_file)
    return secured, certificate_expires_us(secured)


class _Talk:
    """Commands and answers, line by line (RFC 5321)."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._lines: io.BufferedReader = reader(sock, deadline, _MAX_LINES * _MAX_LINE_BYTES)

    def say(self, command: str, expected: int) -> None:
        """Send a command and look at the code of its answer. Raises ReachError, OSError."""
        self._sock.settimeout(self._deadline.left_s())
        self._sock.sendall(f"{command}\r\n".encode())
        self.expect(expected, f"answered {command.partition(' ')[0]}")

    def expect(self, expected: int, what: str) -> None:
        """Read one answer, which may have several lines. Raises ReachError, OSError."""
        for _ in range(_MAX_LINES):
            line = self._lines.readline(_MAX_LINE_BYTES)
            if line[3:4] == b"-" and line[:3] == str(expected).encode():
                continue
            if line[:3] == str(expected).encode():
                return
            said = line.decode("ascii", "replace").strip()[:100]
            raise ReachError("protocol", f"it {what} with `{said}`" if said else "it hung up")
        raise ReachError("protocol", f"it {what} without an end")


KIND = Kind("smtp", _read, look, needs_tls=True)
