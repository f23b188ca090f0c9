"""A few connections to the store for everything beside the commits: hellos, heartbeats, acts.

Each use borrows one connection; what fails in it is a Fault, and a connection that broke is
replaced by the next use. A use that takes too long (a frozen server answers nothing, and the kernel
keeps the socket alive) is ended and its connection thrown away.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from outrider.errors import Fault, Reason
from outrider_collector.store.connect import connect, driver_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

USE_S = 15.0
WAIT_S = 10.0


class Links:
    """At most ``size`` connections, opened when they are needed."""

    def __init__(self, url: str, application_name: str, size: int = 3) -> None:
        self._url = url
        self._application_name = application_name
        self._free = asyncio.Semaphore(size)
        self._idle: list[AsyncConnection] = []

    @asynccontextmanager
    async def use(self) -> AsyncIterator[AsyncConnection]:
        """Borrow a connection in autocommit mode. Raises Fault (STORE_DOWN and others)."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise Fault(Reason.STORE_DOWN, detail="the database is slow to answer") from None
        try:
            async with self._borrowed() as connection, self._limited():
                with driver_errors():
                    yield connection
        finally:
            self._free.release()

    async def close(self) -> None:
        """Close idle connections; nobody may be using one."""
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[AsyncConnection]:
        connection = await self._open()
        try:
            yield connection
        except BaseException:
            # A connection in which something failed may be anywhere in its protocol, and what ended
            # it may have ended the idle ones too.
            with suppress(Exception):
                await connection.close()
                await self.close()
            raise
        self._idle.append(connection)

    async def _open(self) -> AsyncConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return await connect(self._url, application_name=self._application_name)

    @staticmethod
    @asynccontextmanager
    async def _limited() -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(USE_S):
                yield
        except TimeoutError:
            raise Fault(
                Reason.STORE_DOWN, detail=f"the database did not answer within {USE_S:.0f} s"
            ) from None
