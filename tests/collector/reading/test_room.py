"""How full the store is, as `status` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_collector.store.reading import fleet, health
from outrider_collector.terminal.status_text import status_lines
from tests.collector.reading.test_standstill import collector

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def said(reader: AsyncConnection[Any], *, colours: bool = False) -> list[str]:
    """The lines about the disk."""
    view, found = await fleet.overview(reader), await health.collectors(reader)
    lines = status_lines(view, [], found, await health.store(reader), colours=colours)
    return [line for line in lines if "Disk:" in line]


async def test_the_disk_has_a_line_once_a_collector_has_measured(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """In red where agents are held back; what a service is called there does nothing."""
    await collector(owner, "one", 0, stopped=False)
    assert await said(reader) == []
    await collector(owner, "two", 0, stopped=False, disk_said="9 of 10 GB", disk_level="shed")
    await collector(owner, "gone", 0, stopped=True, disk_said="no", disk_level="hold")
    assert await said(reader) == ["Disk: 9 of 10 GB."]
    await collector(owner, "three", 0, stopped=False, disk_said="x\x1b[2J", disk_level="hold")
    (line,) = await said(reader, colours=True)
    assert line == "\x1b[31mDisk: x\N{SYMBOL FOR ESCAPE}[2J.\x1b[0m"
