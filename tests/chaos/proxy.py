"""A Postgres proxy that can lose the answer to COMMIT, or swallow everything.

It stands on a Unix socket between collectors and the server and passes bytes on. Armed, it lets the
next COMMIT through to the server, waits until the server has answered, and cuts the connection
without passing the answer on: to the collector that transaction is in doubt, though it is
committed. As a black hole it passes nothing on, in either direction, and closes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

SOCKET = ".s.PGSQL.5432"


class CommitProxy:
    """Runs while entered; ``lose_commits`` answers are lost from then on."""

    def __init__(self, directory: Path, server_directory: Path) -> None:
        self._socket = directory / SOCKET
        self._target = server_directory / SOCKET
        self.lose_commits = 0
        self.lost = 0
        self.passing = asyncio.Event()
        """Cleared, it is a black hole."""
        self.passing.set()
        self._server: asyncio.Server | None = None
        self._served: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._socket.parent.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, str(self._socket))
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
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(str(self._target))
        except OSError:
            writer.close()
            return
        doubtful = asyncio.Event()
        ends = [
            asyncio.create_task(self._forward(reader, upstream_writer, doubtful)),
            asyncio.create_task(self._answer(upstream_reader, writer, doubtful)),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            for stream in (writer, upstream_writer):
                stream.close()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doubtful: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            if self.lose_commits > 0 and b"commit" in data[-200:].lower():
                self.lose_commits -= 1
                doubtful.set()
            await self.passing.wait()
            writer.write(data)
            await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doubtful: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            # The tag in the answer says that the server has committed.
            if doubtful.is_set() and b"COMMIT\0" in data:
                self.lost += 1
                return
            await self.passing.wait()
            writer.write(data)
            await writer.drain()
