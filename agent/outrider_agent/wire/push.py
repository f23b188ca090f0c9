"""One session of Push: hello, welcome, and then batches one way and acknowledgements the other.

The protocol itself is :mod:`outrider_agent.delivery`; this carries it. One task reads what the
collector says, one writes. Reads are never cancelled (grpc.aio leaks then): when the session ends
the call is, and the pending read ends with it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from outrider.errors import Fault, Reason
from outrider_agent.orders import Committed, Opened, SettingsChanged, Welcomed
from outrider_agent.wire.channel import bearer, fault_of, push_call
from outrider_agent.wire.messages import joined, place_of, stream_message, stream_of
from outrider_protos.limits import WIRE_VERSION
from outrider_protos.v1 import ingest_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.delivery import Batch, Delivery
    from outrider_agent.handover import Handover

WELCOME_S = 15.0
GATHER_S = 0.03
"""So long a batch waits for others to share its message, where batches wait for much longer."""
GATHER_FROM_MS = 300
"""Flush interval from which on they do: few streams are not slowed, nor is a full window."""
ENOUGH_BYTES = 128 * 1024
"""A message of so many bytes takes no further batch."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an agent says of itself in its hello."""

    software_version: str
    instance: bytes
    host: str
    feed_number: int
    feed_nonce: bytes


@dataclass(slots=True)
class Settings:
    """What the collector wants that is not for the disk thread."""

    heartbeat_interval_s: float = 10.0


class PushSession:
    """A session; :meth:`run` returns or raises when it is over."""

    def __init__(
        self,
        delivery: Delivery,
        handover: Handover,
        *,
        clock_us: Callable[[], int],
        sample_clock: Callable[[int, int, int], None],
        settings: Settings,
    ) -> None:
        self._delivery = delivery
        self._handover = handover
        self._clock_us = clock_us
        self._sample_clock = sample_clock
        self._settings = settings
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._joins = 1
        self._gathers = False
        self._goodbye: Fault | None = None
        self._left = asyncio.Event()
        self.welcomed = asyncio.Event()
        self.welcomed_s = 0.0
        """When the collector said welcome, before the disk thread was told (monotonic)."""
        self.last_feed: tuple[int, bytes] | None = None

    def wake(self) -> None:
        """Let the writer look for something to send."""
        self._wake.set()
        if self._delivery.hurries():
            self._hurry.set()

    def leave(self) -> None:
        """End the session: another collector is wanted."""
        self._left.set()

    async def run(
        self, channel: grpc.aio.Channel, token: str, greeting: Greeting, stop: asyncio.Event
    ) -> None:
        """Hold one session until it ends: by the collector (Fault), or by ``stop``."""
        call = push_call(channel)(metadata=bearer(token))
        try:
            await self._greet(call, greeting)
            await self._converse(call, stop)
        except grpc.aio.AioRpcError as error:
            raise self._goodbye or fault_of(error) from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            # Something was written to a call that had just ended.
            raise self._goodbye or await _ending(call) from error
        finally:
            self._delivery.disconnected()
            call.cancel()

    async def _greet(self, call: Any, greeting: Greeting) -> None:
        sent_us = self._clock_us()
        hello = ingest_pb2.Hello(
            min_version=WIRE_VERSION,
            max_version=WIRE_VERSION,
            software_version=greeting.software_version[:64],
            instance=greeting.instance,
            host=greeting.host,
            last_acknowledged=ingest_pb2.FeedPosition(
                number=greeting.feed_number, nonce=greeting.feed_nonce
            ),
        )
        await call.write(ingest_pb2.PushRequest(hello=hello))
        read = asyncio.ensure_future(call.read())
        done, _ = await asyncio.wait({read}, timeout=WELCOME_S)
        if not done:
            call.cancel()
            with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await read
            raise Fault(Reason.COLLECTOR_BUSY, detail="no welcome within 15 s")
        response = read.result()
        if response is grpc.aio.EOF:
            raise await _ending(call)
        if response.WhichOneof("message") == "goodbye":
            raise _goodbye(response.goodbye)
        if response.WhichOneof("message") != "welcome":
            raise Fault(Reason.VERSION_UNSUPPORTED, detail="the collector did not say welcome")
        if response.welcome.version != WIRE_VERSION:
            raise Fault(
                Reason.VERSION_UNSUPPORTED,
                agent_from=WIRE_VERSION,
                agent_to=WIRE_VERSION,
                collector=response.welcome.version,
            )
        self._sample_clock(sent_us, response.welcome.clock_us, self._clock_us())
        self._welcome(response.welcome)

    def _welcome(self, welcome: ingest_pb2.Welcome) -> None:
        self._take_settings(welcome.settings)
        states = {state.stream.stream_id: state for state in welcome.streams}
        places = {stream_id: place_of(state) for stream_id, state in states.items()}
        orphans = tuple(
            (stream_of(states[stream_id].stream), places[stream_id])
            for stream_id in self._delivery.unwelcomed(places)
        )
        self._delivery.welcome(places, welcome.credit_bytes)
        self._settle()
        self.welcomed_s = time.monotonic()
        self._handover.tell(Welcomed(orphans, welcome.store_regressed))
        self.welcomed.set()

    async def _converse(self, call: Any, stop: asyncio.Event) -> None:
        reader = asyncio.ensure_future(self._read(call))
        writer = asyncio.ensure_future(self._write(call))
        stopped = asyncio.ensure_future(stop.wait())
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({reader, writer, stopped, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            left.cancel()
            writer.cancel()
            call.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
        if self._goodbye is not None:
            raise self._goodbye
        if stop.is_set():
            return
        if self._left.is_set():
            raise Fault(Reason.COLLECTOR_STOPPING, detail="the configuration names it no more")
        for result in results:
            if isinstance(result, Exception):
                raise result
        raise await _ending(call)

    async def _read(self, call: Any) -> None:
        while True:
            response = await call.read()
            if response is grpc.aio.EOF:
                return
            self._hear(response)
            self._settle()
            self._wake.set()
            if self._goodbye is not None:
                return

    def _hear(self, response: ingest_pb2.PushResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "ack":
            ack = response.ack
            held = self._delivery.in_flight_bytes
            self._delivery.acknowledged(
                {one.stream_id: one.committed for one in ack.streams}, ack.credit_bytes
            )
            if ack.feed.number:
                self.last_feed = (ack.feed.number, ack.feed.nonce)
                if self._delivery.in_flight_bytes != held:
                    self._handover.tell(Committed(ack.feed.number, ack.feed.nonce))
        elif kind == "streams_opened":
            opened = response.streams_opened
            for state in opened.streams:
                self._delivery.opened(state.stream.stream_id, place_of(state))
            self._handover.tell(Opened(tuple(s.stream.stream_id for s in opened.streams)))
            for refusal in opened.refused:
                self._delivery.refused(refusal.stream_id, refusal.reason, refusal.detail)
        elif kind == "rewind":
            self._delivery.rewind(response.rewind.stream_id, place_of(response.rewind))
        elif kind == "credit":
            self._delivery.credit(response.credit.credit_bytes)
        elif kind == "settings":
            self._take_settings(response.settings)
        elif kind == "goodbye":
            self._goodbye = _goodbye(response.goodbye)

    def _settle(self) -> None:
        """Pass on what the delivery has decided."""
        released = self._delivery.take_released()
        if released:
            self._handover.release(released)
        self._handover.tell(*self._delivery.take_notices())

    def _take_settings(self, settings: ingest_pb2.Settings) -> None:
        defaults = SettingsChanged()
        if settings.heartbeat_interval_ms:
            self._settings.heartbeat_interval_s = settings.heartbeat_interval_ms / 1000
        flush_ms = settings.flush_interval_ms
        urgent_ms = settings.urgent_flush_interval_ms
        self._joins = max(1, settings.batches_in_message)
        self._delivery.keep_all_but_vital(settings.vital_credit_bytes)
        self._gathers = self._joins > 1 and flush_ms >= GATHER_FROM_MS
        self._handover.tell(
            SettingsChanged(
                flush_interval_s=flush_ms / 1000 if flush_ms else defaults.flush_interval_s,
                urgent_flush_interval_s=(
                    urgent_ms / 1000 if urgent_ms else defaults.urgent_flush_interval_s
                ),
                urgent_severity=settings.urgent_severity or defaults.urgent_severity,
                urgent_filters=tuple(settings.urgent_filters[:100]),
                compress=settings.compression == log_pb2.COMPRESSION_ZSTD,
            )
        )

    async def _write(self, call: Any) -> None:
        while True:
            self._wake.clear()
            await self._write_all(call)
            await self._wake.wait()
            if self._gathers:
                await self._gather()

    async def _gather(self) -> None:
        """Wait a moment for more batches to share a message, unless one is urgent."""
        self._hurry.clear()
        if not self._delivery.hurries():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), GATHER_S)

    async def _write_all(self, call: Any) -> None:
        """Send what there is to be sent and credit for."""
        while True:
            streams = self._delivery.next_open()
            if streams:
                message = ingest_pb2.OpenStreams(streams=map(stream_message, streams))
                await call.write(ingest_pb2.PushRequest(open_streams=message))
                continue
            batch = self._delivery.next_batch()
            if batch is None:
                return
            await call.write(joined(self._with_more(batch)))

    def _with_more(self, batch: Batch) -> list[bytes]:
        """Return the batch's message and what may go with it."""
        messages, size = [batch.message], len(batch.message)
        while len(messages) < self._joins and size < ENOUGH_BYTES:
            further = self._delivery.next_batch()
            if further is None:
                break
            messages.append(further.message)
            size += len(further.message)
        return messages


def _goodbye(message: ingest_pb2.Goodbye) -> Fault:
    delay_s = message.retry_after_ms / 1000 if message.retry_after_ms else None
    return Fault(
        message.reason or Reason.COLLECTOR_STOPPING,
        retry_after_s=delay_s,
        detail=message.detail or "the collector said goodbye",
    )


async def _ending(call: Any) -> Fault:
    """Return why a call ended without a goodbye."""
    call.cancel()  # without effect where it has ended, and else it would be waited for in vain
    try:
        code, detail = await call.code(), await call.details()
    except asyncio.CancelledError:
        return Fault(Reason.COLLECTOR_STOPPING, detail="the call was cancelled")
    if code in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}:
        return Fault(Reason.COLLECTOR_STOPPING, detail="the collector ended the stream")
    trailers = await call.trailing_metadata()
    return fault_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=detail))
