"""When files are looked at: soon after they grew, rarely while they rest, and never too late."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outrider_agent.discovery import Found
from outrider_agent.followed import Followed
from outrider_agent.schedule import QUIET_LOOK_S, WHOLE_LOOK_S, Schedule, on_grid
from outrider_agent.tail import Look
from tests.agent.stepped import new_host
from tests.agent.test_tail import tail_of

if TYPE_CHECKING:
    from pathlib import Path

START_S = 1_000.0
A_MOMENT_S = 0.001


def followed_at(path: Path) -> Followed:
    """A file that is followed and was read to its end."""
    tail = tail_of(path)
    assert tail.look(1, START_S, may_read=True) is Look.READ
    status = os.fstat(tail.fd)
    return Followed(tail, Found(str(path), None), (status.st_dev, status.st_ino))


def at_rest(path: Path) -> tuple[Schedule, Followed, float]:
    """A schedule of one file that rests, and the time after a round that looked at all of it."""
    schedule, followed = Schedule(), followed_at(path)
    assert followed.tail.look(1, START_S, may_read=True) is Look.NOTHING
    followed.interval_s = WHOLE_LOOK_S
    schedule.later(followed, START_S)
    now = on_grid(START_S, WHOLE_LOOK_S) + A_MOMENT_S
    assert schedule.take_awake(now, 1) == []
    return schedule, followed, now


def rounds_until_awake(schedule: Schedule, now: float) -> float:
    """Seconds until a round finds that something changed; the test fails where none does."""
    for number in range(1, 100):
        later = now + number * QUIET_LOOK_S
        if schedule.take_awake(later, 1):
            return later - now
    raise AssertionError("no round found it")


def test_growth_is_found_in_the_next_round(tmp_path: Path) -> None:
    """What a resting file gets is seen 100 ms later at most."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    schedule, _, now = at_rest(path)
    with path.open("ab") as out:
        out.write(b"two\n")

    assert rounds_until_awake(schedule, now) == pytest.approx(QUIET_LOOK_S)


def test_what_keeps_its_size_is_found_by_its_time(tmp_path: Path) -> None:
    """A file that is rewritten at its very size is looked at within 200 ms."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    schedule, followed, now = at_rest(path)
    path.write_bytes(b"two\n")
    os.utime(path, ns=(1, followed.tail.mtime_ns + 1))

    assert rounds_until_awake(schedule, now) <= WHOLE_LOOK_S + A_MOMENT_S
    assert followed.tail.look(1, now, may_read=True) is Look.REPLACED


def test_room_that_a_writer_prepared_is_looked_at_in_each_round(tmp_path: Path) -> None:
    """What is written over NULs, which changes no size and need not change a time, is seen."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n" + bytes(100))
    schedule, followed, now = at_rest(path)
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, b"two\n", 4)
    os.utime(fd, ns=(1, followed.tail.mtime_ns))
    os.close(fd)

    assert rounds_until_awake(schedule, now) == pytest.approx(QUIET_LOOK_S)


def test_a_file_that_grows_all_the_time_is_looked_at_every_25_ms(tmp_path: Path) -> None:
    """The first look after growth comes after 10 ms, the others at multiples of 25 ms."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    schedule, followed, now = Schedule(), followed_at(path), START_S
    waits_ms = []
    for _ in range(4):
        schedule.again(followed, now)
        waits_ms.append(round((schedule.next() - now) * 1000))
        now = schedule.next()
        assert schedule.take_due(now) == [followed]

    assert waits_ms == [10, 15, 25, 25]


def test_a_file_that_paused_is_looked_at_after_10_ms_again(tmp_path: Path) -> None:
    """A look that finds nothing ends the rhythm of a file that grows all the time."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    schedule, followed = Schedule(), followed_at(path)
    schedule.again(followed, START_S)
    schedule.again(followed, START_S)
    schedule.later(followed, START_S)
    schedule.again(followed, START_S)

    assert schedule.next() == pytest.approx(START_S + 0.010)


def test_a_void_appointment_wakes_nobody(tmp_path: Path) -> None:
    """Of several appointments the last one counts, also for when the next turn is."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    schedule, followed = Schedule(), followed_at(path)
    schedule.at(followed, START_S + 1)
    schedule.at(followed, START_S + 2)

    assert schedule.next() == START_S + 2
    assert schedule.take_due(START_S + 1.5) == []


def test_a_batch_takes_along_what_was_written_until_it_leaves(tmp_path: Path) -> None:
    """A stream that grows has the lines of the last 25 ms in the batch that is due."""
    host = new_host(tmp_path)
    path = host.site.write("a.log", "one\n")
    host.collector.settings.flush_interval_ms = 100
    host.start()
    host.connect()
    host.settle()
    with path.open("a", buffering=1) as out:
        for number, seconds in enumerate((0.11, 0.02, 0.07)):
            out.write(f"early {number}\n")
            host.step(seconds)
        before = host.collector.database.messages()
        out.write("late\n")
        # The batch is due 100 ms after its first line was read; the next look is not due yet.
        host.step(0.01)

    assert before == ["one"]
    after = ["one", "early 0", "early 1", "early 2", "late"]
    assert host.collector.database.messages() == after
    host.crash()
