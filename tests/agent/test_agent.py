"""The agent with a collector that behaves: every line once, whatever happens to either."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from outrider.instants import from_unix_us
from outrider_agent import configuration, status
from outrider_agent.delivery import Delivery
from tests.agent.fake_collector import FakeCollector, now_us
from tests.agent.harness import Site, looked_anew, numbered

if TYPE_CHECKING:
    from pathlib import Path


async def test_lines_arrive_once_with_offset_and_watermark(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What a worker appends is stored once, in order, with a watermark."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 50))
    async with site.agent():
        await collector.until_rows(50)
        site.write("a.log", numbered(50, 60))
        before_us = now_us()
        await collector.until_rows(60)
        (stored,) = (s for s in collector.database.streams.values() if s.info.service == "bots")
        await collector.until(lambda: stored.watermark_us > before_us + 500_000)

    assert collector.database.messages() == [f"line {n}" for n in range(60)]
    assert (stored.info.worker, stored.info.source) == ("a", "file")
    assert stored.info.uid == os.getuid()
    assert [row.offset for row in collector.database.rows][:2] == [0, 7]


async def test_small_batches_share_a_message_where_the_collector_takes_several(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Quiet files of a large fleet: few messages, no more batches in one than is allowed."""
    collector.settings.batches_in_message = 5
    collector.settings.flush_interval_ms = 300
    site = Site(tmp_path, collector)
    for number in range(40):
        site.write(f"{number}.log", "first\n")
    async with site.agent():
        await collector.until_rows(40)
        for number in range(40):
            site.write(f"{number}.log", "second\n")
        await collector.until_rows(80)

    assert collector.most_together == 5
    assert collector.rewinds == 0


async def test_a_partial_line_waits_for_its_end(tmp_path: Path, collector: FakeCollector) -> None:
    """No timer ends a line."""
    site = Site(tmp_path, collector)
    site.write("a.log", "whole\npart")
    async with site.agent() as agent:
        await collector.until(lambda: collector.database.messages() == ["whole"])
        await looked_anew(agent)
        assert collector.database.messages() == ["whole"]
        site.write("a.log", "ial\n")
        await collector.until(lambda: collector.database.messages() == ["whole", "partial"])


async def test_a_broken_connection_loses_and_repeats_nothing(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Answers that get lost, a collector that restarts: each line is there once."""
    site = Site(tmp_path, collector)
    async with site.agent() as agent:
        for part in range(5):
            collector.lose_answers = part % 2 == 0
            before = len(collector.batches)
            site.write("a.log", numbered(part * 20, part * 20 + 20))
            await collector.until(lambda before=before: len(collector.batches) > before)
            port = collector.port
            await collector.stop()
            await collector.start(port)
        collector.lose_answers = False
        await collector.until(lambda: len(collector.database.rows) >= 100)
        await looked_anew(agent)

    assert collector.database.messages() == [f"line {n}" for n in range(100)]


async def test_the_next_collector_takes_over(tmp_path: Path, collector: FakeCollector) -> None:
    """With one collector gone the agent goes on with the other, on the same database."""
    second = FakeCollector(collector.database)
    await second.start()
    site = Site(tmp_path, collector, second)
    async with site.agent():
        site.write("a.log", numbered(0, 10))
        await collector.until_rows(10)
        await collector.stop()
        site.write("a.log", numbered(10, 20))
        await second.until(lambda: len(collector.database.rows) == 20)
        assert second.hellos
    await second.stop()

    assert collector.database.messages() == [f"line {n}" for n in range(20)]


async def test_the_first_of_several_collectors_may_be_down_and_come_back(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The list is gone through as often as it takes: to the second, and to the first again."""
    second = FakeCollector(collector.database)
    await second.start()
    port = collector.port
    site = Site(tmp_path, collector, second)
    await collector.stop()
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await second.until(lambda: len(collector.database.rows) == 10)
        assert not collector.hellos
        await collector.start(port)
        await second.stop()
        site.write("a.log", numbered(10, 20))
        await collector.until_rows(20)
        assert collector.hellos

    assert collector.database.messages() == [f"line {n}" for n in range(20)]


async def test_a_restarted_agent_goes_on_where_postgres_stands(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What was committed is not sent again, what was written meanwhile is; no cache is needed."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    site.write("a.log", numbered(10, 20))
    (site.state_dir / "cache.json").unlink()
    (site.state_dir / "journal").unlink()
    async with site.agent():
        await collector.until_rows(20)

    assert collector.database.messages() == [f"line {n}" for n in range(20)]
    bots = [s for s in collector.database.streams.values() if s.info.service == "bots"]
    assert len(bots) == 1
    assert collector.database.gaps == {}


async def test_a_quiet_file_is_as_fresh_after_a_restart_as_before(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The first heartbeat that has its worker tells when the file was last written."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "a line\n")
    async with site.agent():
        await collector.until_rows(1)
    collector.heartbeats.clear()
    async with site.agent():
        await collector.until(lambda: any(beat.workers for beat in collector.heartbeats))

    beats = [one for beat in collector.heartbeats for one in beat.workers if one.service == "bots"]
    written_us = from_unix_us(path.stat().st_mtime_ns // 1000)
    assert abs(beats[0].last_line_us - written_us) < 5_000_000


@pytest.mark.parametrize("name", ["cache.json", "journal"])
async def test_a_damaged_cache_harms_nothing(
    tmp_path: Path, collector: FakeCollector, name: str
) -> None:
    """Any byte of any state file but the identity may be wrong: the agent starts and goes on."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 5))
    async with site.agent():
        await collector.until_rows(5)
    path = site.state_dir / name
    good = path.read_bytes()
    expected = 5
    for damage in (good[: len(good) // 2], bytes(len(good)), good.replace(b":", b"\xff"), b""):
        path.write_bytes(damage)
        site.write("a.log", numbered(expected, expected + 1))
        expected += 1
        async with site.agent():
            await collector.until_rows(expected)

    assert collector.database.messages() == [f"line {n}" for n in range(expected)]


async def test_without_credit_only_watermarks_travel(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """An agent without credit keeps its lines, and its heartbeats go on."""
    collector.credit_bytes = 0
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until(lambda: len(collector.heartbeats) >= 8)
        assert all(batch.record_count == 0 for batch in collector.batches)
        backlog = collector.heartbeats[-1].backlog_bytes
        port = collector.port
        await collector.stop()
        collector.credit_bytes = 1 << 20
        await collector.start(port)
        await collector.until_rows(10)

    assert backlog >= len(numbered(0, 10))


async def test_a_full_window_stops_reading_and_nothing_else(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Unacknowledged bytes are bounded; when acknowledgements come again the rest follows."""
    collector.acknowledge = False
    site = Site(tmp_path, collector, agent="window_bytes = 1048576")
    lines = [f"{n} " + "x" * 1000 for n in range(5000)]
    site.write("a.log", "\n".join(lines) + "\n")
    async with site.agent() as agent:
        await collector.until(lambda: sum(b.ByteSize() for b in collector.batches) > 500_000)
        await looked_anew(agent)
        assert sum(b.ByteSize() for b in collector.batches) < 2_500_000
        port = collector.port
        await collector.stop()
        collector.acknowledge = True
        await collector.start(port)
        await collector.until_rows(5000)

    assert collector.database.messages() == lines


async def test_what_the_database_forgot_is_sent_again_and_marked(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """After a restore the file fills the hole, marked as replayed; the rest is not."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        (stored,) = (s for s in collector.database.streams.values() if s.info.service == "bots")
        earlier = (stored.committed, stored.tail)
        site.write("a.log", numbered(10, 20))
        await collector.until_rows(20)
        port = collector.port
        await collector.stop()
        stored.committed, stored.tail = earlier
        del collector.database.rows[10:]
        collector.store_regressed = True
        await collector.start(port)
        await collector.until_rows(20)
        site.write("a.log", numbered(20, 30))
        await collector.until_rows(30)

    assert collector.database.messages() == [f"line {n}" for n in range(30)]
    assert [row.replayed for row in collector.database.rows] == [False] * 10 + [True] * 10 + [
        False
    ] * 10


async def test_an_unknown_token_enrols_again(tmp_path: Path, collector: FakeCollector) -> None:
    """A collector with a new database makes the agent known again, and gets what is on the disk."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        port = collector.port
        await collector.stop()
        fresh = FakeCollector()
        await fresh.start(port)
        await fresh.until_rows(10)
    await fresh.stop()

    assert (site.state_dir / "identity" / "token").stat().st_mode & 0o777 == 0o600


async def test_a_refused_stream_is_said_and_tried_again_later(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A refusal is told once; the other streams go on."""
    collector.refuse_service = "bots"
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until(lambda: any("refused" in line for line in site.said))
        await collector.until(lambda: len(collector.heartbeats) > 2)

    assert collector.database.rows == []


async def test_urgent_lines_leave_at_once(tmp_path: Path, collector: FakeCollector) -> None:
    """An error, or a line of an urgent filter, does not wait for the plain interval."""
    collector.settings.flush_interval_ms = 60_000
    collector.settings.urgent_filters.append("panic*")
    site = Site(tmp_path, collector)
    async with site.agent() as agent:
        await collector.until(lambda: bool(collector.heartbeats))
        site.write("a.log", "2026-11-24 20:02:31 INFO calm\n")
        await looked_anew(agent)
        assert collector.database.messages() == []
        site.write("a.log", "2026-11-24 20:02:31 ERROR loud\n")
        await collector.until_rows(2, timeout_s=5)
        site.write("b.log", "panicked\n")
        await collector.until_rows(3, timeout_s=5)
        site.write("a.log", "left at the stop\n")
        await looked_anew(agent)

    assert collector.database.messages() == ["calm", "loud", "panicked", "left at the stop"]


async def test_times_are_the_databases(tmp_path: Path, collector: FakeCollector) -> None:
    """A host whose clock is off by an hour delivers times that fit those of the others."""
    collector.clock_offset_us = 3600 * 1_000_000
    site = Site(tmp_path, collector)
    async with site.agent():
        await collector.until(lambda: len(collector.heartbeats) >= 2)
        line = {"ts": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()), "message": "m"}
        site.write("a.log", json.dumps(line) + "\n")
        await collector.until_rows(1)

    (row,) = collector.database.rows
    expected_us = now_us() + collector.clock_offset_us
    assert abs(row.ts_us - expected_us) < 30_000_000
    assert abs(row.observed_us - expected_us) < 30_000_000


async def test_start_end_takes_only_what_comes(tmp_path: Path, collector: FakeCollector) -> None:
    """With start = "end" a first start leaves what is there, and a later start does not."""
    site = Site(tmp_path, collector, source='start = "end"')
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until(
            lambda: any(s.info.service == "bots" for s in collector.database.streams.values())
        )
        site.write("a.log", numbered(10, 12))
        await collector.until_rows(2)
    site.write("b.log", numbered(12, 14))
    async with site.agent():
        await collector.until_rows(4)

    assert collector.database.messages() == [f"line {n}" for n in range(10, 14)]


async def test_a_bug_ends_a_session_and_not_the_agent(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error nobody foresaw is said with its place, counted, and followed by a new session."""
    site = Site(tmp_path, collector)
    taken = Delivery.acknowledged
    bugs = iter([RuntimeError("nobody foresaw this")])

    def acknowledged(self: Delivery, committed: dict[int, int], credit_bytes: int) -> None:
        for bug in bugs:
            raise bug
        taken(self, committed, credit_bytes)

    monkeypatch.setattr(Delivery, "acknowledged", acknowledged)
    async with site.agent():
        site.write("a.log", numbered(0, 3))
        await collector.until(lambda: len(collector.hellos) == 2)
        site.write("a.log", numbered(3, 5))
        await collector.until_rows(5)
        told: list[str] = []
        config = configuration.load(site.config_file, {})
        await asyncio.to_thread(status.run, config, told.append, json=False)
        await collector.until(
            lambda: "pipeline.failed" in [row.event for row in collector.database.own_rows]
        )

    (said,) = [line for line in site.said if "nobody foresaw this" in line]
    assert "test_agent.py:" in said
    assert "bugs         1 ended a session\n" in told
