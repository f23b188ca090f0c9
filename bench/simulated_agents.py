"""Agents as a collector meets them: a connection each, heartbeats with workers, numbered lines.

Thousands of them run in one process on one loop. What they say changes with every heartbeat, as
what real processes use does.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from outrider.instants import from_unix_us
from outrider.retry import Backoff
from outrider_protos.v1 import ingest_pb2
from tests.collector.service.agent_client import (
    Agent,
    Push,
    batch_of,
    bearer,
    digest,
    lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_S = 10.0
WORKERS = 20
_BACKOFF_S = 0.2, 5.0
"""As an agent's."""
_LINE_BYTES = 16
_LINES_A_BATCH = 10


def _now_us() -> int:
    return from_unix_us(time.time_ns() // 1_000)


class Heartbeats:
    """What one agent's heartbeats say."""

    def __init__(self, host: str, rng: random.Random) -> None:
        self._rng = rng
        started_us = _now_us()
        usage = ingest_pb2.Usage(rss_bytes=40_000_000, open_files=40, threads=3, cpu_ms=1_000)
        limited = ingest_pb2.Usage(rss_limit_bytes=512_000_000)
        limited.MergeFrom(usage)
        self._message = ingest_pb2.HeartbeatRequest(
            next_within_ms=int(INTERVAL_S * 1_000),
            usage=usage,
            stream_count=WORKERS,
            workers=[
                ingest_pb2.WorkerHeartbeat(
                    service=f"service-{n % 4}",
                    worker=f"{host}-w{n}",
                    pid=1_000 + n,
                    end=ingest_pb2.WORKER_END_RUNNING,
                    started_us=started_us,
                    usage=limited,
                    progress_total=1_000_000,
                    progress_within_ms=300_000,
                    progress_note="import",
                )
                for n in range(WORKERS)
            ],
        )

    def next(self) -> ingest_pb2.HeartbeatRequest:
        """Return the next one; the same message, changed."""
        message, now_us = self._message, _now_us()
        message.number += 1
        message.clock_us = now_us
        message.usage.cpu_ms += self._rng.randrange(30)
        for worker in message.workers:
            worker.usage.cpu_ms += self._rng.randrange(500)
            worker.usage.rss_bytes = 40_000_000 + 4_096 * self._rng.randrange(5_000)
            worker.progress_done += self._rng.randrange(1, 50)
            worker.progress_us = worker.last_line_us = now_us
            worker.progress_age_ms = self._rng.randrange(5_000)
        return message


@dataclass(slots=True)
class Told:
    """What all agents have to tell of their time."""

    answered: int = 0
    """Heartbeats."""
    slowest_answer_s: float = 0.0
    failures: int = 0
    """Streams that ended before their agent wanted it."""
    first_answers: set[str] = field(default_factory=set)
    """Hosts."""


async def beat(
    address: str, host: str, token: str, told: Told, stop: asyncio.Event, delay_s: float
) -> None:
    """Send heartbeats until ``stop``; come back whenever the stream breaks."""
    beats, backoff = Heartbeats(host, random.Random(host)), Backoff(*_BACKOFF_S)
    await asyncio.sleep(delay_s)
    while not stop.is_set():
        agent = Agent(address, token)
        try:
            call: Any = agent.ingest.Heartbeat(metadata=bearer(token))
            while not stop.is_set():
                sent = time.monotonic()
                await call.write(beats.next())
                _require(await call.read() is not grpc.aio.EOF)
                told.answered += 1
                told.first_answers.add(host)
                told.slowest_answer_s = max(told.slowest_answer_s, time.monotonic() - sent)
                backoff.reset()
                await asyncio.sleep(max(0.0, sent + INTERVAL_S - time.monotonic()))
        except (grpc.RpcError, ConnectionError, asyncio.InvalidStateError):
            told.failures += 1
            await asyncio.sleep(backoff.next())
        finally:
            await agent.close()


async def deliver(
    address: str,
    host: str,
    token: str,
    stream: int,
    batches: int,
    *,
    pace_s: float,
    acknowledged: Callable[[int], object],
) -> None:
    """Deliver numbered lines, ten a batch, over as many sessions as it takes.

    ``acknowledged`` is told the stream whenever a batch of it was committed.
    """
    data, backoff = lines(batches * _LINES_A_BATCH), Backoff(*_BACKOFF_S)
    size, committed = _LINES_A_BATCH * _LINE_BYTES, 0
    instance = random.Random(stream).randbytes(16)
    while committed < len(data):
        agent = Agent(address, token)
        agent.instance = instance
        try:
            async with asyncio.timeout(30):
                push = await agent.push(host=host)
                _require(push.welcome is not None)
                await push.open(stream, path=f"/logs/{stream}.log")
                (opened,) = push.of("streams_opened")[-1].streams
            committed = opened.committed
            assert opened.digest == digest(data, committed), "the store knows another stream"
            while committed < len(data):
                end = committed + size
                await push.batch(batch_of(stream, data, committed, end, ts_us=_now_us()))
                await _acknowledged(push, stream, end)
                committed = end
                acknowledged(stream)
                backoff.reset()
                await asyncio.sleep(pace_s)
        except (grpc.RpcError, ConnectionError, TimeoutError, asyncio.InvalidStateError):
            await asyncio.sleep(backoff.next())
        finally:
            await agent.close()


async def _acknowledged(push: Push, stream: int, end: int) -> None:
    def answered() -> bool:
        return push.status is not None or push.committed.get(stream, -1) >= end

    await push.until(answered)
    _require(push.committed.get(stream, -1) >= end)


def _require(is_there: bool) -> None:  # noqa: FBT001  a condition
    if not is_there:
        raise ConnectionError("the stream ended")
