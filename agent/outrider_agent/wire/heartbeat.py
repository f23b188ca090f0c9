"""The stream of heartbeats: one each interval, the answers give the clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from outrider.errors import Fault, Reason
from outrider_agent.wire.channel import bearer, fault_of, ingest_stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_protos.v1 import ingest_pb2

UNANSWERED = 3
"""After so many heartbeats without an answer the connection is given up."""


async def run_heartbeats(
    channel: grpc.aio.Channel,
    token: str,
    *,
    make: Callable[[int, bool], ingest_pb2.HeartbeatRequest],
    interval_s: Callable[[], float],
    sample_clock: Callable[[int, int, int], None],
    clock_us: Callable[[], int],
    keep_head: Callable[[int, bytes], bool],
    hurry: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Send heartbeats until ``stop``; ``make(number, stopping)`` gives one. Raises Fault.

    ``keep_head`` is called in a thread with each head of the audit log that is new to this stream,
    until it returns that the head is kept.
    ``hurry`` is set when something must be told at once. The last one says that the agent stops.
    """
    call = ingest_stub(channel).Heartbeat(metadata=bearer(token))
    sent: dict[int, int] = {}
    reader = asyncio.ensure_future(_read(call, sent, sample_clock, clock_us, keep_head))
    number = 0
    try:
        while True:
            number += 1
            stopping = stop.is_set()
            request = make(number, stopping)
            sent[number] = request.clock_us
            await call.write(request)
            if stopping:
                await call.done_writing()
                await asyncio.wait({reader}, timeout=1.0)
                return
            if len(sent) > UNANSWERED:
                raise Fault(Reason.COLLECTOR_BUSY, detail="heartbeats are not answered")
            await _wait(interval_s(), hurry, stop, reader)
            if reader.done():
                reader.result()
                raise Fault(Reason.COLLECTOR_STOPPING, detail="the stream of heartbeats ended")
    except grpc.aio.AioRpcError as error:
        raise fault_of(error) from error
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        raise Fault(
            Reason.COLLECTOR_STOPPING, detail="the stream of heartbeats had ended"
        ) from error
    finally:
        call.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _read(
    call: Any,
    sent: dict[int, int],
    sample_clock: Callable[[int, int, int], None],
    clock_us: Callable[[], int],
    keep_head: Callable[[int, bytes], bool],
) -> None:
    shown = b""
    while True:
        response = await call.read()
        if response is grpc.aio.EOF:
            return
        sent_us = sent.get(response.number)
        for number in [n for n in sent if n <= response.number]:
            del sent[number]
        if sent_us is not None and response.clock_us:
            sample_clock(sent_us, response.clock_us, clock_us())
        head = response.audit_root
        if head not in {b"", shown} and await asyncio.to_thread(
            keep_head, response.audit_seal, head
        ):
            shown = head


async def _wait(
    seconds: float, hurry: asyncio.Event, stop: asyncio.Event, reader: asyncio.Future[None]
) -> None:
    """Wait for the interval, or for a reason to be quicker."""
    waits: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(hurry.wait()),
        asyncio.ensure_future(stop.wait()),
    ]
    try:
        await asyncio.wait([*waits, reader], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        hurry.clear()
