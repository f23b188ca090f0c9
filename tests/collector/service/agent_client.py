"""A client that behaves as an agent towards a real collector, and misbehaves where told to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from outrider.columns import pack_int64, pack_text
from outrider_protos.v1 import ingest_pb2, ingest_pb2_grpc, log_pb2

KEY = b"tests"
WITHIN_S = 20.0

Bearer = tuple[tuple[str, str], ...]


def bearer(token: str) -> Bearer:
    """Metadata that carry a token."""
    return (("authorization", f"Bearer {token}"),)


def digest(data: bytes, end: int) -> bytes:
    """Tail digest of ``end``, as an agent makes it."""
    return hmac.digest(KEY, data[max(0, end - 4096) : end], hashlib.sha256)[:16] if end else b""


def lines(count: int, start: int = 0) -> bytes:
    """Numbered lines, 16 bytes each."""
    return b"".join(b"line %010d\n" % i for i in range(start, start + count))


def columns_of(begin: int, texts: list[bytes], *, severity: int = 9, ts_us: int = 0) -> bytes:
    """Columns of lines that follow each other from ``begin``."""
    n = len(texts)
    offsets, at = [], begin
    for text in texts:
        offsets.append(at)
        at += len(text) + 1
    return log_pb2.Columns(
        ts_us=pack_int64([ts_us] * n),
        observed_us=pack_int64([ts_us or 1] * n),
        stream_offset=pack_int64(offsets),
        severity=bytes([severity]) * n,
        message=pack_text(texts),
    ).SerializeToString()


def batch_of(stream: int, data: bytes, begin: int, end: int, /, **fields: Any) -> log_pb2.Batch:
    """A right batch of the lines in ``data[begin:end]``; ``fields`` replace what it says."""
    texts = data[begin:end].splitlines()
    columns = b"" if not texts else columns_of(begin, texts, ts_us=fields.pop("ts_us", 0))
    said: dict[str, Any] = {
        "stream_id": stream,
        "begin": begin,
        "end": end,
        "previous_digest": digest(data, begin),
        "digest": digest(data, end),
        "record_count": len(texts),
        "columns": columns,
        "columns_bytes": len(columns),
        "compression": log_pb2.COMPRESSION_NONE,
    }
    return log_pb2.Batch(**(said | fields))


@dataclass(slots=True)
class Push:
    """One Push stream; answers are collected as they come."""

    call: Any
    welcome: ingest_pb2.Welcome | None = None
    answers: list[ingest_pb2.PushResponse] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=dict)
    acks: list[ingest_pb2.Ack] = field(default_factory=list)
    rewinds: list[ingest_pb2.Rewind] = field(default_factory=list)
    goodbye: ingest_pb2.Goodbye | None = None
    credit_bytes: int = 0
    status: grpc.StatusCode | None = None
    trailers: dict[str, str] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None

    async def send(self, **message: Any) -> None:
        """Send one message of the oneof."""
        await self.call.write(ingest_pb2.PushRequest(**message))

    async def batch(self, batch: log_pb2.Batch) -> None:
        """Send a batch."""
        await self.send(batch=batch)

    async def open(self, stream: int, **fields: Any) -> None:
        """Open a stream and wait for the answer."""
        said: dict[str, Any] = {
            "stream_id": stream, "service": "payments", "worker": "w1", "source": "file",
            "path": "/logs/a.log", "host": "test-host",
        }  # fmt: skip
        before = len(self.of("streams_opened"))
        await self.send(
            open_streams=ingest_pb2.OpenStreams(streams=[ingest_pb2.Stream(**(said | fields))])
        )
        await self.until(lambda: len(self.of("streams_opened")) > before)

    def of(self, kind: str) -> list[Any]:
        """Every answer of a kind so far."""
        return [getattr(a, kind) for a in self.answers if a.WhichOneof("message") == kind]

    async def until(self, condition: Any, within_s: float = WITHIN_S) -> None:
        """Wait until an answer makes the condition true."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def acked(self, stream: int, end: int) -> None:
        """Wait until the stream is committed up to ``end``."""
        await self.until(lambda: self.committed.get(stream, -1) >= end)

    async def ended(self) -> None:
        """Wait until the collector has ended the stream."""
        await self.until(lambda: self.status is not None)

    async def close(self) -> None:
        """End the stream as an agent does, and wait for the end."""
        if self.status is None:
            await self.call.done_writing()
            await self.ended()

    def start(self) -> Self:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        try:
            while (answer := await self.call.read()) is not grpc.aio.EOF:
                self._take(answer)
        except (grpc.RpcError, asyncio.CancelledError):
            pass  # the call is over; its status says how
        self.status = await self.call.code()
        trailing = await self.call.trailing_metadata()
        self.trailers = {key: str(value) for key, value in trailing or ()}
        self._news.set()

    def _take(self, answer: ingest_pb2.PushResponse) -> None:
        self.answers.append(answer)
        kind = answer.WhichOneof("message")
        if kind == "welcome":
            self.welcome, self.credit_bytes = answer.welcome, answer.welcome.credit_bytes
        elif kind == "ack":
            self.acks.append(answer.ack)
            self.credit_bytes = answer.ack.credit_bytes
            self.committed |= {s.stream_id: s.committed for s in answer.ack.streams}
        elif kind == "rewind":
            self.rewinds.append(answer.rewind)
        elif kind == "credit":
            self.credit_bytes = answer.credit.credit_bytes
        elif kind == "goodbye":
            self.goodbye = answer.goodbye
        self._news.set()


class Agent:
    """One agent: its token and its channel to a collector."""

    def __init__(self, address: str, token: str) -> None:
        self.token = token
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.ingest: Any = ingest_pb2_grpc.IngestServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.instance = secrets.token_bytes(16)
        self.pushes: list[Push] = []

    @classmethod
    async def enrolled(cls, address: str, enrol_token: str, host: str = "test-host") -> Agent:
        """Enrol a new agent and connect it."""
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = ingest_pb2_grpc.EnrollServiceStub(channel)  # type: ignore[no-untyped-call]
            answer = await stub.Enroll(
                ingest_pb2.EnrollRequest(host=host), metadata=bearer(enrol_token)
            )
        return cls(address, answer.token)

    async def push(self, **hello: Any) -> Push:
        """Open a Push stream and say hello; returns when it was welcomed or refused."""
        said: dict[str, Any] = {
            "min_version": 1, "max_version": 1, "instance": self.instance, "host": "test-host",
        }  # fmt: skip
        push = Push(self.ingest.Push(metadata=bearer(self.token))).start()
        self.pushes.append(push)
        await push.send(hello=ingest_pb2.Hello(**(said | hello)))
        await push.until(lambda: push.welcome is not None or push.status is not None)
        return push

    async def close(self) -> None:
        """End everything."""
        for push in self.pushes:
            if push.status is None:
                push.call.cancel()
        await self.channel.close()
