"""A collector for tests: the real wire on a free port, its "database" in memory.

It accepts batches as the real one does: by compare-and-set of (begin, previous digest), and answers
everything else with a rewind. What it committed survives `restart`, as a database would.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import grpc

from outrider.columns import unpack_bytes, unpack_int64
from outrider.instants import from_unix_us
from outrider_protos.limits import WIRE_VERSION
from outrider_protos.v1 import ingest_pb2, ingest_pb2_grpc, log_pb2

_generated: Any = ingest_pb2_grpc


def now_us() -> int:
    """Microseconds since 2000."""
    return from_unix_us(time.time_ns() // 1000)


@dataclass
class Stored:
    """A stream as the database has it."""

    info: ingest_pb2.Stream
    committed: int
    tail: bytes = b""
    framer_state: bytes = b""
    closed: bool = False
    watermark_us: int = 0
    token: str = ""
    """Whose it is."""


@dataclass
class Row:
    """One stored record."""

    stream: int
    offset: int
    ts_us: int
    observed_us: int
    severity: int
    message: str | None
    attributes: str | None
    event: str | None
    replayed: bool


@dataclass
class Database:
    """What is committed."""

    streams: dict[int, Stored] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    own_rows: list[Row] = field(default_factory=list)
    """What agents said of themselves."""
    gaps: dict[bytes, tuple[int, log_pb2.Gap]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    feed: int = 0

    def messages(self) -> list[str | None]:
        return [row.message for row in self.rows]

    def open_streams(self) -> list[Stored]:
        return [stored for stored in self.streams.values() if not stored.closed]


class FakeCollector:
    """One collector. Set the switches to make trouble."""

    def __init__(self, database: Database | None = None) -> None:
        self.database = database or Database()
        self.port = 0
        self.credit_bytes = 1 << 20
        self.acknowledge = True
        self.lose_answers = False
        self.goodbye_after_batches: int | None = None
        self.store_regressed = False
        self.refuse_service = ""
        self.cloned_token = ""
        """Whose hello is told that another process has its identity."""
        self.settings = ingest_pb2.Settings(
            flush_interval_ms=20,
            urgent_flush_interval_ms=5,
            urgent_severity=17,
            heartbeat_interval_ms=200,
        )
        self.heartbeats: list[ingest_pb2.HeartbeatRequest] = []
        self.audit_head = (0, b"")
        """What answers to heartbeats show: the number of a seal and its root."""
        self.hellos: list[ingest_pb2.Hello] = []
        self.batches: list[log_pb2.Batch] = []
        self.most_together = 0
        """The most batches that came in one message."""
        self.rewinds = 0
        self.clock_offset_us = 0
        self.enrol_secret = "enrol-secret"
        self._server: grpc.aio.Server | None = None
        self.contexts: list[Any] = []

    async def start(self, port: int = 0) -> None:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        _generated.add_IngestServiceServicer_to_server(self, server)
        _generated.add_EnrollServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{port}")
        assert self.port
        await server.start()
        self._server = server

    async def stop(self, grace: float | None = None) -> None:
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    # ------------------------------------------------------------ services

    async def Enroll(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        if self._token(context) != self.enrol_secret:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong secret")
        token = secrets.token_urlsafe(16)
        self.database.tokens.add(token)
        return ingest_pb2.EnrollResponse(token=token)

    async def Heartbeat(self, requests: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        async for request in requests:
            self.heartbeats.append(request)
            yield ingest_pb2.HeartbeatResponse(
                number=request.number,
                clock_us=now_us() + self.clock_offset_us,
                audit_seal=self.audit_head[0],
                audit_root=self.audit_head[1],
            )

    async def Push(self, requests: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        if self._token(context) not in self.database.tokens:
            context.set_trailing_metadata((("outrider-reason", "AGENT_UNKNOWN"),))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown")
        self.contexts.append(context)
        rewinding: dict[int, int] = {}
        count = 0
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "hello":
                self.hellos.append(request.hello)
                if self._token(context) == self.cloned_token:
                    goodbye = ingest_pb2.Goodbye(reason="AGENT_CLONED")
                    yield ingest_pb2.PushResponse(goodbye=goodbye)
                    return
                yield ingest_pb2.PushResponse(welcome=self._welcome(self._token(context)))
            elif kind == "open_streams":
                yield ingest_pb2.PushResponse(
                    streams_opened=self._open(request.open_streams, self._token(context))
                )
            elif kind == "batch":
                count += 1
                together = [request.batch, *request.more_batches]
                self.most_together = max(self.most_together, len(together))
                for batch in together:
                    answer = self._batch(batch, rewinding)
                    if answer is not None and not self.lose_answers:
                        yield answer
                if self.goodbye_after_batches and count >= self.goodbye_after_batches:
                    goodbye = ingest_pb2.Goodbye(reason="COLLECTOR_STOPPING")
                    yield ingest_pb2.PushResponse(goodbye=goodbye)
                    return

    def _token(self, context: Any) -> str:
        metadata = dict(context.invocation_metadata())
        return str(metadata.get("authorization", "")).removeprefix("Bearer ")

    def _welcome(self, token: str) -> ingest_pb2.Welcome:
        return ingest_pb2.Welcome(
            version=WIRE_VERSION,
            clock_us=now_us() + self.clock_offset_us,
            streams=[
                _state(stored) for stored in self.database.open_streams() if stored.token == token
            ],
            settings=self.settings,
            credit_bytes=self.credit_bytes,
            store_regressed=self.store_regressed,
        )

    def _open(self, message: ingest_pb2.OpenStreams, token: str) -> ingest_pb2.StreamsOpened:
        opened, refused = [], []
        for stream in message.streams:
            if stream.service == self.refuse_service:
                refused.append(
                    ingest_pb2.Refusal(stream_id=stream.stream_id, reason="STREAM_REFUSED")
                )
                continue
            stored = self.database.streams.setdefault(
                stream.stream_id, Stored(stream, stream.start_offset, token=token)
            )
            opened.append(_state(stored))
        return ingest_pb2.StreamsOpened(streams=opened, refused=refused)

    def _batch(self, batch: log_pb2.Batch, rewinding: dict[int, int]) -> Any:
        self.batches.append(batch)
        stored = self.database.streams[batch.stream_id]
        if rewinding.get(batch.stream_id, batch.begin) != batch.begin:
            return None
        rewinding.pop(batch.stream_id, None)
        if not self.acknowledge:
            return None
        fits = batch.begin == stored.committed and batch.previous_digest == stored.tail
        if fits and not stored.closed:
            self._commit(batch, stored)
        elif batch.end > stored.committed:
            self.rewinds += 1
            rewinding[batch.stream_id] = stored.committed
            return ingest_pb2.PushResponse(
                rewind=ingest_pb2.Rewind(
                    stream_id=batch.stream_id,
                    committed=stored.committed,
                    digest=stored.tail,
                    framer_state=stored.framer_state,
                )
            )
        return ingest_pb2.PushResponse(
            ack=ingest_pb2.Ack(
                streams=[
                    ingest_pb2.Committed(stream_id=batch.stream_id, committed=stored.committed)
                ],
                feed=ingest_pb2.FeedPosition(number=self.database.feed, nonce=b"n" * 16),
                credit_bytes=self.credit_bytes,
            )
        )

    def _commit(self, batch: log_pb2.Batch, stored: Stored) -> None:
        self.database.feed += 1
        stored.committed, stored.tail = batch.end, batch.digest
        stored.framer_state = batch.framer_state
        stored.closed = batch.final
        stored.watermark_us = max(stored.watermark_us, batch.watermark_us)
        for gap in batch.gaps:
            self.database.gaps.setdefault(gap.gap_id, (batch.stream_id, gap))
        if batch.record_count:
            own = stored.info.service == "outrider-agent"
            (self.database.own_rows if own else self.database.rows).extend(rows(batch))

    # ------------------------------------------------------------ for tests

    async def until_rows(self, count: int, timeout_s: float = 15.0) -> None:
        """Wait until so many records are stored; fails as :meth:`until` does."""
        await self.until(lambda: len(self.database.rows) == count, timeout_s)

    async def until(self, condition: Any, timeout_s: float = 15.0) -> None:
        """Wait until a condition holds; fails with what there is at the deadline."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{len(self.database.rows)} rows, "
                    f"gaps {[(gap.reason, gap.detail) for _, gap in self.database.gaps.values()]}, "
                    f"{len(self.batches)} batches, last messages {self.database.messages()[-3:]}"
                )
            await asyncio.sleep(0.005)


def _state(stored: Stored) -> ingest_pb2.StreamState:
    return ingest_pb2.StreamState(
        stream=stored.info,
        committed=stored.committed,
        digest=stored.tail,
        framer_state=stored.framer_state,
    )


def rows(batch: log_pb2.Batch) -> list[Row]:
    """Decode a batch's records."""
    import zstandard

    n = batch.record_count
    payload = batch.columns
    if batch.compression == log_pb2.COMPRESSION_ZSTD:
        payload = zstandard.ZstdDecompressor().decompress(payload, batch.columns_bytes)
    assert len(payload) == batch.columns_bytes
    columns = log_pb2.Columns.FromString(payload)
    offsets = unpack_int64(columns.stream_offset, n)
    ts, observed = unpack_int64(columns.ts_us, n), unpack_int64(columns.observed_us, n)
    messages, attributes = unpack_bytes(columns.message, n), unpack_bytes(columns.attributes, n)
    names = [None, *columns.event.values]
    events = [names[i] for i in columns.event.index or bytes(n)]
    assert len(columns.severity) == n and set(columns.severity) <= set(range(1, 25))
    assert list(offsets) == sorted(set(offsets))
    assert batch.begin <= offsets[0] and offsets[-1] < batch.end
    return [
        Row(
            stream=batch.stream_id,
            offset=offsets[i],
            ts_us=ts[i],
            observed_us=observed[i],
            severity=columns.severity[i],
            message=_text(messages[i]),
            attributes=_text(attributes[i]),
            event=events[i],
            replayed=batch.replayed,
        )
        for i in range(n)
    ]


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    assert b"\0" not in value
    return value.decode()
