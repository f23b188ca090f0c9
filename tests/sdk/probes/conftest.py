"""Servers that a test writes out byte by byte, and certificates made for it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.lacking import need_openssl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, which is its own authority, and its key."""

    certificate: str
    key: str

    def context(self) -> ssl.SSLContext:
        """What a server speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Serving:
    """Servers on loopback that answer each connection on a thread of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self, answer: Answer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> int:
        """Serve until the test ends; return the port."""
        server = self._stack.enter_context(socket.create_server((host, 0)))
        threading.Thread(target=self._accept, args=(server, answer, tls), daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    def _accept(self, server: socket.socket, answer: Answer, tls: ssl.SSLContext | None) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                arguments = (connection, answer, tls)
                threading.Thread(target=self._answer, args=arguments, daemon=True).start()

    def _answer(
        self, connection: socket.socket, answer: Answer, tls: ssl.SSLContext | None
    ) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            if tls is None:
                answer(connection)
            else:
                with tls.wrap_socket(connection, server_side=True) as secured:
                    answer(secured)


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Start servers."""
    with ExitStack() as stack:
        yield Serving(stack)


def head(connection: socket.socket) -> bytes:
    """Read a request's head."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65_536)
        if not piece:
            break
        read += piece
    return read


def says(*pieces: bytes) -> Answer:
    """Answer every request with these bytes."""

    def answer(connection: socket.socket) -> None:
        head(connection)
        for piece in pieces:
            connection.sendall(piece)

    return answer


def silent(connection: socket.socket) -> None:
    """Take what comes and say nothing."""
    while connection.recv(65_536):
        pass


def http(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """An answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def certified(directory: Path, name: str, days: int) -> Certificate:
    """Make a certificate for 127.0.0.1 that ends in so many days, or ended."""
    need_openssl()
    made = Certificate(f"{directory}/{name}.pem", f"{directory}/{name}.key")
    request = f"{directory}/{name}.csr"
    run = partial(subprocess.run, check=True, capture_output=True)
    run([
        "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", made.key, "-out", request, "-subj", "/CN=test",
    ])  # fmt: skip
    run([
        "openssl", "x509", "-req", "-in", request, "-signkey", made.key, "-days", str(days),
        "-extfile", "/dev/stdin", "-out", made.certificate,
    ], input=b"subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:TRUE\n")  # fmt: skip
    return made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """One that is good for a hundred days, one that ends in five, one that has ended."""
    directory = tmp_path_factory.mktemp("certificates")
    return {
        name: certified(directory, name, days)
        for name, days in (("good", 100), ("ending", 5), ("ended", -1))
    }
