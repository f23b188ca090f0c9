"""IngestService.Push: one agent's stream of batches.

The conversation is in ``ingest.proto``. Here is the collector's end of it: a hello first, then
whatever comes, one message at a time and only while the agent holds credit. A batch is checked,
decoded and put into the queue; nothing else happens to it here. Acknowledgements come from the
committer, through the connection's outbox, after COMMIT.

A message that breaks the protocol ends the stream with its reason: Goodbye, and the same in the
status. The agent's data are on its disk, so ending a stream loses nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import outrider
from outrider.errors import Fault, Reason
from outrider_collector.ingest.decode import MAX_OFFSET, Origin, check_frame, decode_columns
from outrider_collector.ingest.gauges import clean
from outrider_collector.ingest.pending import pending_batch
from outrider_collector.ingest.rivals import LIFELESS_HEARTBEATS
from outrider_collector.ingest.roster import MAX_BATCHES_IN_MESSAGE
from outrider_collector.ingest.session import Held, Session
from outrider_collector.service.auth import AgentIdentity, caller
from outrider_collector.service.connection import Connection, next_message
from outrider_collector.service.errors import abort
from outrider_protos.limits import MAX_STREAMS_A_MESSAGE, WIRE_VERSION
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider_collector.ingest.committer import Committer
    from outrider_collector.ingest.roster import Roster
    from outrider_collector.service.backend import Greeting
    from outrider_collector.service.connection import Context
    from outrider_collector.store.agents import Holder
    from outrider_protos.v1 import log_pb2

MAX_HEAD_BYTES = 1 << 20

# A connection whose process was killed a moment ago is seen to end within this time ...
_ENDING_S = 1.0
# ... and so long a hello waits for a word of the other process; then it may ask again.
_CHALLENGE_S = 5.0
_ASK_AGAIN_S = 1.0

# What a batch takes beside its columns: on the wire, and in memory.
_FRAME_BYTES = 64
_BATCH_BYTES = 1_024

log = outrider.get_logger(__name__)


class Streams(Protocol):
    """What this service asks of the store."""

    async def instance(self, identity: AgentIdentity) -> bytes:
        """Return which process of the agent began the newest session, at any collector."""

    async def holder(self, identity: AgentIdentity) -> Holder:
        """Return which process holds the agent, at any collector, and whether it seems alive."""

    async def hello(self, identity: AgentIdentity, hello: ingest_pb2.Hello) -> Greeting:
        """Open a session, which fences older ones."""

    async def open(
        self, session: Session, streams: Sequence[ingest_pb2.Stream]
    ) -> ingest_pb2.StreamsOpened:
        """Store births; streams that are there already are returned as they are."""


class Pushes:
    """Serves Push for all agents."""

    def __init__(
        self,
        streams: Streams,
        roster: Roster,
        committer: Committer,
        clock: Callable[[], float],
        name: str = "",
    ) -> None:
        """``name`` is the collector's own."""
        self._name = name
        self._streams = streams
        self._roster = roster
        self._committer = committer
        self._clock = clock
        self.invalid = 0
        """Streams that were ended because a message broke the protocol."""
        self.stopping: Fault | None = None
        """Why no new stream is taken; None while the collector serves."""

    async def serve(self, context: Context) -> None:
        """Serve one stream until it ends."""
        identity = caller()
        connection = Connection(context)
        session: list[Session] = []

        async def read() -> None:
            session.append(await self._greet(identity, connection, context))
            await self._read(session[0], context)

        try:
            await connection.run(read)
        finally:
            for opened in session:
                opened.ended = opened.ended or Fault(Reason.COLLECTOR_STOPPING)
                self._roster.leave(opened)
                self._committer.wake(opened)
        if connection.fault is not None:
            self._count(connection.fault, identity)
            await abort(context, connection.fault)

    async def _greet(
        self, identity: AgentIdentity, connection: Connection, context: Context
    ) -> Session:
        """Answer the hello with a welcome."""
        refusal = self.stopping or self._committer.refused
        if refusal is not None:
            raise refusal
        message = await next_message(context)
        if message is None or message.WhichOneof("message") != "hello":
            raise Fault(Reason.BATCH_INVALID, detail="a stream begins with a hello")
        hello: ingest_pb2.Hello = message.hello
        if not hello.min_version <= WIRE_VERSION <= hello.max_version:
            raise Fault(
                Reason.VERSION_UNSUPPORTED,
                agent_from=hello.min_version,
                agent_to=hello.max_version,
                collector=WIRE_VERSION,
            )
        if len(hello.instance) != 16:
            raise Fault(Reason.BATCH_INVALID, detail="an instance has not 16 bytes")
        await self._keep_to_one(identity, hello)
        opened = await self._streams.hello(identity, hello)
        session = Session(opened.session, identity.agent, identity.team, connection, hello.instance)
        for state in opened.streams:
            session.open(state.stream.stream_id, _origin(state.stream))
        session.watermarks.update(opened.watermarks)
        credit_bytes = self._roster.join(session)
        connection.send(
            ingest_pb2.PushResponse(
                welcome=ingest_pb2.Welcome(
                    version=WIRE_VERSION,
                    clock_us=opened.clock_us,
                    streams=opened.streams,
                    settings=self._roster.wishes.settings(),
                    credit_bytes=credit_bytes,
                    store_regressed=opened.store_regressed,
                )
            )
        )
        return session

    async def _keep_to_one(self, identity: AgentIdentity, hello: ingest_pb2.Hello) -> None:
        """Let one process speak for an agent. Raises AGENT_CLONED, COLLECTOR_BUSY."""
        rivals = self._roster.rivals
        if rivals.was_fenced(identity.agent, hello.instance):
            newest = await self._streams.instance(identity)
            if newest != hello.instance:
                raise _cloned(identity, hello)
        living = self._roster.of_agent(identity.agent)
        if living is None:
            await self._keep_to_one_anywhere(identity, hello)
            return
        if living.instance == hello.instance:
            return
        challenge = rivals.challenge(living, self._clock())
        await _wait(challenge.answered, _ENDING_S)
        if living.ended is None:
            # What it said before it was killed may have been on its way until now.
            challenge.answered.clear()
            await _wait(challenge.answered, _CHALLENGE_S)
        lifeless_s = LIFELESS_HEARTBEATS * self._roster.wishes.heartbeat_interval_ms / 1_000
        if living.ended is None and challenge.answered.is_set():
            rivals.decided(identity.agent)
            raise _cloned(identity, hello)
        if living.ended is None and self._clock() - challenge.began_at < lifeless_s:
            raise Fault(
                Reason.COLLECTOR_BUSY,
                retry_after_s=_ASK_AGAIN_S,
                detail="another process speaks for this agent; whether it lives is being seen",
            )
        rivals.decided(identity.agent)

    async def _keep_to_one_anywhere(self, identity: AgentIdentity, hello: ingest_pb2.Hello) -> None:
        """As above, where the other may have its session at another collector."""
        rivals, holder = self._roster.rivals, await self._streams.holder(identity)
        mine = holder.instance in {b"", hello.instance} or holder.collector == self._name
        if mine or not holder.seems_alive:
            rivals.left(identity.agent)
            return
        if rivals.was_heard_since(identity.agent, holder):
            rivals.left(identity.agent)
            raise _cloned(identity, hello)
        raise Fault(
            Reason.COLLECTOR_BUSY,
            retry_after_s=_ASK_AGAIN_S,
            detail="another process speaks for this agent at another collector; whether it lives "
            "is being seen",
        )

    async def _read(self, session: Session, context: Context) -> None:
        while session.ended is None:
            await self._committer.readable(session)
            message = await next_message(context)
            if message is None:
                return
            self._roster.rivals.heard(session.agent)
            kind = message.WhichOneof("message")
            if kind == "batch":
                self._receive_all(session, message)
            elif kind == "open_streams":
                await self._open(session, message.open_streams)
            else:
                raise Fault(Reason.BATCH_INVALID, detail="a message that has no place here")

    def _receive_all(self, session: Session, message: ingest_pb2.PushRequest) -> None:
        if len(message.more_batches) >= MAX_BATCHES_IN_MESSAGE:
            raise Fault(
                Reason.BATCH_INVALID,
                detail=f"more than {MAX_BATCHES_IN_MESSAGE} batches in one message",
            )
        self.receive(session, message.batch)
        for batch in message.more_batches:
            self.receive(session, batch)

    def receive(self, session: Session, batch: log_pb2.Batch) -> None:
        """Check and decode a batch and put it into the queue. Raises Fault."""
        origin = session.origin(batch.stream_id)
        check_frame(batch)
        payload = batch.columns
        columns = decode_columns(batch, payload, origin)
        pending = pending_batch(session, origin, batch, columns)
        self._committer.put(
            Held(
                session=session,
                batch=pending,
                # Nearly: protobuf tells the size of a message by encoding it.
                wire_bytes=len(payload) + _FRAME_BYTES,
                memory_bytes=max(len(payload), batch.columns_bytes) + _BATCH_BYTES,
                believable_from_us=session.complete(batch.stream_id, batch.watermark_us),
            )
        )

    async def _open(self, session: Session, message: ingest_pb2.OpenStreams) -> None:
        if len(message.streams) > MAX_STREAMS_A_MESSAGE:
            raise Fault(Reason.BATCH_INVALID, detail="more than 1,000 streams in one message")
        wanted, refused = [], []
        room = session.room()
        for stream in message.streams:
            detail = _unacceptable(stream) or ("too many open streams" if room <= 0 else "")
            if detail:
                reason = str(Reason.STREAM_REFUSED)
                refused.append(
                    ingest_pb2.Refusal(stream_id=stream.stream_id, reason=reason, detail=detail)
                )
            else:
                room -= 1
                wanted.append(stream)
        opened = await self._streams.open(session, wanted)
        opened.refused.extend(refused)
        for state in opened.streams:
            session.open(state.stream.stream_id, _origin(state.stream))
        session.outbox.send(ingest_pb2.PushResponse(streams_opened=opened))

    def _count(self, fault: Fault, identity: AgentIdentity) -> None:
        if fault.reason == Reason.MESSAGE_INVALID:
            self.invalid += 1  # who decodes has told it
        if fault.reason in {Reason.BATCH_INVALID, Reason.BATCH_TOO_LARGE, Reason.INTERNAL_BUG}:
            self.invalid += 1
            log.error(
                "an agent's stream was ended",
                agent=identity.agent,
                reason=str(fault.reason),
                detail=fault.text,
            )


def _cloned(identity: AgentIdentity, hello: ingest_pb2.Hello) -> Fault:
    """Record that an agent's state directory runs twice; return what the newcomer is told."""
    log.event(
        "auth.denied",
        "two processes have the identity of one agent: the newcomer gets its own",
        agent=identity.agent,
        host=identity.host,
        newcomer_host=clean(hello.host, 255),
        reason=str(Reason.AGENT_CLONED),
    )
    return Fault(Reason.AGENT_CLONED, agent=identity.agent)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _origin(stream: ingest_pb2.Stream) -> Origin:
    return Origin(stream.service, stream.worker, stream.host, stream.source)


def _unacceptable(stream: ingest_pb2.Stream) -> str:
    """Say what is wrong with a stream's birth; empty when nothing is."""
    for name, limit in _TEXT_BYTES.items():
        text: str = getattr(stream, name)
        if len(text.encode()) > limit or not text.isprintable():
            return f"{name} is longer than {limit} bytes or not printable"
    if not stream.service:
        return "service is missing"
    if not 0 < stream.stream_id <= MAX_OFFSET or stream.start_offset > MAX_OFFSET:
        return "stream_id or start_offset is out of range"
    if len(stream.head_digest) not in {0, 16} or stream.head_bytes > MAX_HEAD_BYTES:
        return "head_digest has not 16 bytes, or head_bytes is out of range"
    return ""


_TEXT_BYTES = {"service": 128, "worker": 128, "source": 32, "path": 4_096, "host": 255}
