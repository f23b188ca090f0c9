"""Proxies that spoil a connection on purpose: they cut, delay, swallow, and lose answers.

One stands on a Unix socket between collectors and the server, one before each collector's port. As
a black hole a proxy passes nothing on, in either direction, and closes nothing. The one before the
server can also lose the answer to a COMMIT: armed, it lets the next COMMIT through to the server,
waits until the server has answered, and cuts the connection without passing the answer on: to the
collector that transaction is in doubt, though it is committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fleet import free_port

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

SOCKET = ".s.PGSQL.5432"
_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Passes bytes on while entered; what stands at either end is the subclass's business."""

    def __init__(self) -> None:
        self.passing = asyncio.Event()
        """Cleared, it is a black hole."""
        self.passing.set()
        self.delay_s = 0.0
        """What comes waits so long before it goes on."""
        self.answering_after_s = 0.0
        """An answer waits longer than that by so much."""
        self.answering = True
        """False: answers are thrown away. Then cut: what follows would be a torn stream."""
        self._server: asyncio.Server | None = None
        self._served: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._stranded: set[asyncio.StreamWriter] = set()

    async def _listen(self) -> asyncio.Server:
        raise NotImplementedError

    async def _dial(self) -> _Ends:
        raise NotImplementedError

    def cut(self) -> None:
        """Close every connection at once, whatever is under way."""
        for writer in self._open:
            writer.transport.abort()

    def strand(self) -> None:
        """Swallow whatever comes on the connections there are, for ever; close none of them."""
        self._stranded |= self._open

    async def __aenter__(self) -> Self:
        self._server = await self._listen()
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one that the streams module started would log its cancellation.
        served = asyncio.create_task(self._serve(reader, writer))
        self._served.add(served)
        served.add_done_callback(self._served.discard)

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for served in self._served:
            served.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await self._dial()
        except OSError:
            writer.close()
            return
        doubtful = asyncio.Event()
        streams = {writer, upstream_writer}
        self._open |= streams
        ends = [
            asyncio.create_task(self._forward(reader, upstream_writer, doubtful)),
            asyncio.create_task(self._answer(upstream_reader, writer, doubtful)),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= streams
            self._stranded -= streams
            for end in ends:
                end.cancel()
            for stream in streams:
                stream.close()
            await asyncio.gather(*ends, return_exceptions=True)

    def _asked(self, data: bytes, doubtful: asyncio.Event) -> None:
        """Look at what goes to the far end."""

    def _cuts(self, data: bytes, doubtful: asyncio.Event) -> bool:
        """Look at an answer; True: it is lost, and the connection with it."""
        del data, doubtful
        return False

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doubtful: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            self._asked(data, doubtful)
            await self._pass(data, writer)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doubtful: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            if self._cuts(data, doubtful):
                return
            if self.answering:
                await asyncio.sleep(self.answering_after_s)
                await self._pass(data, writer)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if writer in self._stranded:
            return
        await self.passing.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        writer.write(data)
        await writer.drain()


class CommitProxy(Proxy):
    """Before Postgres; ``lose_commits`` answers are lost from now on."""

    def __init__(self, directory: Path, server_directory: Path) -> None:
        super().__init__()
        self._socket = directory / SOCKET
        self._target = server_directory / SOCKET
        self.lose_commits = 0
        self.lost = 0

    async def _listen(self) -> asyncio.Server:
        self._socket.parent.mkdir(exist_ok=True)
        return await asyncio.start_unix_server(self._accept, str(self._socket))

    async def _dial(self) -> _Ends:
        return await asyncio.open_unix_connection(str(self._target))

    def _asked(self, data: bytes, doubtful: asyncio.Event) -> None:
        if self.lose_commits > 0 and b"commit" in data[-200:].lower():
            self.lose_commits -= 1
            doubtful.set()

    def _cuts(self, data: bytes, doubtful: asyncio.Event) -> bool:
        # The tag in the answer says that the server has committed.
        if doubtful.is_set() and b"COMMIT\0" in data:
            self.lost += 1
            return True
        return False


class PortProxy(Proxy):
    """Before a port of loopback; ``port`` is its own."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.port = free_port()
        self._target = target

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _dial(self) -> _Ends:
        return await asyncio.open_connection("127.0.0.1", self._target)
