"""One agent's Push stream as a connection: what is sent, and how it ends without cancelling a read.

Defects of grpc.aio shape this. Cancelling a pending read leaks and can hang the server's stop, so a
read is never cancelled: the stream is read by a task of its own, and when the collector ends a
stream it lets the RPC finish, upon which the pending read ends by itself. Writes are made by one
task from a bounded outbox, so nobody who has something to say waits for a slow agent; an agent that
does not read its answers fills its outbox and is sent away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc

import outrider
from outrider.errors import Fault, Reason
from outrider_collector.ingest.committer import MISTAKE_WAIT_S
from outrider_collector.service.unreadable import require
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

OUTBOX_MESSAGES = 2_000
FLUSH_S = 2.0
"""An ending stream's last messages have so long to leave."""
_END_READ_S = 5.0

Context = grpc.aio.ServicerContext[ingest_pb2.PushRequest, ingest_pb2.PushResponse]

log = outrider.get_logger(__name__)


class Connection:
    """The outbox of one stream, and its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outbox: deque[ingest_pb2.PushResponse] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self.ended = asyncio.Event()
        """Set when the stream is to end, by either side."""
        self.fault: Fault | None = None
        """Why the collector ended it; None when the agent did."""

    def send(self, message: ingest_pb2.PushResponse) -> None:
        """Queue a message; ends the stream when the agent does not read."""
        if self._closing:
            return
        if len(self._outbox) >= OUTBOX_MESSAGES:
            self._outbox.clear()
            self.end(Fault(Reason.AGENT_SLOW))
            return
        self._outbox.append(message)
        self._wake.set()

    def end(self, fault: Fault) -> None:
        """Say goodbye with the reason, and end the stream once that is sent."""
        if self._closing:
            return
        self.fault = fault
        goodbye = ingest_pb2.Goodbye(
            reason=str(fault.reason),
            detail=fault.text[:500],
            retry_after_ms=int((fault.retry_after_s or 0) * 1_000),
        )
        self._outbox.append(ingest_pb2.PushResponse(goodbye=goodbye))
        self._close()

    def lost(self) -> None:
        """The agent has ended the stream, or it broke."""
        self._close()

    async def run(self, read: Callable[[], Awaitable[None]]) -> None:
        """Run ``read`` beside the writer until either side ends the stream.

        Returns when the stream may be closed: the last messages have left or had their time.
        """
        writer = asyncio.create_task(self._write())
        try:
            await apart(self._reading(read), self.ended)
            await asyncio.wait({writer}, timeout=FLUSH_S)
        finally:
            self._close()
            if not writer.done():
                writer.cancel()

    async def _reading(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
            self.lost()
        except Fault as fault:
            self.end(fault)
        except (grpc.aio.AbortError, grpc.aio.UsageError, grpc.aio.InternalError):
            self.lost()  # the RPC is over: nothing more can be read of it
        except Exception as error:
            log.exception("a stream ended by a mistake of ours", error=type(error).__name__)
            self.end(Fault(Reason.INTERNAL_BUG, retry_after_s=MISTAKE_WAIT_S))

    async def _write(self) -> None:
        try:
            while True:
                while self._outbox:
                    await self._context.write(self._outbox.popleft())
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.UsageError, grpc.aio.InternalError, grpc.RpcError):
            self.lost()

    def _close(self) -> None:
        self._closing = True
        self.ended.set()
        self._wake.set()


async def apart(work: Coroutine[Any, Any, None], ended: asyncio.Event) -> None:
    """Run what reads a stream in a task of its own, until it is done or ``ended`` is set.

    A call that is cancelled does not cancel ``work``: it ends by itself when its read does.
    """
    reader = asyncio.create_task(work)
    _orphans.add(reader)
    reader.add_done_callback(_forget)
    end = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({reader, end}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
    if reader.done():
        reader.result()


_orphans: set[asyncio.Task[None]] = set()


def _forget(reader: asyncio.Task[None]) -> None:
    _orphans.discard(reader)
    if not reader.cancelled():
        reader.exception()  # the RPC it read is over: nobody else will ask


async def orphans_ended() -> None:
    """Wait for readers whose RPC is over; the last step of a server's stop."""
    if _orphans:
        await asyncio.wait(set(_orphans), timeout=_END_READ_S)


async def next_message(context: Context) -> ingest_pb2.PushRequest | None:
    """Read the next request; None at the end of the stream. Raises MESSAGE_INVALID."""
    message = await context.read()
    require(message)
    return message if isinstance(message, ingest_pb2.PushRequest) else None
