"""How a backlog goes on: what `outrider agent status` says of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outrider_agent.account import Account
from outrider_agent.delivery_speed import DeliverySpeed
from outrider_agent.status import _pace
from tests.agent.harness import Site, numbered
from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector

HUGE_BYTES = 200_000_000_000


def test_a_backlog_has_a_pace_and_an_end() -> None:
    """What is delivered and what is written meanwhile both count, over half a minute."""
    speed = DeliverySpeed()
    backlog = 100_000_000_000
    for second in range(100):
        speed.delivered(10_000_000 if second < 60 else 41_000_000)
        backlog -= 40_000_000
        speed.look(float(second), backlog)

    assert speed.bytes_per_s == 41_000_000
    assert speed.left_s == backlog // 40_000_000


def test_nothing_is_said_before_it_is_known_and_no_end_of_what_has_none() -> None:
    """A first look tells no pace; a backlog that grows has no end."""
    speed = DeliverySpeed()
    speed.look(0.0, 1000)
    assert (speed.bytes_per_s, speed.left_s) == (0, 0)
    for second in range(1, 10):
        speed.delivered(5)
        speed.look(float(second), 1000 + second)

    assert (speed.bytes_per_s, speed.left_s) == (5, 0)


def test_a_pace_is_a_sentence() -> None:
    """Of a fresh line on its way nothing is said."""
    pace = Account(
        backlog_bytes=187_000_000_000, delivered_bytes_per_s=41_000_000, backlog_left_s=4560
    )

    assert _pace(pace) == ", 41.0 MB a second, about 1 h 16 min"
    pace.backlog_left_s = 0
    assert _pace(pace) == ", 41.0 MB a second, and it does not shrink"
    pace.backlog_bytes = 2000
    assert _pace(pace) == ""


async def test_a_huge_backlog_holds_up_neither_the_start_nor_fresh_lines_nor_heartbeats(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """With 200 GB to be read, its first lines, those of another file and how far it is behind are
    there as soon as without.
    """
    site = Site(tmp_path, collector)
    old = site.write("old.log", numbered(0, 10_000))
    os.truncate(old, HUGE_BYTES)
    async with site.agent():
        await collector.until(lambda: "line 9999" in collector.database.messages())
        site.write("live.log", "fresh\n")
        await collector.until(lambda: "fresh" in collector.database.messages())
        beats = collector.heartbeats
        await collector.until(lambda: beats and beats[-1].backlog_bytes > HUGE_BYTES // 2)
        site.write("live.log", "fresher\n")
        await collector.until(lambda: "fresher" in collector.database.messages())


def test_a_backlog_is_read_at_its_rate_and_fresh_lines_at_once(tmp_path: Path) -> None:
    """What is behind gets so many bytes a second in all; a line of another file does not wait."""
    host = connected_host(tmp_path, "backfill_bytes_per_s = 500000")
    for name in ("a", "b"):
        host.site.write(f"{name}.log", "x" * 99 + "\n" + ("x" * 99 + "\n") * 40_000)
    host.step(0.3)
    database = host.collector.database
    for _ in range(10):
        host.step(0.01)  # what was read before it was known to be behind
    before = len(database.rows)
    for second in range(1, 5):
        for _ in range(10):
            host.step(0.1)
        host.site.write("live.log", f"fresh {second}\n")
        host.step(0.3)
        host.step(0.2)
        assert f"fresh {second}" in database.messages()
    read_bytes = (len(database.rows) - before) * 100
    host.crash()

    assert 0.7 * 500_000 * 6 < read_bytes < 500_000 * 6 + 600_000
