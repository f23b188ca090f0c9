"""Connections that are worse than broken: half open, or slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.agent.harness import Site, numbered
from tests.chaos.proxy import PortProxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector


def behind(proxy: PortProxy, root: Path, collector: FakeCollector) -> Site:
    """A host whose agent looks for the collector at the proxy."""
    site = Site(root, collector)
    text = site.config_file.read_text()
    site.config_file.write_text(text.replace(collector.address, f"127.0.0.1:{proxy.port}"))
    return site


async def test_a_half_open_connection_is_left_and_nothing_is_lost(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Where packets vanish and nobody closes, heartbeats that are not answered tell the agent: it
    says so and connects anew; each line is there once.
    """
    async with PortProxy(collector.port) as proxy:
        site = behind(proxy, tmp_path, collector)
        async with site.agent():
            site.write("a.log", numbered(0, 10))
            await collector.until_rows(10)
            sessions = len(collector.hellos)
            proxy.strand()
            site.write("a.log", numbered(10, 20))
            await collector.until_rows(20, 40)

    assert len(collector.hellos) > sessions
    assert any("heartbeats are not answered" in said for said in site.said)
    assert collector.database.messages() == [f"line {n}" for n in range(20)]


async def test_slow_acknowledgements_cost_no_order_and_stop_nothing(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """While an answer is under way further batches are sent: they are many before the first
    acknowledgement, and they are stored in their order, without a rewind.
    """
    async with PortProxy(collector.port) as proxy:
        site = behind(proxy, tmp_path, collector)
        async with site.agent():
            site.write("a.log", numbered(0, 10))
            await collector.until_rows(10)
            proxy.answering_after_s = 1.0
            known = len(collector.batches)
            for part in range(1, 20):
                site.write("a.log", numbered(part * 10, part * 10 + 10))
                await asyncio.sleep(0.05)
            under_way = len(collector.batches) - known
            await collector.until_rows(200)

    assert under_way >= 5
    assert collector.rewinds == 0
    assert collector.database.messages() == [f"line {n}" for n in range(200)]
