"""Segments of the inbox: the writer's life and death, and how a segment is retired."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from outrider.inbox import slot
from outrider.inbox.writer import Writer
from outrider_agent import discovery, segments
from outrider_agent.segments import Kept, over_budget
from outrider_protos.v1 import ingest_pb2
from tests.agent.harness import Site, looked_anew
from tests.agent.sdk_workers import WORKER, ended, worker

if TYPE_CHECKING:
    from pathlib import Path

    from outrider_protos.v1.ingest_pb2 import WorkerHeartbeat
    from tests.agent.fake_collector import FakeCollector


def told(collector: FakeCollector) -> WorkerHeartbeat | None:
    """Return what the last heartbeat says of the worker."""
    if not collector.heartbeats:
        return None
    found = [w for w in collector.heartbeats[-1].workers if w.service == "pay"]
    return found[0] if found else None


async def test_a_living_worker_is_told_with_its_progress(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Heartbeats say pid, progress, memory and descriptors of a worker that runs."""
    site = Site(tmp_path, collector)
    process = worker(site.inbox)
    async with site.agent():
        await collector.until(
            lambda: (
                (w := told(collector)) is not None
                and w.end == ingest_pb2.WORKER_END_RUNNING
                and w.last_line_us > 0
            )
        )
        heartbeat = told(collector)
        process.communicate("\n")
        await collector.until(
            lambda: (w := told(collector)) is not None and w.end == ingest_pb2.WORKER_END_CLEAN
        )

    assert heartbeat is not None
    assert (heartbeat.pid, heartbeat.worker) == (process.pid, "w1")
    assert (heartbeat.progress_done, heartbeat.progress_total) == (3, 10)
    assert heartbeat.progress_note == "half"
    assert heartbeat.usage.rss_bytes > 1_000_000
    assert heartbeat.usage.open_files > 2
    assert [row.event for row in collector.database.rows][-1] == "worker.stopped"
    assert "charged" in collector.database.messages()


async def test_who_came_back_while_no_collector_was_there_is_not_told_as_ended(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A worker that ended and started again meanwhile runs, by each heartbeat of the session."""
    site = Site(tmp_path, collector)
    first = worker(site.inbox)
    async with site.agent():
        await collector.until(lambda: told(collector) is not None)
        port = collector.port
        await collector.stop()
        first.communicate("\n")
        second = worker(site.inbox)
        collector.heartbeats.clear()
        await collector.start(port)
        await collector.until(lambda: len(collector.heartbeats) > 2)
        second.communicate("\n")

    beats = [w for beat in collector.heartbeats[:3] for w in beat.workers if w.service == "pay"]
    assert [(w.pid, w.end) for w in beats] == [(second.pid, ingest_pb2.WORKER_END_RUNNING)] * 3


async def test_a_killed_worker_is_recorded_once(tmp_path: Path, collector: FakeCollector) -> None:
    """A worker that ends without a word: its last words arrive, its death is one record."""
    site = Site(tmp_path, collector)
    process = worker(site.inbox)
    async with site.agent():
        await collector.until(lambda: "charged" in collector.database.messages())
        os.kill(process.pid, signal.SIGKILL)
        ended(process)
        await collector.until(
            lambda: (w := told(collector)) is not None and w.end == ingest_pb2.WORKER_END_DIED
        )
        await collector.until(lambda: "worker.died" in [r.event for r in collector.database.rows])
    async with site.agent() as agent:
        await collector.until(lambda: len(collector.heartbeats) > 3)
        await looked_anew(agent)

    deaths = [row for row in collector.database.rows if row.event == "worker.died"]
    assert len(deaths) == 1
    assert json.loads(deaths[0].attributes or "")["pid"] == process.pid
    assert deaths[0].severity == 17


def test_writers_that_take_over_and_die_between_two_looks_are_told_apart(tmp_path: Path) -> None:
    """Each one's death is a record, though the lock was never seen taken; a clean end is none."""
    path = tmp_path / "s~w~0123456789abcdef.jsonl"
    path.touch()
    watch = segments.SegmentWatch(str(path))
    fd = os.open(path, os.O_RDONLY)

    def wrote(pid: int, opened_us: int, flags: int = 0) -> None:
        path.with_suffix(".slot").write_bytes(slot.pack(slot.Slot(pid, opened_us, flags=flags)))

    try:
        for look, (pid, opened_us) in enumerate([(7, 1), (8, 2), (8, 3), (7, 4)]):
            wrote(pid, opened_us)
            watch.check(fd, look, 1000 + look)
            watch.check(fd, look, 2000 + look)
            assert (watch.died, watch.ended_us) == (True, 1000 + look)
        wrote(9, 5, slot.ENDED)
        watch.check(fd, 50.0, 5000)
    finally:
        os.close(fd)

    deaths = [
        json.loads(line)["attributes"]["pid"] for line in path.read_text().splitlines() if line
    ]
    assert deaths == [7, 8, 8, 7]
    assert (watch.died, watch.ended_us) == (False, 5000)
    assert not watch.wants_to_retire(100.0, 100.0, 60.0)


async def test_every_death_of_a_crash_loop_is_a_record(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """However quickly a worker comes back and dies again: as many records as deaths."""
    site = Site(tmp_path, collector)
    program = WORKER.replace("sys.stdin.readline()", "os.kill(os.getpid(), 9)")
    pids = []
    async with site.agent() as agent:
        for number in range(10):
            process = worker(site.inbox, program)
            ended(process)
            pids.append(process.pid)
            if number % 3 == 2:
                await collector.until(lambda: len(deaths(collector)) == len(pids))
        await collector.until(lambda: len(deaths(collector)) >= len(pids))
        await looked_anew(agent)

    assert sorted(deaths(collector)) == sorted(pids)


def deaths(collector: FakeCollector) -> list[int]:
    """Return the process ids of the deaths that are stored."""
    rows = [row for row in collector.database.rows if row.event == "worker.died"]
    return [json.loads(row.attributes or "")["pid"] for row in rows]


async def test_a_left_segment_is_retired_and_a_late_line_is_kept(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Moved under the lock, read to the end, its stream closed, and kept in case it is wanted."""
    site = Site(tmp_path, collector, agent="retire_after_s = 0.01")
    process = worker(site.inbox)
    (path,) = site.inbox.glob("pay~*.jsonl")
    process.communicate("\n")
    async with site.agent():
        await collector.until(
            lambda: any(s.closed for s in collector.database.streams.values()), timeout_s=20
        )
        assert (site.inbox / "closing" / path.name).exists()
        assert not path.exists()
        # The next process finds nothing to take over and starts anew.
        second = worker(site.inbox)
        second.communicate("\n")
        await collector.until(lambda: collector.database.messages().count("charged") == 2)

    events = [row.event for row in collector.database.rows if row.event]
    assert events.count("worker.stopped") == 2
    assert collector.database.gaps == {}


async def test_what_a_restored_database_wants_again_of_an_ended_stream_is_marked(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Kept segments fill the hole, as lines that can have been stored before."""
    site = Site(tmp_path, collector, agent="retire_after_s = 0.01")
    process = worker(site.inbox)
    process.communicate("\n")
    async with site.agent():
        await collector.until(
            lambda: any(s.closed for s in collector.database.streams.values()), timeout_s=20
        )
    (ended,) = (s for s in collector.database.streams.values() if s.closed)
    lost = [row for row in collector.database.rows if row.stream == ended.info.stream_id]
    assert [row for row in lost if row.replayed] == []
    collector.database.rows[:] = [r for r in collector.database.rows if r not in lost]
    ended.committed, ended.tail, ended.closed = 0, b"", False
    collector.store_regressed = True

    def again() -> list[bool]:
        rows = collector.database.rows
        return [row.replayed for row in rows if row.stream == ended.info.stream_id]

    async with site.agent():
        await collector.until(lambda: len(again()) == len(lost), timeout_s=20)
    assert again() == [True] * len(lost)


async def test_a_retired_segment_is_not_read_again(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """After a restart what lies delivered in closing/ is only kept, within its budget."""
    site = Site(tmp_path, collector, agent="retire_after_s = 0.01")
    process = worker(site.inbox)
    process.communicate("\n")
    async with site.agent():
        await collector.until(
            lambda: any(s.closed for s in collector.database.streams.values()), timeout_s=20
        )
    count = len(collector.database.rows)
    site = Site(tmp_path, collector, agent="kept_tail_bytes = 0")
    async with site.agent():
        await collector.until(lambda: not list((site.inbox / "closing").glob("pay~*")))

    assert len(collector.database.rows) == count


async def test_any_language_logs_by_appending_a_line(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A file of any name with JSON lines is read; its name is its service."""
    site = Site(tmp_path, collector)
    with (site.inbox / "cron.jsonl").open("a") as file:
        file.write('{"level":"warn","message":"from a shell script","disk":7}\n')
    async with site.agent():
        await collector.until_rows(1)

    (row,) = collector.database.rows
    assert (row.message, row.severity) == ("from a shell script", 13)
    assert collector.database.streams[row.stream].info.service == "cron"
    assert collector.database.streams[row.stream].info.source == "inbox"


async def test_a_link_in_the_inbox_is_not_followed(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Whoever may write to the inbox cannot have the agent read other people's files."""
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    site = Site(tmp_path, collector)
    (site.inbox / "link.jsonl").symlink_to(secret)
    os.mkfifo(site.inbox / "pipe.jsonl")
    site.write("a.log", "line\n")
    async with site.agent():
        await collector.until_rows(1)
        await collector.until(lambda: any("link.jsonl" in line for line in site.said))

    assert collector.database.messages() == ["line"]


@pytest.mark.parametrize("planted", ["link", "file"])
async def test_a_planted_closing_is_not_used(
    tmp_path: Path, collector: FakeCollector, planted: str
) -> None:
    """Nothing is moved to, or read from, where it leads; what is wrong is said, and mended later.

    Whoever may write to the inbox could have the agent, as root, write into other directories.
    """
    target = tmp_path / "target"
    target.mkdir()
    (target / "secret.jsonl").write_text('{"message":"secret"}\n')
    site = Site(tmp_path, collector, agent="retire_after_s = 0.01")
    closing = site.inbox / "closing"
    if planted == "link":
        closing.symlink_to(target)
    else:
        closing.write_text("")
    ended(worker(site.inbox))
    async with site.agent():
        await collector.until(
            lambda: any(
                "delivered segments stay" in line and f"{closing}: it is no directory" in line
                for line in site.said
            )
        )
        assert [path.name for path in target.iterdir()] == ["secret.jsonl"]
        closing.unlink()
        await collector.until(lambda: any(closing.glob("pay~*")), 30)

    assert [path.name for path in target.iterdir()] == ["secret.jsonl"]
    assert "secret" not in collector.database.messages()


def test_a_closing_of_another_account_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that somebody else made can become a link at any moment."""
    (tmp_path / "closing").mkdir()
    inbox = os.open(tmp_path, os.O_RDONLY)
    try:
        os.close(discovery.open_closing(inbox))
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
        with pytest.raises(PermissionError, match="not the agent's"):
            discovery.open_closing(inbox)
    finally:
        os.close(inbox)


def test_a_death_where_the_agent_may_not_write_is_left_to_it(tmp_path: Path) -> None:
    """Without permission to append, the finding is told to the caller, who records it himself."""
    writer = Writer(tmp_path, "s", "w", numbered=False)
    writer.open()
    assert writer.path is not None
    slot_path = writer.path.with_suffix(".slot")
    dead = tmp_path / "gone" / writer.path.name
    dead.parent.mkdir()
    dead.with_suffix(".slot").write_bytes(slot_path.read_bytes())
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        watch = segments.SegmentWatch(str(dead))
        assert watch.check(fd, 1.0, 1000) is True
        assert watch.died
        assert watch.check(fd, 2.0, 2000) is False
    finally:
        os.close(fd)


def test_a_held_segment_is_alive(tmp_path: Path) -> None:
    """As long as its writer holds the lock, a segment is neither dead nor to be retired."""
    writer = Writer(tmp_path, "s", "w", numbered=False)
    writer.open()
    assert writer.path is not None
    fd = os.open(writer.path, os.O_RDONLY)
    try:
        watch = segments.SegmentWatch(str(writer.path))
        assert watch.check(fd, 1.0, 1000) is False
        assert watch.locked_by_writer
        assert not watch.wants_to_retire(1e9, 1e9, 60.0)
        assert watch.read_slot().pid == os.getpid()
    finally:
        os.close(fd)


def test_a_damaged_slot_is_no_slot(tmp_path: Path) -> None:
    """What a slot said last holds until it can be read again."""
    path = tmp_path / "s~w~0123456789abcdef.jsonl"
    watch = segments.SegmentWatch(str(path))
    path.with_suffix(".slot").write_bytes(slot.pack(slot.Slot(pid=7)))
    assert watch.read_slot().pid == 7
    path.with_suffix(".slot").write_bytes(b"x" * 10)
    assert watch.read_slot().pid == 7


def test_the_kept_tail_is_the_newest(tmp_path: Path) -> None:
    """Beyond the budget the oldest go first, and no more than must."""
    kept = []
    for number in range(4):
        path = tmp_path / f"{number}"
        path.write_bytes(b"x" * 10)
        fd = os.open(path, os.O_RDONLY)
        kept.append(Kept(fd, str(path), 10, (number + 1) * int(time.time())))
    out = over_budget(kept, 25, 256)
    for one in out:
        one.unlink()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    for one in kept:
        os.close(one.fd)


async def test_a_planted_fifo_holds_nobody_up(tmp_path: Path, collector: FakeCollector) -> None:
    """A FIFO named like a slot is ignored: its segment and every other file are read."""
    site = Site(tmp_path, collector)
    os.mkfifo(site.inbox / "y~w~0123456789abcdef.slot")
    (site.inbox / "y~w~0123456789abcdef.jsonl").write_text('{"message":"beside a fifo"}\n')
    site.write("a.log", "elsewhere\n")
    async with site.agent():
        await collector.until(
            lambda: {"beside a fifo", "elsewhere"} <= set(collector.database.messages())
        )
