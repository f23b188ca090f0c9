"""One HTTP exchange with a deadline, a guard and limits; standard library only.

``http.client`` speaks the protocol, on a socket that is connected here: every read and write has
what is left of the whole time, so that neither a body nor a head that trickles can hold a thread
longer. No proxy of the environment, no cookies, no decompression.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from outrider.probes.deadline import Deadline, now_us
from outrider.probes.reach import ReachError, certificate_expires_us, connect, reader, secure

if TYPE_CHECKING:
    import io
    import socket
    from collections.abc import Mapping, Sequence

    from outrider.addresses import Network

MAX_BODY_BYTES = 1 << 20
MAX_REDIRECTS = 3

_MAX_HEAD_BYTES = 1 << 18
_MAX_FRAMING = 2
"""Bytes that may come for each byte of a body: chunks have heads of their own."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_KEEP_METHOD = frozenset((307, 308))
_PORTS = {"http": 80, "https": 443}
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Response:
    """The answer that was looked at: the last one, where redirects were followed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a name that came twice, the values joined by a comma."""
    body: bytes
    is_cut: bool
    """The body is longer than was read of it."""
    took_ms: float
    """From the look-up of the name to the last byte that was read, redirects included."""
    tls_expires_us: int | None
    """When the certificate ends, microseconds since 2000; None without TLS."""
    sent_us: int
    """This host's clock, microseconds since 2000, before the request was written ..."""
    received_us: int
    """... and when the head of the answer was there: their middle is the other side's now."""


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = _NOTHING,
    body: bytes = b"",
    timeout_s: float,
    allow_private: Sequence[Network] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    max_redirects: int = MAX_REDIRECTS,
    ca_file: str = "",
) -> Response:
    """Ask once and return the answer, whatever its status.

    ``allow_private`` are networks that may be reached besides public addresses; the guard acts on
    the address connected to, also after each redirect. With ``max_redirects`` 0 a redirect is the
    answer. Headers and body of the request do not go to another origin. Raises ReachError; its
    ``step`` says where it ended.
    """
    deadline = Deadline(timeout_s)
    origin = None
    for _ in range(max_redirects + 1):
        parts = checked(url)
        if origin is not None and origin != (parts.scheme, parts.netloc):
            headers, body = _NOTHING, b""
        origin = (parts.scheme, parts.netloc)
        request = _Request(parts, method, headers, body, max_body_bytes, ca_file)
        try:
            response = _exchange(request, deadline, allow_private)
        except TimeoutError:
            raise ReachError("timeout", f"no answer within {timeout_s:g} s") from None
        target = response.headers.get("location", "")
        if response.status not in _REDIRECTS or not target or not max_redirects:
            return response
        url = urljoin(url, target)
        if response.status not in _KEEP_METHOD and method != "HEAD":
            method, body = "GET", b""
    raise ReachError("protocol", f"more than {max_redirects} redirects, the last to {url[:100]}")


def checked(url: str) -> SplitResult:
    """Return the parts of an http or https URL with a host. Raises ReachError."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise ReachError("protocol", f"`{url[:100]}` is no URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ReachError("protocol", f"`{url[:100]}` is no http or https URL with a host")
    if "@" in parts.netloc:
        raise ReachError("protocol", "a URL has a name or password in it: use a header")
    return parts


@dataclass(frozen=True, slots=True)
class _Request:
    parts: SplitResult
    method: str
    headers: Mapping[str, str]
    body: bytes
    max_body_bytes: int
    ca_file: str

    @property
    def target(self) -> str:
        path = quote(self.parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(self.parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
        return f"{path}?{query}" if query else path


def _exchange(request: _Request, deadline: Deadline, allow: Sequence[Network]) -> Response:
    host = request.parts.hostname or ""
    port = request.parts.port or _PORTS[request.parts.scheme]
    most_bytes = _MAX_HEAD_BYTES + _MAX_FRAMING * request.max_body_bytes
    sock = connect(host, port, deadline, allow)
    try:
        expires_us = None
        if request.parts.scheme == "https":
            secured = secure(sock, host, deadline, request.ca_file)
            sock, expires_us = secured, certificate_expires_us(secured)
        return _ask(request, _Wire(sock, deadline, most_bytes), deadline, expires_us)
    except TimeoutError:
        raise
    except OSError as error:
        why = (error.strerror or str(error) or type(error).__name__).lower()
        raise ReachError("protocol", f"the connection broke: {why}") from None
    except (HTTPException, ValueError) as error:
        why = " ".join(str(error).split())[:100] or type(error).__name__
        raise ReachError("protocol", f"the answer is not HTTP: {why}") from None
    finally:
        sock.close()


def _ask(request: _Request, wire: _Wire, deadline: Deadline, expires_us: int | None) -> Response:
    port = request.parts.port or _PORTS[request.parts.scheme]
    connection = HTTPConnection(request.parts.hostname or "", port)
    connection.default_port = _PORTS[request.parts.scheme]
    connection.sock = wire
    headers = {"User-Agent": "outrider", "Accept": "*/*", "Connection": "close"}
    given = {name.lower() for name in request.headers}
    headers = {name: text for name, text in headers.items() if name.lower() not in given}
    sent_us = now_us()
    connection.request(
        request.method,
        request.target,
        body=request.body or None,
        headers={**headers, **request.headers},
    )
    answer = connection.getresponse()
    received_us = now_us()
    limit = request.max_body_bytes
    body = answer.read(limit + 1)
    if answer.length and len(body) <= limit and request.method != "HEAD":
        raise HTTPException(f"it broke off {answer.length} bytes before its end")
    joined: dict[str, str] = {}
    for name, text in answer.getheaders():
        key = name.lower()
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return Response(
        status=answer.status,
        headers=joined,
        body=body[:limit],
        is_cut=len(body) > limit,
        took_ms=deadline.took_ms(),
        tls_expires_us=expires_us,
        sent_us=sent_us,
        received_us=received_us,
    )


class _Wire:
    """What ``http.client`` takes for a socket: its waits have what is left of the time.

    What comes in is limited here too: a chunk whose size is -1 has ``http.client`` read to the end,
    whatever it was asked for.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, most_bytes: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._most_bytes = most_bytes

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left_s())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return reader(self._sock, self._deadline, self._most_bytes)

    def close(self) -> None:
        # http.client lets go of the connection when it has the head; the body is still to be read.
        pass
