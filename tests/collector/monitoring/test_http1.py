"""What is taken for a request, and what is refused: no sockets."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.monitoring.http1 import END_OF_HEAD, Answer, Request, parse

HOST = b"Host: 127.0.0.1:4511\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "path", "head_only"),
    [
        (b"GET /metrics HTTP/1.1\r\n" + HOST, "/metrics", False),
        (b"HEAD /readyz?verbose=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", "/readyz", True),
        (b"GET / HTTP/1.1\r\nAccept: */*\r\nhost: [::1]:4511\r\n\r\n", "/", False),
        (b"GET /healthz HTTP/1.0\r\n\r\n", "/healthz", False),
    ],
)
def test_a_plain_request_is_understood(head: bytes, path: str, head_only: bool) -> None:
    """The path is what stands before the query; the names of headers know no case."""
    assert parse(head) == Request(path, head_only)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n" + HOST, 400),
        (b"GET metrics HTTP/1.1\r\n" + HOST, 400),
        (b"GET http://127.0.0.1/metrics HTTP/1.1\r\n" + HOST, 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST, 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + HOST, 400),
        (b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n" + HOST, 400),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n" + HOST, 400),
        (b"GET / HTTP/2.0\r\n" + HOST, 505),
        (b"POST /metrics HTTP/1.1\r\n" + HOST, 405),
        (b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 64 + HOST, 431),
    ],
)
def test_what_is_no_plain_request_is_refused(head: bytes, status: int) -> None:
    """Each refusal has the status that says why."""
    answer = parse(head)

    assert isinstance(answer, Answer)
    assert answer.status == status


@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer(garbage: bytes) -> None:
    """Nothing that can be sent is an exception."""
    assert parse(garbage + END_OF_HEAD) is not None


def test_an_answer_to_head_has_no_body() -> None:
    """It has the length that a GET would get."""
    encoded = Answer.text(HTTPStatus.OK, "ok").encoded(head_only=True)

    assert encoded.endswith(b"\r\n\r\n")
    assert b"Content-Length: 3\r\n" in encoded
