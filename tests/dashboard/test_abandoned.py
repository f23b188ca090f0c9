"""Whoever has gone is not answered any longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from outrider_dashboard.abandoned import Abandoned

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


class Connection:
    """A browser that sends a request and, when told to, leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.sent: list[Message] = []
        self._requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def answered(connection: Connection, app: Any) -> None:
    """Have the request answered behind the middleware."""
    async with asyncio.timeout(20):
        await Abandoned(app)({"type": "http"}, connection.receive, connection.send)


async def test_an_answer_nobody_waits_for_is_cancelled() -> None:
    """When the connection is closed, the work for it ends at once, and quietly."""
    connection = Connection()
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        connection.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    await answered(connection, app)
    assert ended == ["cancelled"]
    assert connection.sent == []


async def test_what_follows_a_whole_answer_is_not_cancelled() -> None:
    """A connection that closes after the last byte interrupts nothing."""
    connection = Connection()
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        connection.left.set()
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await asyncio.sleep(0)
        ended.append("whole")

    await answered(connection, app)
    assert ended == ["whole"]
    assert len(connection.sent) == 2


async def test_a_server_that_stops_cancels_as_always() -> None:
    """A cancellation from outside reaches the application and comes back."""
    connection = Connection()
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(answered(connection, app))
    await began.wait()
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError)
