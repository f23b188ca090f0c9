"""Heartbeats: processes as they are, one entry for each worker, the clock of the database."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from outrider.inbox import names, slot
from outrider.instants import from_unix_us
from outrider_agent import control_groups, processes
from outrider_agent.clock import MAX_ROUND_TRIP_US, DatabaseClock
from outrider_agent.control_groups import ControlGroup, KillWatch
from outrider_agent.expected import Expected, Roster
from outrider_agent.heartbeats import Heartbeats
from outrider_agent.picture import Picture, WorkerPicture
from outrider_agent.segments import SegmentWatch
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT = names.SegmentName("s", "w", "0" * 16).filename


def segment(directory: Path, said: slot.Slot, **state: bool | int) -> SegmentWatch:
    """Return what is known of a segment with this slot."""
    directory.mkdir(parents=True, exist_ok=True)
    watch = SegmentWatch(str(directory / SEGMENT))
    (directory / names.slot_filename(SEGMENT)).write_bytes(slot.pack(said))
    for name, value in state.items():
        setattr(watch, name, value)
    return watch


def workers(*pictures: WorkerPicture) -> list[ingest_pb2.WorkerHeartbeat]:
    """Return what a heartbeat says of these."""
    picture = Picture(workers=pictures)
    beats = Heartbeats(lambda: picture, lambda: 1000, lambda: 0, lambda: 10.0)
    return list(beats.make(1, stopping=False).workers)


def test_a_process_is_measured() -> None:
    """Memory, CPU, descriptors and threads of this very process."""
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = processes.usage(os.getpid())
    ended.set()
    for thread in threads:
        thread.join()

    assert found is not None
    assert found.rss_bytes > 5_000_000
    assert found.threads >= 4
    assert found.open_files >= 3
    assert found.cpu_ms > 0


def test_a_process_that_is_not_there() -> None:
    """A pid without a process has no usage, and that is no error."""
    assert processes.usage(2**22 + 1) is None


def test_a_name_with_spaces_and_parentheses_is_no_trap(tmp_path: Path) -> None:
    """The fields after a process's name are found whatever the name is."""
    directory = tmp_path / "7"
    directory.mkdir()
    fields = ["S", *(str(n) for n in range(4, 53))]
    (directory / "stat").write_text(f"7 (a) b (c)) {' '.join(fields)}")
    found = processes.usage(7, tmp_path)

    assert found is not None
    assert found.threads == 20


@pytest.mark.parametrize(
    ("flags", "note", "state", "end", "code"),
    [
        (0, "", {"locked_by_writer": True}, ingest_pb2.WORKER_END_RUNNING, 0),
        (slot.ENDED, "", {"ended_us": 5}, ingest_pb2.WORKER_END_CLEAN, 0),
        (slot.CONTINUED, "", {"ended_us": 5}, ingest_pb2.WORKER_END_CLEAN, 0),
        (0, "", {"ended_us": 5, "died": True}, ingest_pb2.WORKER_END_DIED, 0),
        (0, "", {"ended_us": 5, "said_goodbye": True}, ingest_pb2.WORKER_END_CLEAN, 0),
        (slot.ENDED, "exit:0", {"ended_us": 5}, ingest_pb2.WORKER_END_CLEAN, 0),
        (slot.ENDED, "exit:3", {"ended_us": 5}, ingest_pb2.WORKER_END_EXIT_CODE, 3),
        (slot.ENDED, "signal:9", {"locked_by_writer": True}, ingest_pb2.WORKER_END_SIGNAL, 9),
        (slot.ENDED, "oom:9", {"locked_by_writer": True}, ingest_pb2.WORKER_END_OUT_OF_MEMORY, 9),
        (0, "exit:3", {"locked_by_writer": True}, ingest_pb2.WORKER_END_RUNNING, 0),
    ],
)
def test_how_a_worker_ended(
    tmp_path: Path, flags: int, note: str, state: dict[str, int], end: int, code: int
) -> None:
    """The slot's word, the lock, and what `outrider run` noted decide what is told."""
    watch = segment(tmp_path, slot.Slot(pid=os.getpid(), flags=flags, note=note), **state)
    (told,) = workers(WorkerPicture("s", "w", 0, 0, watch))

    assert (told.end, told.end_code) == (end, code)


def test_the_childs_process_is_measured_and_not_its_wrapper(tmp_path: Path) -> None:
    """While `outrider run` notes a pid, that is the worker."""
    said = slot.Slot(pid=1, note=f"pid:{os.getpid()}", progress_us=99)
    watch = segment(tmp_path, said, locked_by_writer=True)
    (told,) = workers(WorkerPicture("s", "w", 0, 0, watch))

    assert told.pid == os.getpid()
    assert told.usage.rss_bytes > 0
    assert (told.progress_us, told.progress_note) == (0, "")


class Clocks:
    """A wall clock that somebody sets, and a monotonic one."""

    def __init__(self) -> None:
        self.unix_us = 10**15
        self.now_s = 500.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.unix_us += int(seconds * 1e6)
        self.now_s += seconds


def test_the_age_of_progress_is_blind_to_a_clock_that_is_set(tmp_path: Path) -> None:
    """It grows with time alone, and is never more than the time since the look before."""
    clocks = Clocks()
    watch = segment(tmp_path, slot.Slot(pid=1, progress_us=clocks.unix_us), locked_by_writer=True)
    line_us = from_unix_us(clocks.unix_us)
    picture = Picture(workers=(WorkerPicture("s", "w", 0, line_us, watch),))
    beats = Heartbeats(
        lambda: picture, lambda: from_unix_us(clocks.unix_us), lambda: 0, lambda: 10.0,
        lambda: clocks.now_s,
    )  # fmt: skip

    def age_ms() -> int:
        return beats.make(1, stopping=False).workers[0].progress_age_ms

    clocks.sleep(3)
    assert age_ms() == 3_000
    clocks.unix_us += 86_400_000_000
    clocks.sleep(4)
    assert age_ms() == 7_000
    # Reported a second before the clock was set a day back, ten seconds after the last look.
    clocks.sleep(9)
    segment(tmp_path, slot.Slot(pid=1, progress_us=clocks.unix_us, every_s=40))
    clocks.unix_us -= 86_400_000_000
    clocks.sleep(1)
    assert age_ms() == 0
    clocks.sleep(5)
    assert age_ms() == 5_000
    (told,) = beats.make(1, stopping=False).workers
    assert told.progress_within_ms == 40_000
    assert told.last_line_age_ms == 22_000


def test_a_process_that_a_signal_holds(tmp_path: Path) -> None:
    """A stopped process is alive, and told to be stopped."""
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        said = slot.Slot(pid=process.pid)
        (told,) = workers(WorkerPicture("s", "w", 0, 0, segment(
            tmp_path, said, locked_by_writer=True)))  # fmt: skip
        process.kill()

    assert told.end == ingest_pb2.WORKER_END_RUNNING
    assert told.usage.is_stopped


def test_a_death_for_want_of_memory_is_told(tmp_path: Path) -> None:
    """A count that rose between the last sign of life and the death says so; later ones do not."""
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 9\noom_kill 2\n")
    watch, group = KillWatch(), ControlGroup(tmp_path / "memory.max", events)
    assert not watch.died()
    watch.lives(group)
    events.write_text("low 0\noom 9\noom_kill 3\n")
    assert watch.died()
    watch.lives(group)
    assert not watch.died()
    events.write_text("low 0\noom 9\noom_kill 4\n")
    assert not watch.died()
    watch.lives(group)
    events.unlink()
    assert not watch.died()


def test_control_groups_of_both_versions(tmp_path: Path) -> None:
    """The memory tree of version 1 where there is one, else the tree of version 2."""
    (tmp_path / "7").mkdir()
    (tmp_path / "8").mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/system.slice/w.service\n")
    (tmp_path / "8" / "cgroup").write_text("4:cpu,memory:/w\n0::/\n")
    for name, limit in (("system.slice/w.service/memory.max", "5000"),
                        ("memory/w/memory.limit_in_bytes", "9223372036854771712")):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{limit}\n")
    two, one = (control_groups.of(pid, tmp_path, tmp_path) for pid in (7, 8))

    assert two is not None and one is not None
    assert (two.limit_bytes(), one.limit_bytes()) == (5_000, 0)
    assert two.kills() is None
    assert control_groups.of(9, tmp_path, tmp_path) is None


def test_a_worker_with_two_files_is_one_worker(tmp_path: Path) -> None:
    """The running process is told rather than the one before it, with the backlog of both."""
    old = segment(tmp_path / "old", slot.Slot(pid=1, flags=slot.ENDED), ended_us=5)
    new = segment(tmp_path / "new", slot.Slot(pid=os.getpid()), locked_by_writer=True)
    (told,) = workers(
        WorkerPicture("s", "w", 10, 100, old),
        WorkerPicture("s", "w", 5, 50, new),
    )

    assert (told.end, told.pid) == (ingest_pb2.WORKER_END_RUNNING, os.getpid())
    assert (told.backlog_bytes, told.last_line_us) == (15, 100)


def test_a_worker_known_by_its_file_alone() -> None:
    """For a plain log file no process is claimed: only when its last line came."""
    (told,) = workers(WorkerPicture("s", "w", 0, 77, None))

    assert (told.end, told.pid, told.last_line_us) == (ingest_pb2.WORKER_END_UNSPECIFIED, 0, 77)


def test_an_expected_worker_that_was_never_seen_is_told_after_its_time() -> None:
    """Not before its time, not once anything of it was here, and not when nobody expects it."""
    now_s, here = [100.0], [Picture()]
    roster = Roster()
    roster.expect([Expected("shop", "pay", 60.0), Expected("shop", "mail", 0.0)], now_s[0])
    beats = Heartbeats(
        lambda: here[0], lambda: 1000, lambda: 0, lambda: 10.0, lambda: now_s[0], expected=roster
    )

    def missing() -> list[str]:
        made = beats.make(1, stopping=False).workers
        never = ingest_pb2.WORKER_END_NEVER_STARTED
        return [worker.worker for worker in made if worker.end == never]

    assert missing() == ["mail"]
    now_s[0] += 60
    assert missing() == ["pay", "mail"]
    here[0] = Picture(workers=(WorkerPicture("shop", "pay", 0, 0, None),))
    assert missing() == ["mail"]
    here[0] = Picture()
    assert missing() == ["mail"]
    roster.expect([Expected("shop", "pay", 0.0)], now_s[0])
    assert missing() == []


def test_the_clock_is_the_midpoint_of_the_quickest_answer() -> None:
    """Half of the way there and back is taken off; a slower answer says less and is not taken."""
    clock = DatabaseClock()

    assert clock.sample(1000, 501_100, 1200)
    assert clock.offset_us == 500_000
    assert not clock.sample(2000, 9_000_000, 90_000)
    assert clock.offset_us == 500_000


def test_answers_that_cannot_be_are_no_clock() -> None:
    """A clock set back between question and answer, or a very late answer, changes nothing."""
    clock = DatabaseClock()

    assert not clock.sample(1000, 5000, 900)
    assert not clock.sample(0, 5000, MAX_ROUND_TRIP_US + 1)
    assert clock.offset_us == 0


def test_an_old_measurement_gives_way() -> None:
    """When all answers get slower, the clock follows them after a while."""
    clock = DatabaseClock()
    clock.sample(0, 1000, 100)
    changed = [clock.sample(0, 50_000, 10_000) for _ in range(60)]

    assert any(changed)
    assert clock.offset_us == 45_000
