"""The agent's side of the wire protocol, without the wire: what may be sent, what is acknowledged.

Batches of a stream form a chain: each begins where the one before it ended. They are held here,
unacknowledged, until an acknowledgement says that Postgres has them. A session that ends loses
nothing: the next welcome says how far each stream is committed, batches before that are released
and the others are sent again as they are (go-back-N, for each stream by itself). Where the
collector stands at an offset that no held batch begins at, the stream's batches are dropped and
the disk thread is told to read again from there; a generation number tells the batches it made
before it heard so from the ones after.

Every batch that is held moves its stream by at least one position: a final batch counts the end of
the file as one. So an acknowledgement is never ambiguous. Watermarks alone are not held: the next
one replaces them.

What goes over the wire is bounded by the collector's credit (bytes of batches sent and not
acknowledged). A batch larger than all credit is sent when nothing else is unacknowledged.

While the collector's store is nearly full there is no credit but for what is *vital*: batches with
an audit record or an error, and what lies before them in their streams, for a stream has one order.
Everything else is passed over: dropped here, its place kept, so that the disk thread reads on and
finds what is vital; then, and when the store has room again, the stream is read again from there.

Pure: no clock, no I/O, one thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from outrider_protos.limits import MAX_STREAMS_A_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_agent.streams import Place, Stream


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is ready to go; ``message`` is what goes over the wire."""

    stream_id: int
    generation: int
    begin: int
    end: int
    message: Any
    wire_bytes: int
    urgent: bool = False
    final: bool = False
    vital: bool = False
    """It has an audit record or an error: it is sent also while the store is nearly full."""
    place: Place | None = None
    """Its begin, to read it again from there; None: it cannot be, and is always sent."""

    @property
    def held(self) -> bool:
        """Whether it is kept until acknowledged; a watermark alone is not."""
        return self.end > self.begin


@dataclass(frozen=True, slots=True)
class GoBack:
    """To the disk thread: read the stream again from ``place``, as ``generation``."""

    stream_id: int
    generation: int
    place: Place


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """To the disk thread: a stream is committed up to ``committed``; ``final``: it is closed."""

    stream_id: int
    committed: int
    final: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """To the disk thread: the collector will not have this stream."""

    stream_id: int
    reason: str
    detail: str


Notice = GoBack | Acknowledged | Refused


@dataclass(slots=True, eq=False)
class _Chain:
    stream: Stream
    end: int | None
    """Where the next batch must begin; None while only the disk thread knows."""
    batches: deque[Batch] = field(default_factory=deque)
    sent: int = 0
    generation: int = 0
    open: bool = False
    queued: bool = False
    passed: Place | None = None
    """Where the first of what was passed over begins."""
    vital_to: int = 0
    """The end of the last vital batch that was seen."""


class Delivery:
    """All streams of this agent and what of them is on its way."""

    def __init__(self) -> None:
        self._chains: dict[int, _Chain] = {}
        self._ready: deque[_Chain] = deque()
        self._to_open: deque[Stream] = deque()
        self._watermarks: deque[Batch] = deque()
        self._credit = 0
        self._vital_credit = 0
        self._in_flight = 0
        self._connected = False
        self._released = 0
        self._notices: list[Notice] = []

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of batches sent and not acknowledged in this session."""
        return self._in_flight

    @property
    def unacknowledged(self) -> int:
        """Batches held, sent or not."""
        return sum(len(chain.batches) for chain in self._chains.values())

    def take_released(self) -> int:
        """Bytes of batches that left the window since the last call."""
        released, self._released = self._released, 0
        return released

    def take_notices(self) -> list[Notice]:
        """What the disk thread must hear, in order, since the last call."""
        notices, self._notices = self._notices, []
        return notices

    # ---------------------------------------------------------------- from the disk thread

    def born(self, stream: Stream) -> None:
        """Take up a stream that the collector may not know yet."""
        if stream.stream_id not in self._chains:
            self._chains[stream.stream_id] = _Chain(stream, stream.start_offset)
            if self._connected:
                self._to_open.append(stream)

    def adopt(self, stream: Stream) -> None:
        """Take up a stream that the collector named in its welcome."""
        self._chains[stream.stream_id] = _Chain(stream, None, open=True)

    def offer(self, batch: Batch) -> None:
        """Take a batch to be delivered."""
        chain = self._chains.get(batch.stream_id)
        if chain is None or batch.generation != chain.generation:
            self._released += batch.wire_bytes
            return
        if not batch.held:
            self._offer_watermark(batch, chain)
            return
        if batch.vital:
            chain.vital_to = max(chain.vital_to, batch.end)
        if self._vital_credit and self._pass_over(chain, batch):
            return
        chain.batches.append(batch)
        chain.end = batch.end
        self._queue(chain, urgent=batch.urgent)

    def _offer_watermark(self, batch: Batch, chain: _Chain) -> None:
        # It speaks of everything before it, so it may not overtake batches that wait.
        self._released += batch.wire_bytes
        if chain.passed is not None:
            return
        if self._connected and chain.open and chain.sent == len(chain.batches):
            self._watermarks.append(batch)

    # ---------------------------------------------------------------- from the collector

    def welcome(self, places: dict[int, Place], credit_bytes: int) -> None:
        """Begin a session: the collector told where each open stream stands."""
        self._ready.clear()
        self._to_open.clear()
        self._watermarks.clear()
        self._credit, self._in_flight, self._connected = credit_bytes, 0, True
        for chain in list(self._chains.values()):
            chain.sent, chain.queued = 0, False
            place = places.get(chain.stream.stream_id)
            if place is not None:
                chain.open = True
                self._stand(chain, place)
            else:
                # Never stored, or closed since: opening it again tells which, and where it stands.
                chain.open = False
                self._to_open.append(chain.stream)

    def unwelcomed(self, places: Iterable[int]) -> list[int]:
        """Return those of the stream ids in a welcome that nobody here knows."""
        return [stream_id for stream_id in places if stream_id not in self._chains]

    def opened(self, stream_id: int, place: Place) -> None:
        """Let a stream's batches go: the collector has stored it."""
        chain = self._chains.get(stream_id)
        if chain is not None:
            chain.open = True
            self._stand(chain, place)

    def refused(self, stream_id: int, reason: str, detail: str) -> None:
        """Give a stream up: the collector will not have it."""
        chain = self._chains.pop(stream_id, None)
        if chain is not None:
            self._drop(chain)
            chain.generation += 1
            self._notices.append(Refused(stream_id, reason, detail))

    def acknowledged(self, committed: dict[int, int], credit_bytes: int) -> None:
        """Release what Postgres has."""
        self._credit = credit_bytes
        for stream_id, offset in committed.items():
            chain = self._chains.get(stream_id)
            if chain is not None:
                self._release(chain, offset)

    def rewind(self, stream_id: int, place: Place) -> None:
        """Go back in one stream."""
        chain = self._chains.get(stream_id)
        if chain is None:
            return
        for batch in list(chain.batches)[: chain.sent]:
            self._in_flight -= batch.wire_bytes
        chain.sent = 0
        self._stand(chain, place)

    def credit(self, credit_bytes: int) -> None:
        """Take note of a changed credit."""
        self._credit = credit_bytes

    def keep_all_but_vital(self, credit_bytes: int) -> None:
        """Send only what is vital from now on, with so much credit; 0: send everything again."""
        was_on, self._vital_credit = bool(self._vital_credit), credit_bytes
        if was_on == bool(credit_bytes):
            return
        for chain in self._chains.values():
            if not credit_bytes:
                if chain.passed is not None:
                    self._read_again(chain, chain.passed)
                continue
            while len(chain.batches) > chain.sent and self._is_idle(chain, chain.batches[-1]):
                last = chain.batches.pop()
                self._released += last.wire_bytes
                chain.passed, chain.end = last.place, last.end

    def disconnected(self) -> None:
        """End the session; everything not acknowledged stays held."""
        self._connected = False
        self._in_flight = 0

    # ---------------------------------------------------------------- to the collector

    def hurries(self) -> bool:
        """Whether an urgent batch can be sent now; it is the next then."""
        if not self._connected or not self._ready:
            return False
        chain = self._ready[0]
        return chain.open and any(one.urgent for one in islice(chain.batches, chain.sent, None))

    def next_open(self) -> list[Stream]:
        """Take the streams to be opened next, at most a message full of them."""
        streams: list[Stream] = []
        while self._to_open and len(streams) < MAX_STREAMS_A_MESSAGE:
            streams.append(self._to_open.popleft())
        return streams

    def next_batch(self) -> Batch | None:
        """Take the batch to be sent next, or None while there is none or no credit for it."""
        if not self._connected:
            return None
        if self._watermarks:
            return self._watermarks.popleft()
        while self._ready:
            chain = self._ready[0]
            if chain.sent >= len(chain.batches) or not chain.open:
                self._ready.popleft()
                chain.queued = False
                continue
            batch = chain.batches[chain.sent]
            credit = self._vital_credit or self._credit
            fits = self._in_flight + batch.wire_bytes <= credit
            if not fits and not (credit and self._in_flight == 0):
                break
            self._ready.popleft()
            chain.sent += 1
            chain.queued = chain.sent < len(chain.batches)
            if chain.queued:
                # In turns, so that one stream's backlog does not hold up the others.
                self._ready.append(chain)
            self._in_flight += batch.wire_bytes
            return batch
        return None

    # ---------------------------------------------------------------- within

    @staticmethod
    def _is_idle(chain: _Chain, batch: Batch) -> bool:
        """Whether nothing vital is in a batch or, as far as was seen, after it."""
        return batch.place is not None and batch.begin >= chain.vital_to

    def _pass_over(self, chain: _Chain, batch: Batch) -> bool:
        """Drop a batch that is to be kept on disk; False where it is to be sent."""
        if chain.passed is None:
            # The end of a stream of which all else was sent takes no room.
            if batch.final or not self._is_idle(chain, batch):
                return False
            chain.passed = batch.place
        elif batch.begin < chain.vital_to:
            # Something vital, and something before it that was passed over.
            self._released += batch.wire_bytes
            self._read_again(chain, chain.passed)
            return True
        self._released += batch.wire_bytes
        chain.end = batch.end
        return True

    def _read_again(self, chain: _Chain, place: Place) -> None:
        """Have the disk thread read from where something was passed over."""
        stream_id = chain.stream.stream_id
        chain.passed = None
        chain.generation += 1
        chain.end = place.committed
        self._notices.append(GoBack(stream_id, chain.generation, place))
        if chain.batches:
            # The collector does not stand there yet.
            self._notices.append(Acknowledged(stream_id, chain.batches[0].begin, final=False))

    def _queue(self, chain: _Chain, *, urgent: bool) -> None:
        if not chain.open or chain.sent >= len(chain.batches) or (chain.queued and not urgent):
            return
        if chain.queued:
            self._ready.remove(chain)
        chain.queued = True
        if urgent:
            self._ready.appendleft(chain)
        else:
            self._ready.append(chain)

    def _stand(self, chain: _Chain, place: Place) -> None:
        """Bring a chain, none of which is sent, to where the collector stands."""
        self._release(chain, place.committed)
        if chain.stream.stream_id not in self._chains:
            return
        if chain.stream.is_over_at(place):
            # It ended in an earlier life: the collector rewinds whatever is sent behind an end.
            self._close(chain, place.committed)
            return
        if chain.batches and chain.batches[0].begin == place.committed:
            self._queue(chain, urgent=False)
            return
        if not chain.batches and chain.end == place.committed:
            return
        if not chain.batches and chain.passed and chain.passed.committed == place.committed:
            return
        self._drop(chain)
        chain.passed = None
        chain.generation += 1
        chain.end = place.committed
        self._notices.append(GoBack(chain.stream.stream_id, chain.generation, place))

    def _release(self, chain: _Chain, committed: int) -> None:
        final = False
        before = len(chain.batches)
        while chain.batches and chain.batches[0].end <= committed:
            batch = chain.batches.popleft()
            if chain.sent:
                chain.sent -= 1
                self._in_flight -= batch.wire_bytes
            self._released += batch.wire_bytes
            final = final or batch.final
        if final:
            self._close(chain, committed)
        elif len(chain.batches) < before:
            # Watermarks are acknowledged too, and tell nothing that the disk thread must hear.
            self._notices.append(Acknowledged(chain.stream.stream_id, committed, final=False))

    def _close(self, chain: _Chain, committed: int) -> None:
        self._drop(chain)
        del self._chains[chain.stream.stream_id]
        self._notices.append(Acknowledged(chain.stream.stream_id, committed, final=True))

    def _drop(self, chain: _Chain) -> None:
        for index, batch in enumerate(chain.batches):
            self._released += batch.wire_bytes
            if index < chain.sent:
                self._in_flight -= batch.wire_bytes
        chain.batches.clear()
        chain.sent = 0
