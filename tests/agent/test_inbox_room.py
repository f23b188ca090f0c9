"""An inbox that is full by the agent's limits: workers are told, and told again when it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outrider.inbox import room
from outrider.inbox.writer import Writer
from outrider_agent.configuration import AgentConfig
from outrider_agent.inbox import is_full
from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.stepped import Stepped

LINE = b'{"message":"' + b"x" * 500 + b'"}\n'


@pytest.mark.parametrize(
    ("waiting", "free", "was_full", "expected"),
    [
        (1000, None, False, False),
        (1001, None, False, True),
        (901, None, True, True),
        (900, None, True, False),
        (0, 99, False, True),
        (0, 100, False, False),
        (0, 109, True, True),
        (0, 110, True, False),
    ],
)
def test_full_ends_with_a_tenth_more_room(
    waiting: int, free: int | None, was_full: bool, expected: bool
) -> None:
    """So that nobody stops and goes with every record."""
    limits = AgentConfig(inbox_bytes=1000, keep_free_bytes=100)

    assert is_full(waiting, free, limits, was_full=was_full) is expected


def beat(host: Stepped) -> None:
    """Read the slots, as a heartbeat does, and let a second pass."""
    assert host.agent is not None
    for worker in host.agent._files.picture.workers:
        if worker.segment is not None:
            worker.segment.read_slot()
    host.step(1.0)


def test_the_limit_holds_before_any_welcome(tmp_path: Path) -> None:
    """An agent that has found no collector since its start stops workers as well."""
    host = connected_host(tmp_path, "inbox_bytes = 400000")
    host.crash()
    host.start()
    worker = Writer(host.site.inbox, "pay", "w1", numbered=True)
    worker.open()
    for _ in range(30):
        for _ in range(100):
            worker.append(LINE)
        host.step(1.0)

    assert (host.site.inbox / room.FULL).exists()
    assert worker.dropped > 0
    host.crash()


def test_workers_stop_at_the_limit_and_go_on(tmp_path: Path) -> None:
    """Each record is a row or counted in a gap, through an outage that fills the inbox."""
    host = connected_host(tmp_path, "inbox_bytes = 400000")
    worker = Writer(host.site.inbox, "pay", "w1", numbered=True)
    worker.open()
    host.settle()
    host.disconnect()
    written = 0
    for _ in range(30):
        written += sum(worker.append(LINE) for _ in range(100))
        beat(host)
    assert (host.site.inbox / room.FULL).exists()
    assert any("workers write no more for now" in line for line in host.said)
    assert written < 3_000 and worker.dropped == 3_000 - written
    assert host.agent is not None
    pending = len(host.agent._files._journal.gaps)
    host.connect()
    host.settle()
    assert not (host.site.inbox / room.FULL).exists()
    assert worker.append(LINE)
    for _ in range(3):
        beat(host)
        host.settle()
    host.crash()
    database = host.collector.database
    rows = [row for row in database.rows if row.message and "xxx" in row.message]

    assert len(rows) == written + 1
    assert sum(gap.records for _, gap in database.gaps.values()) == worker.dropped
    assert {gap.reason for _, gap in database.gaps.values()} == {"inbox_full"}
    # While none is stored they do not become one a second.
    assert 8 < pending <= 12
