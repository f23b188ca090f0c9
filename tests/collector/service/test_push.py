"""Push, over a real server and a real database."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import zstandard

from outrider_collector.store import blocks
from outrider_protos.v1 import ingest_pb2, log_pb2
from tests.collector.service.agent_client import batch_of, digest, lines
from tests.collector.service.running import STREAM, ask, stored
from tests.waiting import eventually

if TYPE_CHECKING:
    import pytest

    from tests.collector.service.running import Running


async def test_hello_is_answered_by_a_welcome(collector: Running) -> None:
    """A welcome names version, database time, settings and credit."""
    agent = await collector.agent()
    push = await agent.push()

    assert push.welcome is not None
    assert push.welcome.version == 1
    assert push.welcome.credit_bytes == 256 * 1024
    assert push.welcome.settings.urgent_severity == 17
    assert push.welcome.clock_us > 0
    assert not push.welcome.store_regressed


async def test_batch_is_stored_and_acknowledged_with_its_feed_position(
    collector: Running, database_url: str
) -> None:
    """An acknowledgement names the committed offset and the feed row it was committed under."""
    data = lines(10)
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    await push.batch(batch_of(STREAM, data, 0, len(data)))
    await push.acked(STREAM, len(data))

    assert stored(database_url) == data.decode().splitlines()
    (feed,) = {(ack.feed.number, ack.feed.nonce) for ack in push.acks}
    rows = ask(database_url, "select number, nonce from feed where kind = 'ingest'")
    assert [(number, bytes(nonce)) for number, nonce in rows] == [feed]


async def test_batch_that_cannot_be_packed_ends_its_agents_session_alone(
    collector: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours in one agent's batch ends that session; the collector serves the others."""
    pack = blocks.pack_blocks

    def faulty(team: int, service: str, *rest: Any, **named: Any) -> Any:
        if service == "poison":
            raise struct.error("int too large to convert")
        return pack(team, service, *rest, **named)

    monkeypatch.setattr(blocks, "pack_blocks", faulty)
    data = lines(10)
    good, bad = [await (await collector.agent()).push() for _ in range(2)]
    await good.open(1)
    await bad.open(2, service="poison")
    await bad.batch(batch_of(2, data, 0, len(data)))
    await good.batch(batch_of(1, data, 0, len(data)))
    await good.acked(1, len(data))
    await bad.ended()

    assert (bad.status, bad.acks) == (grpc.StatusCode.INTERNAL, [])
    assert bad.goodbye is not None
    assert bad.goodbye.retry_after_ms == 30_000
    assert stored(database_url) == data.decode().splitlines()
    await good.batch(batch_of(1, lines(20), len(data), 2 * len(data)))
    await good.acked(1, 2 * len(data))


async def test_batches_that_share_a_message_are_taken_in_their_order(
    collector: Running, database_url: str
) -> None:
    """As many as the welcome allows; a message of more ends its stream."""
    data = lines(4)
    push = await (await collector.agent()).push()
    assert push.welcome is not None
    most = push.welcome.settings.batches_in_message
    await push.open(STREAM)
    first, *more = [batch_of(STREAM, data, at, at + 16) for at in range(0, 64, 16)]
    await push.send(batch=first, more_batches=more)
    await push.acked(STREAM, 64)
    assert stored(database_url) == data.decode().splitlines()
    assert push.rewinds == []

    watermark = log_pb2.Batch(stream_id=STREAM, begin=64, end=64)
    await push.send(batch=watermark, more_batches=[watermark] * most)
    await push.ended()
    assert push.goodbye is not None
    assert push.goodbye.reason == "BATCH_INVALID"


async def test_nothing_is_acknowledged_before_the_commit(
    collector: Running, database_url: str
) -> None:
    """While the transaction waits for the feed's lock no acknowledgement leaves."""
    data = lines(4)
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    with psycopg.connect(database_url, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(feed_lock_key())")
        await push.batch(batch_of(STREAM, data, 0, len(data)))
        waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted"
        await eventually(lambda: ask(database_url, waiting))
        await asyncio.sleep(0.1)
        assert push.acks == []
        assert stored(database_url) == []
    await push.acked(STREAM, len(data))

    assert len(stored(database_url)) == 4


async def test_batch_that_does_not_continue_is_answered_by_one_rewind(
    collector: Running, database_url: str
) -> None:
    """After a rewind all batches are dropped until one begins there; each line is stored once."""
    data = lines(30)
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    await push.batch(batch_of(STREAM, data, 0, 160))
    await push.acked(STREAM, 160)
    # Says that something else lies before it, as a restored or copied file would.
    await push.batch(batch_of(STREAM, data, 160, 320, previous_digest=b"x" * 16))
    await push.batch(batch_of(STREAM, data, 320, 400))
    await push.until(lambda: push.rewinds)
    await push.batch(batch_of(STREAM, data, 400, 480))
    for begin in (160, 320):
        await push.batch(batch_of(STREAM, data, begin, begin + 160))
    await push.acked(STREAM, 480)

    assert [(r.committed, r.digest) for r in push.rewinds] == [(160, digest(data, 160))]
    assert stored(database_url) == data.decode().splitlines()


async def test_batch_sent_twice_is_stored_once_and_acknowledged_again(
    collector: Running, database_url: str
) -> None:
    """A batch whose acknowledgement was lost is acknowledged when it comes again."""
    data = lines(5)
    agent = await collector.agent()
    first = await agent.push()
    await first.open(STREAM)
    await first.batch(batch_of(STREAM, data, 0, len(data)))
    await first.acked(STREAM, len(data))
    again = await agent.push()
    await again.batch(batch_of(STREAM, data, 0, len(data)))
    await again.acked(STREAM, len(data))

    assert len(stored(database_url)) == 5


async def test_batch_of_an_impossible_time_ends_its_stream_and_no_other(
    collector: Running,
) -> None:
    """A watermark that Postgres cannot hold is refused before it can stop a commit."""
    good, bad = [await (await collector.agent(host)).push() for host in ("a", "b")]
    await good.open(STREAM)
    await bad.open(STREAM + 1)
    await bad.batch(batch_of(STREAM + 1, b"", 0, 0, watermark_us=2**63 - 2))
    await bad.ended()
    assert bad.goodbye is not None
    assert bad.goodbye.reason == "BATCH_INVALID"

    data = lines(1)
    await good.batch(batch_of(STREAM, data, 0, len(data)))
    await good.acked(STREAM, len(data))


async def test_stream_of_another_agent_is_refused(collector: Running) -> None:
    """An id that another agent minted is refused, and its batches are not taken."""
    mine = await (await collector.agent()).push()
    await mine.open(STREAM)
    theirs = await (await collector.agent()).push()
    await theirs.open(STREAM)

    (answer,) = theirs.of("streams_opened")
    assert [r.reason for r in answer.refused] == ["STREAM_REFUSED"]
    await theirs.batch(batch_of(STREAM, lines(1), 0, 16))
    await theirs.ended()
    assert theirs.goodbye is not None
    assert theirs.goodbye.reason == "BATCH_INVALID"


BAD_BIRTHS: list[tuple[dict[str, object], str]] = [
    ({"service": ""}, "service is missing"),
    ({"service": "x" * 129}, "longer than 128 bytes"),
    ({"worker": "a\nb"}, "not printable"),
    ({"stream_id": 0}, "out of range"),
    ({"stream_id": 2**63}, "out of range"),
    ({"head_digest": b"short"}, "has not 16 bytes"),
]


async def test_birth_that_cannot_be_stored_is_refused(collector: Running) -> None:
    """A stream that breaks a limit is refused by itself; the session goes on."""
    push = await (await collector.agent()).push()
    for birth, detail in BAD_BIRTHS:
        await push.open(STREAM, **birth)
        answer = push.of("streams_opened")[-1]
        assert not answer.streams
        assert detail in answer.refused[0].detail

    assert push.status is None


async def test_watermark_needs_no_records(collector: Running, database_url: str) -> None:
    """A batch that carries only a watermark moves the stream's watermark."""
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    assert push.welcome is not None
    await push.batch(batch_of(STREAM, b"", 0, 0, watermark_us=push.welcome.clock_us))
    await push.acked(STREAM, 0)

    assert ask(database_url, "select watermark is not null from streams") == [(True,)]


async def test_gap_is_stored_beside_the_data(collector: Running, database_url: str) -> None:
    """A gap in a batch becomes a row, once, however often it is told."""
    data = lines(2)
    gap = log_pb2.Gap(begin=16, end=32, records=1, reason="unreadable", gap_id=b"g" * 16)
    agent = await collector.agent()
    for _ in range(2):
        push = await agent.push()
        await push.open(STREAM)
        await push.batch(batch_of(STREAM, data, 0, 32, gaps=[gap]))
        await push.acked(STREAM, 32)

    assert ask(database_url, "select records, reason from gaps") == [(1, "unreadable")]


async def test_zstd_batch_is_stored(collector: Running, database_url: str) -> None:
    """A compressed batch is the same batch."""
    data = lines(100)
    batch = batch_of(STREAM, data, 0, len(data))
    batch.columns = zstandard.compress(batch.columns)
    batch.compression = log_pb2.COMPRESSION_ZSTD
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    await push.batch(batch)
    await push.acked(STREAM, len(data))

    assert stored(database_url) == data.decode().splitlines()


async def test_decompression_bomb_is_refused(collector: Running, database_url: str) -> None:
    """A batch that would grow beyond the limit, or beyond what it says, ends its stream only."""
    agent = await collector.agent()
    bomb = zstandard.compress(bytes(200 * 1024 * 1024))
    for announced, reason in ((8 << 20, "BATCH_INVALID"), (200 << 20, "BATCH_TOO_LARGE")):
        batch = batch_of(STREAM, lines(1), 0, 16, columns=bomb, columns_bytes=announced)
        batch.compression = log_pb2.COMPRESSION_ZSTD
        push = await agent.push()
        await push.open(STREAM)
        await push.batch(batch)
        await push.ended()
        assert push.trailers["outrider-reason"] == reason
    again = await agent.push()
    await again.batch(batch_of(STREAM, lines(1), 0, 16))
    await again.acked(STREAM, 16)

    assert len(stored(database_url)) == 1


async def test_malformed_column_goes_to_quarantine_and_the_stream_goes_on(
    collector: Running, database_url: str
) -> None:
    """A column that Postgres refuses is kept aside; what follows is stored."""
    data = lines(4)
    push = await (await collector.agent()).push()
    await push.open(STREAM)
    bad = batch_of(STREAM, data, 0, 32)
    columns = log_pb2.Columns.FromString(bad.columns)
    columns.message = columns.message[:-1] + b"\xff"
    bad.columns = columns.SerializeToString()
    await push.batch(bad)
    await push.batch(batch_of(STREAM, data, 32, 64))
    await push.acked(STREAM, 64)

    assert len(stored(database_url)) == 3
    assert ask(database_url, "select count(*) from quarantine") == [(1,)]


async def test_last_acknowledged_that_the_database_does_not_know_is_a_regression(
    collector: Running,
) -> None:
    """A hello that shows a feed position of another history is told that the store regressed."""
    data = lines(1)
    agent = await collector.agent()
    push = await agent.push()
    await push.open(STREAM)
    await push.batch(batch_of(STREAM, data, 0, 16))
    await push.acked(STREAM, 16)
    right, wrong = push.acks[-1].feed, ingest_pb2.FeedPosition(number=1, nonce=b"w" * 16)
    known = await agent.push(last_acknowledged=right)
    unknown = await agent.push(last_acknowledged=wrong)

    assert known.welcome is not None
    assert unknown.welcome is not None
    assert not known.welcome.store_regressed
    assert unknown.welcome.store_regressed
