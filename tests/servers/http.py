"""A loopback HTTP/1.1 server small enough that a test decides when a connection breaks.

h11 speaks the protocol; the handler answers, or asks for the connection to be dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11

BODY_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived: path with query, and the body."""

    method: str
    path: str
    content_type: str
    body: bytes
    # Names in lower case.
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; `status` None drops the connection without a word."""

    status: int | None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """Listens on loopback; `port` is known after `start`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; 0 takes a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection and the listener."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            # Only `stop` cancels; ending quietly keeps asyncio's own callback from complaining.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await _read(connection, reader)
            if request is None:
                return
            reply = await self._handler(request)
            if reply.status is None:
                return
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(reply.body))),
                *reply.headers,
            ]
            writer.write(
                (connection.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
                + (connection.send(h11.Data(data=reply.body)) or b"")
                + (connection.send(h11.EndOfMessage()) or b"")
            )
            await writer.drain()
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT_BYTES:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            types = [value for name, value in head.headers if name == b"content-type"]
            return Request(
                method=head.method.decode(),
                path=head.target.decode(),
                content_type=types[0].decode() if types else "",
                body=bytes(body),
                headers={n.decode(): v.decode("latin-1") for n, v in head.headers},
            )
        else:
            return None
