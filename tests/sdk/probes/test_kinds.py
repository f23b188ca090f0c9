"""What each kind of probe finds, at real servers, disks and processes."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from outrider.configuration import Source
from outrider.instants import EPOCH_UNIX_US
from outrider.probes.kinds import clock
from outrider.probes.look import look
from outrider.probes.reach import ReachError
from outrider_agent import probe_kinds
from tests.sdk.probes.conftest import head, http, says, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outrider.probes.result import Result
    from tests.sdk.probes.conftest import Certificate, Serving


def found(kind: str, more: str = "", timeout: str = "30s") -> Result:
    """Let a probe of an agent's file look once."""
    text = (
        f'[[agent.probe]]\nname = "x"\nkind = "{kind}"\nevery = "1m"\n'
        f'timeout = "{timeout}"\n{more}\n'
    )
    tables = tomllib.loads(text)["agent"]["probe"]
    (spec,) = probe_kinds.read(tables, ["127.0.0.1"], Source("x.toml", text))
    return look(spec)


@pytest.mark.parametrize(
    ("more", "state", "reason"),
    [
        ("", "up", "HTTP 200"),
        ('status = ["200-204", 301]', "up", "HTTP 200"),
        ("status = [204]", "down", "HTTP 200, expected 204"),
        ('contains = "queue"', "up", "HTTP 200"),
        ('contains = "Queue"', "down", "the body does not contain `Queue`"),
        ('regex = "n.: ?\\\\d+"', "up", "HTTP 200"),
        ('regex = "^queue"', "down", "the body does not match `^queue`"),
        ('json = "attrs.status:ok attrs.queue.n<10"', "up", "HTTP 200"),
        ('json = "attrs.status:ok OR attrs.none:x"', "up", "HTTP 200"),
        ('json = "-attrs.status:broken attrs.parts.1.up:true"', "up", "HTTP 200"),
        ('json = "attrs.queue.n<5"', "down", "the body does not fulfil `attrs.queue.n<5`"),
        ('slow = "1ms"', "degraded", "slower than 1 ms"),
    ],
)
def test_http_conditions(serve: Serving, more: str, state: str, reason: str) -> None:
    """What of the answer does not hold is named."""
    body = b'{"status": "ok", "queue": {"n": 7}, "parts": [{"up": false}, {"up": true}]}'

    def answer(connection: socket.socket) -> None:
        head(connection)
        time.sleep(0.002)
        connection.sendall(http(body))

    result = found("http", f'url = "http://127.0.0.1:{serve(answer)}/"\n{more}')

    assert (result.state, reason in result.reason) == (state, True), result
    assert result.facts["status"] == 200 and result.took_ms > 0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b'{"a": NaN', b"\xff\xfe"])
def test_a_body_that_is_no_json_is_told(serve: Serving, body: bytes) -> None:
    """Nothing, HTML, nested without end, broken, no text."""
    url = f"http://127.0.0.1:{serve(says(http(body)))}/"
    result = found("http", f'url = "{url}"\njson = "attrs.status:ok"')

    assert (result.state, result.reason) == ("down", "the body is no JSON")


def test_http_sends_what_it_is_told(serve: Serving, tmp_path: Path) -> None:
    """Method, headers, a token from its file; a missing file is no failure of the server."""
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heard.append(head(connection))
        connection.sendall(http())

    url = f'url = "http://127.0.0.1:{serve(answer)}/a b?q=ü"\n'
    token = tmp_path / "token"
    token.write_text("secret\n")
    more = f'method = "POST"\nheaders = {{ X-Probe = "yes" }}\ntoken_file = "{token}"\nbody = "b"'
    result = found("http", url + more)
    assert result.state == "up"
    (request,) = heard
    assert request.startswith(b"POST /a%20b?q=%C3%BC HTTP/1.1\r\n")
    assert b"X-Probe: yes\r\n" in request and b"Authorization: Bearer secret\r\n" in request

    assert found("http", f'{url}token_file = "{tmp_path}/none"').state == "unknown"


def test_a_guard_says_nothing_about_the_other_side(serve: Serving) -> None:
    """What may not be reached is unknown, and not down."""
    away = serve(says(http(b"", "302 Found", "Location: http://10.0.0.1/")))
    result = found("http", f'url = "http://127.0.0.1:{away}/"')

    assert result.state == "unknown" and "10.0.0.1, not a public address" in result.reason


def test_certificates(serve: Serving, certificates: dict[str, Certificate]) -> None:
    """Good, ending soon, ended; the end and the days that are left are facts."""
    states = {}
    for name, one in certificates.items():
        port = serve(silent, tls=one.context())
        more = f'address = "127.0.0.1:{port}"\nca_file = "{one.certificate}"'
        states[name] = found("tls", more)
    assert {name: result.state for name, result in states.items()} == {
        "good": "up", "ending": "degraded", "ended": "down",
    }  # fmt: skip
    assert states["ending"].reason.startswith("the certificate ends in 4 days, ")
    assert states["good"].facts["tls_days"] == pytest.approx(100, abs=0.1)

    one = certificates["good"]
    address = f'address = "127.0.0.1:{serve(silent, tls=one.context())}"'
    trusted = f'{address}\nca_file = "{one.certificate}"'
    assert found("tls", f'{trusted}\nserver_name = "shop.example"').state == "down"
    assert found("tls", f"{trusted}\ncertificate_days = 200").state == "degraded"


def test_tcp(serve: Serving) -> None:
    """Something listens, or nothing does."""
    assert found("tcp", f'address = "127.0.0.1:{serve(silent)}"').state == "up"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = found("tcp", f'address = "127.0.0.1:{port}"')
    assert (result.state, "refused" in result.reason) == ("down", True)


def test_dns() -> None:
    """A name with an address, with the wrong one, without any."""
    assert found("dns", 'host = "localhost"').state == "up"
    wrong = found("dns", 'host = "localhost"\nexpect = ["192.0.2.1"]')
    assert wrong.state == "down" and "expected 192.0.2.1" in wrong.reason
    assert found("dns", 'host = "nothere.invalid"').state == "down"
    assert found("dns", f'host = "{"a" * 70}.example"').state == "down"


class Mail:
    """A mail server that says what it is told to."""

    def __init__(self, greeting: bytes, certificate: Certificate | None = None) -> None:
        self._greeting = greeting
        self._certificate = certificate

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(self._greeting)
        while command := connection.recv(1_000):
            if command.startswith(b"EHLO"):
                connection.sendall(b"250-mail.example\r\n250 STARTTLS\r\n")
            elif command.startswith(b"STARTTLS") and self._certificate is not None:
                connection.sendall(b"220 go\r\n")
                context = self._certificate.context()
                with context.wrap_socket(connection, server_side=True) as secured:
                    Mail(b"")(secured)
                return
            elif command.startswith(b"QUIT"):
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"502 what?\r\n")


def test_smtp(serve: Serving, certificates: dict[str, Certificate]) -> None:
    """In plain text, with STARTTLS, with TLS; refusals in the server's own words."""
    one = certificates["good"]
    plain = serve(Mail(b"220-hello\r\n220 mail.example\r\n"))
    assert found("smtp", f'address = "127.0.0.1:{plain}"\ntls = "none"').state == "up"
    refused = found("smtp", f'address = "127.0.0.1:{plain}"')
    assert (refused.state, refused.reason) == ("down", "it answered STARTTLS with `502 what?`")

    for port, tls in (
        (serve(Mail(b"220 mail\r\n", one)), "starttls"),
        (serve(Mail(b"220 mail\r\n"), tls=one.context()), "tls"),
    ):
        more = f'address = "127.0.0.1:{port}"\ntls = "{tls}"\nca_file = "{one.certificate}"'
        result = found("smtp", more)
        assert result.state == "up" and result.facts["tls_days"] > 99  # type: ignore[operator]

    busy = serve(Mail(b"421 too busy\r\n"))
    assert found("smtp", f'address = "127.0.0.1:{busy}"').reason == "it greeted with `421 too busy`"
    endless = serve(lambda connection: connection.sendall(b"220-x\r\n" * 100_000))
    assert "without an end" in found("smtp", f'address = "127.0.0.1:{endless}"').reason
    quiet = found("smtp", f'address = "127.0.0.1:{serve(silent)}"', timeout="200ms")
    assert (quiet.state, quiet.reason) == ("down", "no answer within 0.2 s")


def test_disk(tmp_path: Path) -> None:
    """Enough, less than wanted, a path that is not there."""
    here = f'path = "{tmp_path}"\n'
    assert found("disk", f"{here}warn_below_pct = 0\nfail_below_pct = 0").state == "up"
    assert found("disk", f"{here}warn_below_pct = 100\nfail_below_pct = 0").state == "degraded"
    full = found("disk", f"{here}warn_below_pct = 100\nfail_below_pct = 100")
    assert full.state == "down" and "less than 100 %" in full.reason
    assert 0 < full.facts["free_pct"] <= 100  # type: ignore[operator]
    assert found("disk", f'path = "{tmp_path}/none"').state == "unknown"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_process() -> None:
    """Counted by a text of the command line; fewer or more than there should be are down."""
    mark = f"outrider-probe-{os.getpid()}"
    body = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", body, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        one = found("process", f'command = "{mark}"')
        assert (one.state, one.reason, one.facts["count"]) == ("up", "1 process", 1)
        assert one.facts["rss_bytes"] > 1_000_000  # type: ignore[operator]
        assert found("process", f'command = "{mark}"\nleast = 2').state == "down"
        assert found("process", f'command = "{mark}"\nleast = 0\nmost = 0').state == "down"
        child.stdin.close()
    assert found("process", f'command = "{mark}"').reason == "0 processes, expected at least 1"


@pytest.mark.parametrize(
    ("script", "state", "reason"),
    [
        ("echo; echo all is well; echo more", "up", "all is well"),
        ("echo slow; exit 1", "degraded", "slow"),
        ("exit 2", "down", "exit code 2"),
        ("echo who knows >&2; exit 3", "unknown", "who knows"),
        ("exit 77", "down", "exit code 77"),
        ("kill -9 $$", "down", "killed by signal 9"),
        ("head -c 1000000 /dev/zero", "up", "\0" * 4_096),
    ],
)
def test_command(script: str, state: str, reason: str) -> None:
    """Its exit code is the state, its first line the reason."""
    result = found("command", f'command = ["/bin/sh", "-c", "{script}"]')
    assert (result.state, result.reason) == (state, reason)


def test_a_command_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """Also where a child of it holds its output."""
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    result = found("command", f'command = ["/bin/sh", "-c", "{script}"]', timeout="500ms")
    assert (result.state, result.reason) == ("down", "no answer within 0.5 s")

    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(child)

    assert found("command", 'command = ["/nowhere/check"]').state == "unknown"


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TimeServer:
    """Answers one question with the time of this host, and how far off it is told to be."""

    def __init__(self, ahead_s: float = 0.0, *, stratum: int = 2, forged: bool = False) -> None:
        self._ahead_s = ahead_s
        self._stratum = stratum
        self._forged = forged
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with self._socket:
            self._socket.settimeout(30)
            question, sender = self._socket.recvfrom(1_024)
            origin = b"12345678" if self._forged else question[40:48]
            now = _ntp(time.time() + self._ahead_s)
            first = struct.pack(">BBbb11x", 0x24, self._stratum, 0, -20)[:4]
            self._socket.sendto(first + bytes(20) + origin + now + now, sender)


def _ntp(unix_s: float) -> bytes:
    seconds, fraction = divmod(unix_s + 2_208_988_800, 1)
    return struct.pack(">II", int(seconds) & 0xFFFFFFFF, int(fraction * 2**32))


@pytest.mark.parametrize(
    ("ahead_s", "state", "word"),
    [(0.0, "up", ""), (-100.0, "down", "ahead of"), (100.0, "down", "behind")],
)
def test_clock(ahead_s: float, state: str, word: str) -> None:
    """This clock against the server's, by the middle of the round trip."""
    server = TimeServer(ahead_s)
    result = found(
        "clock", f'server = "127.0.0.1"\nport = {server.port}\nwarn = "20s"\nfail = "1m"'
    )

    assert result.state == state and word in result.reason
    assert result.facts["skew_ms"] == pytest.approx(-ahead_s * 1_000, abs=10_000)


def test_a_clock_that_is_none() -> None:
    """A server that refuses, one that answers another's question, none at all."""
    for server in (TimeServer(stratum=0), TimeServer(forged=True)):
        assert found("clock", f'server = "127.0.0.1"\nport = {server.port}').state == "down"
    assert found("clock", 'server = "nothere.invalid"').state == "down"


def test_times_of_the_next_era_are_read() -> None:
    """NTP's seconds begin anew in 2036."""
    packet = struct.pack(">BBbb11I", 0x24, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0xFFFFFFFF, 0, 0, 1 << 31)
    before_us, after_us = clock.parse(packet, 7)

    assert after_us - before_us == 1_500_000
    assert before_us + EPOCH_UNIX_US == (2**32 - 1 - 2_208_988_800) * 1_000_000
    for broken in (b"", packet[:47], bytes(48)):
        with pytest.raises(ReachError):
            clock.parse(broken, 7)


@pytest.fixture
def grpc_server() -> Iterator[tuple[Any, int]]:
    """A real server with the standard health service, and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    server.stop(None).wait(10)


def test_grpc(grpc_server: tuple[Any, int], serve: Serving) -> None:
    """Serving, not serving, an unknown service, no health service, no gRPC."""
    servicer, port = grpc_server
    servicer.set("pay", health_pb2.HealthCheckResponse.NOT_SERVING)
    address = f'address = "127.0.0.1:{port}"\n'

    assert found("grpc", address).reason == "the server is SERVING"
    assert found("grpc", f'{address}service = "pay"').reason == "service pay is NOT_SERVING"
    unknown = found("grpc", f'{address}service = "none"')
    assert (unknown.state, unknown.reason) == ("down", "it does not know the service none")

    bare = grpc.server(futures.ThreadPoolExecutor(1))
    other = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    assert "no health service" in found("grpc", f'address = "127.0.0.1:{other}"').reason
    bare.stop(None).wait(10)

    assert found("grpc", f'address = "127.0.0.1:{serve(says(http()))}"').state == "down"
    quiet = found("grpc", f'address = "127.0.0.1:{serve(silent)}"', timeout="300ms")
    assert quiet.state == "down"
