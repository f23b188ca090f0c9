"""Records that found no room in the inbox: gaps with their number, once."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from outrider.inbox import slot
from tests.agent.harness import Site, looked_anew
from tests.agent.sdk_workers import worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector


async def test_a_worker_that_found_no_room_even_to_count_is_a_gap(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """An empty slot is a gap of an unknown number, once, and its segment is taken away."""
    site = Site(tmp_path, collector)
    path = site.inbox / "pay~w1~0123456789abcdef.jsonl"
    path.touch()
    path.with_suffix(".slot").touch()
    async with site.agent():
        await collector.until(lambda: bool(collector.database.gaps))
        await collector.until(lambda: any(s.closed for s in collector.database.streams.values()))
    async with site.agent() as agent:
        await collector.until(lambda: len(collector.heartbeats) > 3)
        await looked_anew(agent)

    ((_, gap),) = collector.database.gaps.values()
    assert (gap.reason, gap.records, gap.at_least) == ("inbox_full", 0, True)
    assert not list(site.inbox.glob("pay~*"))


async def test_a_worker_that_only_could_count_is_a_gap(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """No record of it found room, its slot did: what it says is told, though the segment is empty.

    So it is over a restart of the agent, and where the worker still runs.
    """
    site = Site(tmp_path, collector)
    path = site.inbox / "pay~w1~0123456789abcdef.jsonl"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_SH)

    def dropped(records: int) -> None:
        said = slot.pack(slot.Slot(os.getpid(), 1, dropped=records))
        path.with_suffix(".slot").write_bytes(said)

    dropped(3)
    async with site.agent():
        await collector.until(lambda: len(collector.database.gaps) == 1)
    dropped(5)
    async with site.agent():
        await collector.until(lambda: len(collector.database.gaps) == 2)
    os.close(fd)

    assert sorted(gap.records for _, gap in collector.database.gaps.values()) == [2, 3]
    assert {gap.reason for _, gap in collector.database.gaps.values()} == {"inbox_full"}


async def test_a_slot_of_garbage_is_no_exact_loss(tmp_path: Path, collector: FakeCollector) -> None:
    """More records than can have been dropped are an unknown number of them."""
    site = Site(tmp_path, collector)
    path = site.inbox / "pay~w1~0123456789abcdef.jsonl"
    path.touch()
    raw = bytearray(b"\xff" * slot.SIZE)
    raw[:4], raw[44:46] = slot.MAGIC, bytes([slot.VERSION, 0])
    path.with_suffix(".slot").write_bytes(raw)
    async with site.agent():
        await collector.until(lambda: len(collector.database.gaps) == 1)

    ((_, gap),) = collector.database.gaps.values()
    assert (gap.reason, gap.at_least, gap.records) == ("inbox_full", True, 0)


FULL = """
import os, resource, signal, sys
from pathlib import Path
from outrider.inbox.writer import Writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
mine = Writer(Path(os.environ["OUTRIDER_INBOX"]), "pay", "w1", numbered=False)
mine.open()
mine.append(b"before".ljust(80, b".") + b"\\n")
print("ready", flush=True)
for line in sys.stdin:
    room, records = line.split()
    size = mine.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size if room == "no" else 1 << 30, -1))
    for _ in range(int(records)):
        mine.append(b"a record\\n")
    print("done", flush=True)
mine.end()
"""


async def test_records_that_found_no_room_are_gaps_once(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What a worker could not write becomes gap rows that add up, whatever is restarted."""
    site = Site(tmp_path, collector, agent="retire_after_s = 1")
    process = worker(site.inbox, FULL)

    def write(room: str, records: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{room} {records}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    def lost() -> list[int]:
        return [gap.records for _, gap in collector.database.gaps.values()]

    async with site.agent():
        await collector.until_rows(1)
        write("no", 3)
        # Without a further record: a watermark brings it.
        await collector.until(lambda: lost() == [3])
        collector.acknowledge = False
        write("no", 2)
        await collector.until(lambda: any(b.gaps for b in collector.batches[-1:]))
    # The agent was stopped before this gap was stored: it comes again, under the same name.
    collector.acknowledge = True
    async with site.agent():
        await collector.until(lambda: lost() == [3, 2])
        write("yes", 1)
        await collector.until(lambda: "a record" in collector.database.messages())
    process.communicate()
    # The next process takes the segment over, and the count with it.
    process = worker(site.inbox, FULL)
    write("no", 4)
    process.communicate()
    async with site.agent():
        await collector.until(lambda: lost() == [3, 2, 4])
        await collector.until(
            lambda: any(
                s.closed for s in collector.database.streams.values() if s.info.service == "pay"
            )
        )
    async with site.agent() as agent:
        await collector.until(lambda: len(collector.heartbeats) > 3)
        await looked_anew(agent)

    assert lost() == [3, 2, 4]
    reasons = {(gap.reason, gap.at_least) for _, gap in collector.database.gaps.values()}
    assert reasons == {("inbox_full", False)}
