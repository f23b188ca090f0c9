"""The listener on a real socket, with those who do not behave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from outrider.configuration import ConfigError
from outrider_collector.monitoring.http1 import MAX_HEAD_BYTES, Answer
from outrider_collector.monitoring.listener import MOST_CONNECTIONS, Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = "127.0.0.1"


async def fine() -> Answer:
    """A page that works."""
    return Answer.text(HTTPStatus.OK, "fine")


async def broken() -> Answer:
    """A page with a mistake in it."""
    raise KeyError("secret")


@asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[int]:
    """Serve the two pages on a free port."""
    listener = Listener({"/fine": fine, "/broken": broken}, **limits)
    port = listener.bind(LOOPBACK, 0)
    await listener.start()
    try:
        yield port
    finally:
        await listener.close()


async def said(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the end."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


async def test_pages_answer_and_the_connection_ends() -> None:
    """A known path has its page, another one a list of what there is, a mistake no details."""
    async with listening() as port:
        answers = [
            await said(port, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            for path in (b"/fine", b"/nowhere", b"/broken")
        ]

    assert answers[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert answers[0].endswith(b"\r\n\r\nfine\n")
    assert answers[1].startswith(b"HTTP/1.1 404 ")
    assert b"/fine, /broken" in answers[1]
    assert answers[2].startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answers[2]


async def test_a_head_without_end_is_cut_off() -> None:
    """A head beyond its limit, and one that trickles, end with the status that says why."""
    async with listening(read_s=0.2) as port:
        giant = await said(port, b"GET / HTTP/1.1\r\nA: " + b"a" * (2 * MAX_HEAD_BYTES))
        slow = await said(port, b"GET / HTTP/1.1\r\n")

    assert giant.startswith(b"HTTP/1.1 431 ")
    assert slow.startswith(b"HTTP/1.1 408 ")


async def test_who_sends_nothing_keeps_nobody_out() -> None:
    """Connections beyond the limit are ended; when the silent ones are cut off, room is there."""
    async with listening(read_s=1.0) as port:
        silent = [await asyncio.open_connection(LOOPBACK, port) for _ in range(MOST_CONNECTIONS)]
        request = b"GET /fine HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with suppress(ConnectionError):
            assert await said(port, request) == b""
        for reader, writer in silent:
            await reader.read()
            writer.close()
        answer = await said(port, request)

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_closing_does_not_wait_for_the_silent() -> None:
    """A collector that stops is not held up by a connection that says nothing."""
    async with asyncio.timeout(10):
        async with listening(read_s=60) as port:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            await asyncio.sleep(0)
        writer.close()


async def test_an_address_that_is_taken_is_a_message() -> None:
    """It names the address, the key and what to do."""
    async with listening() as port:
        with pytest.raises(ConfigError, match=f"{LOOPBACK}:{port}") as refused:
            Listener({}).bind(LOOPBACK, port)

    assert "http_listen" in str(refused.value)
