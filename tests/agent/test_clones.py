"""A copied state directory: two processes with one identity, and a collector that says so."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

from outrider_agent import agent, configuration
from outrider_agent.reports import Reports
from tests.agent.harness import Site, looked_anew

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector


async def test_a_copy_enrols_as_an_agent_of_its_own(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The copy says so, asks for a token, and sends its files as streams of its own, marked."""
    original = Site(tmp_path / "one", collector)
    original.write("a.log", "".join(f"line {n}\n" for n in range(10)))
    async with original.agent():
        await collector.until_rows(10)
    (token,) = collector.database.tokens
    copy = Site(tmp_path / "two", collector)
    for made, wanted in ((original.state_dir, copy.state_dir), (original.logs, copy.logs)):
        # As people copy: with what is no file, such as the agent's socket.
        subprocess.run(["cp", "-aT", made, wanted], check=True)
    before = set(collector.database.streams)

    collector.cloned_token = token
    stop = asyncio.Event()
    running = asyncio.create_task(
        agent.run(configuration.load(copy.config_file, {}), Reports(write=copy.said.append), stop)
    )
    await collector.until_rows(20)
    copy.write("a.log", "a new line\n")
    copy.write("b.log", "a new file\n")
    await collector.until_rows(22)
    stop.set()
    await running

    assert len(collector.database.tokens) == 2
    rows = collector.database.rows[10:]
    assert not before & {row.stream for row in rows}
    assert [row.replayed for row in rows] == [True] * 10 + [False] * 2
    (said,) = [line for line in copy.said if "was copied" in line]
    assert str(copy.state_dir) in said
    assert collector.database.gaps == {}
    assert any("was copied" in (row.message or "") for row in collector.database.own_rows)


async def test_a_copy_is_a_copy_once(tmp_path: Path, collector: FakeCollector) -> None:
    """After its next start it is an agent like any other: nothing more is marked or sent again."""
    site = Site(tmp_path, collector)
    site.write("a.log", "one\n")
    async with site.agent():
        await collector.until_rows(1)
    (collector.cloned_token,) = collector.database.tokens
    stop = asyncio.Event()
    running = asyncio.create_task(
        agent.run(configuration.load(site.config_file, {}), Reports(write=site.said.append), stop)
    )
    await collector.until_rows(2)
    stop.set()
    await running
    site.write("b.log", "two\n")
    async with site.agent() as running_again:
        await collector.until_rows(3)
        await looked_anew(running_again)

    assert [row.replayed for row in collector.database.rows] == [False, True, False]
