"""One HTTP exchange against servers that are slow, huge, broken, or lead elsewhere."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from outrider.addresses import may_reach, networks
from outrider.probes.http import Response, fetch
from outrider.probes.reach import ReachError
from tests.sdk.probes.conftest import head, http, says, silent

if TYPE_CHECKING:
    from tests.sdk.probes.conftest import Certificate, Serving

LOOPBACK = networks(["127.0.0.1"])
LONG_S = 30.0
"""Far longer than any answer here; what is slow on purpose has a timeout of its own."""


def ask(port: int, path: str = "/", **more: Any) -> Response:
    """Ask a server of the test."""
    given = {"timeout_s": LONG_S, "allow_private": LOOPBACK, **more}
    return fetch(f"http://127.0.0.1:{port}{path}", **given)


def test_an_answer_is_returned_whatever_its_status(serve: Serving) -> None:
    """Status, headers joined by name, body; the clock around it."""
    port = serve(says(http(b"no", "503 Busy", "X-A: 1", "x-a: 2")))
    response = ask(port)

    assert (response.status, response.body, response.is_cut) == (503, b"no", False)
    assert response.headers["x-a"] == "1, 2"
    assert response.tls_expires_us is None
    assert response.sent_us <= response.received_us and response.took_ms > 0


def test_a_chunked_answer_is_put_together(serve: Serving) -> None:
    """Also where it comes in pieces."""
    first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    port = serve(says(first, b"2\r\nde\r\n0\r\n\r\n"))

    assert ask(port).body == b"abcde"


def test_no_private_address_is_reached_unless_it_is_allowed(serve: Serving) -> None:
    """By address, by name, and in another notation."""
    asked: list[bytes] = []
    port = serve(lambda connection: asked.append(head(connection)))
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433"):
        with pytest.raises(ReachError) as caught:
            fetch(f"http://{host}:{port}/", timeout_s=LONG_S)
        assert caught.value.step == "blocked", host
        assert "probe_networks" in caught.value.reason
    assert asked == []


def test_the_address_that_is_judged_is_the_one_connected_to(
    serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public at one look-up and private at the next gains nothing: there is one."""
    port = serve(says(http(b"secret")))
    real, looked_up = socket.getaddrinfo, []

    def rebinding(host: str, *arguments: Any, **named: Any) -> Any:
        looked_up.append(host)
        return real("127.0.0.1" if host == "rebinding.example" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with pytest.raises(ReachError) as caught:
        fetch(f"http://rebinding.example:{port}/", timeout_s=LONG_S)

    assert caught.value.step == "blocked"
    assert looked_up == ["rebinding.example"]


@pytest.mark.parametrize("size", [b"-1", b"-2", b"-ffffffffff", b"junk", b""])
def test_a_chunk_that_lies_about_its_size_takes_no_memory(serve: Serving, size: bytes) -> None:
    """Of data without end no more is taken than a body and its framing may have."""
    sent, hung_up = [0], threading.Event()

    def endless(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
        )
        try:
            while sent[0] < 512 << 20:
                sent[0] += connection.send(bytes(1 << 16))
        finally:
            hung_up.set()

    with pytest.raises(ReachError) as caught:
        ask(serve(endless), max_body_bytes=1 << 16)

    assert caught.value.step == "protocol"
    assert hung_up.wait(LONG_S)
    assert sent[0] < 64 << 20  # what the kernel holds of it on both sides, and the limit


def test_redirects_are_followed_and_guarded_each(serve: Serving) -> None:
    """To an address that may not be reached they end; the server there hears nothing."""
    heard: list[bytes] = []
    inside = serve(lambda connection: heard.append(head(connection)), host="127.0.0.2")
    evil = serve(says(http(b"", "302 Found", f"Location: http://127.0.0.2:{inside}/admin")))
    with pytest.raises(ReachError) as caught:
        ask(evil)
    assert caught.value.step == "blocked" and heard == []

    target = serve(says(http(b"here")))
    good = serve(says(http(b"", "301 Moved", f"Location: http://127.0.0.1:{target}/x")))
    assert ask(good).body == b"here"
    assert ask(good, max_redirects=0).status == 301


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://a:b@c/"])
def test_a_redirect_leads_to_http_alone(serve: Serving, location: str) -> None:
    """Other schemes and names with passwords are no target."""
    port = serve(says(http(b"", "302 Found", f"Location: {location}")))
    with pytest.raises(ReachError) as caught:
        ask(port)
    assert caught.value.step == "protocol"


def test_a_circle_of_redirects_ends(serve: Serving) -> None:
    """After as many as were allowed."""
    port = serve(says(http(b"", "302 Found", "Location: /again")))
    with pytest.raises(ReachError, match="more than 3 redirects"):
        ask(port)


def test_credentials_stay_with_their_origin(serve: Serving) -> None:
    """A redirect within the origin keeps the headers; to another one they, and the body, go not."""
    heard: list[bytes] = []

    def other(connection: socket.socket) -> None:
        heard.append(head(connection))
        connection.sendall(http(b"there"))

    elsewhere = serve(other)
    turns = itertools.count()

    def first(connection: socket.socket) -> None:
        heard.append(head(connection))
        away = f"http://127.0.0.1:{elsewhere}/"
        target = "/next" if next(turns) == 0 else away
        connection.sendall(http(b"", "307 Temporary", f"Location: {target}"))

    port = serve(first)
    ask(port, headers={"Authorization": "Bearer secret"}, method="POST", body=b"{}")

    assert [b"Bearer secret" in request for request in heard] == [True, True, False]
    assert heard[1].startswith(b"POST /next ") and heard[2].startswith(b"POST / ")
    assert b"content-length: 2" in heard[1].lower() and b"{}" not in heard[2]


def drips(before: bytes) -> Any:
    """Answer with some bytes, and then one now and then, without end."""

    def answer(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(before)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_what_trickles_ends_with_the_time(serve: Serving, before: bytes) -> None:
    """Each byte comes in time, the whole does not: the deadline is of the whole."""
    started = time.monotonic()
    with pytest.raises(ReachError) as caught:
        ask(serve(drips(before)), timeout_s=0.4)

    assert caught.value.step == "timeout"
    assert time.monotonic() - started < 20


def test_a_server_that_says_nothing_ends_with_the_time(serve: Serving) -> None:
    """It takes the connection, and that is all."""
    with pytest.raises(ReachError, match=r"no answer within 0.2 s"):
        ask(serve(silent), timeout_s=0.2)


def test_no_more_of_a_body_is_read_than_asked_for(serve: Serving) -> None:
    """One without end is cut, and says so; one that fits exactly is whole."""

    def endless(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    response = ask(serve(endless), max_body_bytes=10_000)
    assert len(response.body) == 10_000 and response.is_cut

    response = ask(serve(says(http(b"x" * 100))), max_body_bytes=100)
    assert len(response.body) == 100 and not response.is_cut


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told(serve: Serving, answer: bytes) -> None:
    """Nothing, another protocol, a body that breaks off, a head beyond its limits."""
    with pytest.raises(ReachError) as caught:
        ask(serve(says(answer)))
    assert caught.value.step == "protocol"
    assert len(caught.value.reason) < 200


def test_nobody_listens(serve: Serving) -> None:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ReachError, match="refused"):
        ask(port)


def test_a_name_that_nobody_knows() -> None:
    """Reserved for that (RFC 6761)."""
    with pytest.raises(ReachError) as caught:
        fetch("http://nothere.invalid/", timeout_s=LONG_S)
    assert caught.value.step == "name"


@pytest.mark.parametrize("made", ["good", "ending"])
def test_a_certificate_is_verified_and_its_end_told(
    serve: Serving, certificates: dict[str, Certificate], made: str
) -> None:
    """By the authorities of the file; without it, it is nobody's."""
    one = certificates[made]
    port = serve(says(http(b"safe")), tls=one.context())
    url = f"https://127.0.0.1:{port}/"
    response = fetch(url, timeout_s=LONG_S, allow_private=LOOPBACK, ca_file=one.certificate)

    assert response.body == b"safe" and response.tls_expires_us is not None
    days = (response.tls_expires_us - response.sent_us) / 86_400_000_000
    assert days == pytest.approx(100 if made == "good" else 5, abs=0.1)

    with pytest.raises(ReachError, match="is not accepted") as caught:
        fetch(url, timeout_s=LONG_S, allow_private=LOOPBACK)
    assert caught.value.step == "certificate"


def test_a_certificate_that_has_ended_is_told_as_such(
    serve: Serving, certificates: dict[str, Certificate]
) -> None:
    """Apart from other reasons; plain text where TLS is expected is another."""
    ended = certificates["ended"]
    port = serve(says(http()), tls=ended.context())
    with pytest.raises(ReachError, match="has expired"):
        fetch(
            f"https://127.0.0.1:{port}/",
            timeout_s=LONG_S, allow_private=LOOPBACK, ca_file=ended.certificate,
        )  # fmt: skip
    with pytest.raises(ReachError) as caught:
        fetch(
            f"https://127.0.0.1:{serve(lambda connection: connection.sendall(http()))}/",
            timeout_s=LONG_S, allow_private=LOOPBACK,
        )  # fmt: skip
    assert caught.value.step == "tls"


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:192.168.1.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2002:5db8:d822::", True),
    ],
)
def test_what_may_be_reached(address: str, is_open: bool) -> None:
    """Public addresses, whatever they are dressed as."""
    assert may_reach(address) == is_open


def test_a_network_that_is_named_may_be_reached() -> None:
    """And no other."""
    allowed = networks(["10.0.0.0/8", "::1", "169.254.169.254"])
    for address in ("10.255.0.1", "::ffff:10.0.0.1", "::1", "169.254.169.254"):
        assert may_reach(address, allowed)
    assert not may_reach("192.168.0.1", allowed)
