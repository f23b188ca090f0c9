"""Connecting: a name becomes addresses, and only those that may be reached are connected to.

Whoever can choose a name, or answer with a redirect, must not thereby reach what only this host
can reach. So the guard judges the very address that is connected to, each time: a name that means
something else a moment later gains nothing.
"""

from __future__ import annotations

import errno
import io
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from outrider.addresses import may_reach
from outrider.instants import from_unix_us

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline

Step = Literal["name", "blocked", "connect", "timeout", "tls", "certificate", "protocol"]

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL


class ReachError(Exception):
    """What was to be reached was not: at which step, and why in a person's words."""

    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason


def addresses(host: str, port: int) -> list[str]:
    """Look a name up as every program of this host does. Raises ReachError.

    The system's resolver takes no deadline; its own (``resolv.conf``) is some seconds.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a name"
        raise ReachError("name", f"{host}: {why.lower()}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed(host: str, port: int, networks: Sequence[Network] = ()) -> list[str]:
    """Look a name up; return the addresses that may be connected to, one at least.

    These are the public ones and those in ``networks``. Raises ReachError.
    """
    found = addresses(host, port)
    open_to_us = [address for address in found if may_reach(address, networks)]
    if not open_to_us:
        raise ReachError("blocked", _blocked(host, found))
    return open_to_us


def connect(
    host: str, port: int, deadline: Deadline, allow_private: Sequence[Network] = ()
) -> socket.socket:
    """Connect by TCP to the first address that answers. Raises ReachError, TimeoutError."""
    open_to_us = allowed(host, port, allow_private)
    failure = ReachError("connect", f"{host}:{port}: nothing to connect to")
    for tries_left, address in zip(range(len(open_to_us), 0, -1), open_to_us, strict=True):
        try:
            # A share of the time for each, so that one that is silent leaves some to the next.
            return socket.create_connection((address, port), deadline.left_s() / tries_left)
        except TimeoutError:
            failure = ReachError("timeout", f"{_at(address, port)}: no answer to connect")
        except OSError as error:
            failure = ReachError("connect", f"{_at(address, port)}: {_words(error)}")
    raise failure


def _blocked(host: str, found: Iterable[str]) -> str:
    """Say why a host is not connected to, and what to do where it is meant."""
    told = ", ".join(found)
    where = told if told == host else f"{host} is {told}"
    return f"{where}, not a public address: add its network to `probe_networks` if it is meant"


def secure(plain: socket.socket, host: str, deadline: Deadline, ca_file: str = "") -> ssl.SSLSocket:
    """Speak TLS on a connection, the certificate verified for ``host``.

    ``ca_file`` is trusted instead of the system's authorities. Raises ReachError, TimeoutError;
    the connection is closed then.
    """
    import ssl  # noqa: PLC0415  5 MB, which only those who look at TLS pay

    try:
        plain.settimeout(deadline.left_s())
        return _context(ca_file).wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        is_expired = error.verify_code == _EXPIRED
        why = "has expired" if is_expired else f"is not accepted: {error.verify_message}"
        raise ReachError("certificate", f"the certificate of {host} {why}") from None
    except TimeoutError:
        plain.close()
        raise
    except (OSError, ValueError) as error:
        plain.close()
        reason = getattr(error, "reason", "") or _words(error)
        raise ReachError("tls", f"{host}: no TLS: {reason.lower().replace('_', ' ')}") from None


def certificate_expires_us(secured: ssl.SSLSocket) -> int:
    """Return when the other side's certificate ends, microseconds since 2000."""
    import ssl  # noqa: PLC0415

    certificate = secured.getpeercert() or {}
    until = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return from_unix_us(until * 1_000_000)


def reader(sock: socket.socket, deadline: Deadline, most_bytes: int) -> io.BufferedReader:
    """Return a file of what comes in; each of its waits has what is left of the time.

    Its reads raise ReachError when more than ``most_bytes`` have come in, however they are asked
    for: who speaks a protocol on top may be talked into reading without end.
    """
    return io.BufferedReader(_Incoming(sock, deadline, most_bytes))


class _Incoming(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline, most_bytes: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._left_bytes = most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left_s())
        count = self._sock.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise ReachError("protocol", f"the answer is longer than {self._most_bytes:,} bytes")
        return count


@lru_cache(maxsize=16)
def _context(ca_file: str) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415

    return ssl.create_default_context(cafile=ca_file or None)


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "refused, nothing listens there"
    return str(getattr(error, "strerror", "") or error or type(error).__name__).lower()
