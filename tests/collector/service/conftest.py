"""Collectors of a test, ended after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

import outrider
from tests.collector.service import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.collector.service.running import Running


class Start(Protocol):
    """Starts collectors on the test's database."""

    async def __call__(self, **collector: Any) -> Running:
        """Start one; keyword arguments are keys of ``[collector]``."""


@pytest.fixture
async def start(database_url: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Start collectors that share a database and a data directory; all are ended afterwards."""
    started: list[Running] = []

    async def start_one(**collector: Any) -> Running:
        one = await running.start(database_url, tmp_path, **collector)
        started.append(one)
        return one

    yield start_one
    for one in started:
        for agent in one.agents:
            await agent.close()
    for one in started:
        if not one.task.done():
            await one.end()


@pytest.fixture
async def collector(start: Start) -> Running:
    """One collector that serves."""
    return await start()


@pytest.fixture(scope="session", autouse=True)
def _own_inbox(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What collectors log in tests stays with the tests."""
    outrider.init("outrider", "collector", inbox=str(tmp_path_factory.mktemp("inbox")))
