"""Serves a few small pages over HTTP to whoever is on this machine.

Written by hand, because a web framework is more to trust than three pages are worth. Hardened by
limits: on the head of a request, on the time for reading it, for the answer and for sending it, and
on connections at a time. Each connection is one request.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import outrider
from outrider.configuration import ConfigError
from outrider_collector.monitoring.http1 import END_OF_HEAD, MAX_HEAD_BYTES, Answer, Request, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Page = Callable[[], Awaitable[Answer]]

MOST_CONNECTIONS = 32
READ_S = 5.0
ANSWER_S = 8.0
SEND_S = 5.0

log = outrider.get_logger(__name__)


class Listener:
    """One address and the pages behind it."""

    def __init__(self, pages: Mapping[str, Page], *, read_s: float = READ_S) -> None:
        """``pages``: path -> what makes its answer. ``read_s``: for a request to arrive."""
        self._pages = pages
        self._read_s = read_s
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self, host: str, port: int) -> int:
        """Take the address and return the port. Raises ConfigError when it is not to be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            found.close()
            taken = error.errno == errno.EADDRINUSE
            why = "another process has the address" if taken else error.strerror
            raise ConfigError(
                f"cannot listen on {host}:{port}, {why}",
                "collector.http_listen",
                'choose another port, or "" to serve no figures',
            ) from None
        self._socket = found
        return int(found.getsockname()[1])

    async def start(self) -> None:
        """Serve, where an address was taken."""
        if self._socket is not None:
            self._server = await asyncio.start_server(
                self._connected, sock=self._socket, limit=MAX_HEAD_BYTES, backlog=MOST_CONNECTIONS
            )

    async def close(self) -> None:
        """Stop serving and end what is open."""
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  streams run this in a task
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # Who does not read, or went away, is owed nothing; nor is anybody at the end, which
            # only :meth:`close` brings. (Python 3.11 reports a cancelled handler as a mistake.)
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await self._head(reader)
        if head is None:
            return
        request = head if isinstance(head, Answer) else parse(head)
        answer = request if isinstance(request, Answer) else await self._answer(request.path)
        head_only = isinstance(request, Request) and request.head_only
        writer.write(answer.encoded(head_only=head_only))
        async with asyncio.timeout(SEND_S):
            await writer.drain()
            # What is left unread at the end would make the kernel take the answer back.
            writer.write_eof()
            while await reader.read(MAX_HEAD_BYTES):
                pass

    async def _head(self, reader: asyncio.StreamReader) -> bytes | Answer | None:
        """Return the head of the request; None where the other side went away before its end."""
        try:
            async with asyncio.timeout(self._read_s):
                return await reader.readuntil(END_OF_HEAD)
        except asyncio.LimitOverrunError:
            return Answer.text(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The head of a request has at most {MAX_HEAD_BYTES:,} bytes.",
            )
        except TimeoutError:
            return Answer.text(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time.")
        except asyncio.IncompleteReadError:
            return None

    async def _answer(self, path: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            return Answer.text(HTTPStatus.NOT_FOUND, f"There are: {', '.join(self._pages)}.")
        try:
            async with asyncio.timeout(ANSWER_S):
                return await page()
        except TimeoutError:
            return Answer.text(HTTPStatus.SERVICE_UNAVAILABLE, "The answer took too long.")
        except Exception:  # one page must not end the collector
            log.exception("a page could not be made", path=path)
            return Answer.text(HTTPStatus.INTERNAL_SERVER_ERROR, "This page could not be made.")
