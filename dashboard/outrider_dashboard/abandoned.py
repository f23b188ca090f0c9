"""A page whose reader has gone is not read for any longer, nor is the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Abandoned:
    """Middleware: cancels the answer when the connection is closed before it is whole.

    Cancelling ends the statement at the server too: the driver sees to that. Without it, whoever
    types on in a filter leaves a search running for every letter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as long as somebody waits for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(receive, send)
        answer = asyncio.ensure_future(self._app(scope, request.messages.get, request.send))
        listening = asyncio.create_task(request.listen(answer))
        try:
            await answer
        except asyncio.CancelledError:
            if not request.gone:
                raise
        finally:
            listening.cancel()


class _Request:
    """Hands on what is received and sent, and watches both."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._whole = False
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.gone = False

    async def listen(self, answer: asyncio.Future[None]) -> None:
        """Receive until the connection is closed; cancel the answer if it is not whole then."""
        while not self.gone:
            message = await self._receive()
            self.messages.put_nowait(message)
            self.gone = message["type"] == "http.disconnect"
        if not self._whole:
            answer.cancel()

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._whole = True
        await self._send(message)
