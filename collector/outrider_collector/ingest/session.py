"""One agent's session: which streams it may send, which of them are rewinding, what it waits for.

A session begins with the agent's hello and ends with its stream of messages; a newer session of the
same process fences it. Whether a batch is accepted is decided by Postgres alone, from (begin,
previous digest, session) in one statement: nothing here can make a record appear twice. What is
kept here only spares work: after a rewind the batches of that stream that are still on their way
are known to fail, so they are dropped until one begins where the agent was told to continue.

Pure: no clock, no I/O. What an agent is to be told goes through ``outbox``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from outrider.errors import Fault, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_alerting.hits import Hit
    from outrider_collector.ingest.decode import Origin
    from outrider_collector.store.claim import PendingBatch
    from outrider_protos.v1 import ingest_pb2

MAX_STREAMS = 20_000
"""Open streams of one agent; more are refused until some are closed."""


class Outbox(Protocol):
    """Where messages for the agent go; never blocks."""

    def send(self, message: ingest_pb2.PushResponse) -> None:
        """Queue a message for the agent."""

    def end(self, fault: Fault) -> None:
        """Send what is queued, say goodbye with the reason, and end the stream."""


@dataclass(slots=True, eq=False)
class Held:
    """A batch that was received and is neither committed nor dropped."""

    session: Session
    batch: PendingBatch
    wire_bytes: int
    """What the agent's window counts."""
    memory_bytes: int
    believable_from_us: int | None = None
    """Up to when the stream was complete before this batch; None: not known."""
    hits: Sequence[Hit] = ()
    """What its records match, by the rules of ``hits_version``."""
    hits_version: int | None = None
    urgent: bool = False
    """Somebody waits for it: it is committed at once, with whatever waits."""


@dataclass(slots=True, eq=False)
class Session:
    """State of one agent's session on this collector."""

    number: int
    agent: int
    team: int
    outbox: Outbox
    instance: bytes = b""
    """Which process of the agent it is."""
    streams: dict[int, Origin] = field(default_factory=dict)
    rewinding: dict[int, int] = field(default_factory=dict)
    """Stream -> where its next acceptable batch begins."""
    watermarks: dict[int, int] = field(default_factory=dict)
    """Stream -> up to when it was complete, as its last batch said."""
    ended: Fault | None = None
    """Why no more batches of it are committed; None while it lives."""

    def open(self, stream: int, origin: Origin) -> None:
        """Let the agent send batches of a stream that Postgres knows."""
        self.streams[stream] = origin

    def room(self) -> int:
        """How many more streams may be opened."""
        return MAX_STREAMS - len(self.streams)

    def close(self, stream: int) -> None:
        """Forget a stream; later batches of it are refused."""
        self.streams.pop(stream, None)
        self.rewinding.pop(stream, None)
        self.watermarks.pop(stream, None)

    def complete(self, stream: int, watermark_us: int) -> int | None:
        """Note a batch's watermark (0: none); return the one before it."""
        before = self.watermarks.get(stream)
        if watermark_us:
            self.watermarks[stream] = watermark_us
        return before

    def origin(self, stream: int) -> Origin:
        """Return who writes the stream. Raises Fault when it was never opened."""
        origin = self.streams.get(stream)
        if origin is None:
            raise Fault(
                Reason.BATCH_INVALID, detail="a batch of a stream that is not open", stream=stream
            )
        return origin

    def admit(self, stream: int, begin: int) -> bool:
        """Whether a batch is worth a claim: its session lives and its stream is not rewinding.

        A batch that begins where the stream was rewound to ends the rewinding.
        """
        if self.ended is not None:
            return False
        wanted = self.rewinding.get(stream)
        if wanted is None:
            return True
        if begin != wanted:
            return False
        del self.rewinding[stream]
        return True

    def rewind(self, stream: int, committed: int) -> None:
        """From now on drop batches of the stream until one begins at ``committed``."""
        self.rewinding[stream] = committed

    def end(self, fault: Fault) -> bool:
        """End the session; False when it had ended before (the first reason stays)."""
        if self.ended is not None:
            return False
        self.ended = fault
        self.outbox.end(fault)
        return True
