"""Fixtures of the alert tests: a world with a database, what its channels post to, a terminal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from outrider_collector import config as configuration
from outrider_collector.run import run
from tests.collector.alerts import samples
from tests.collector.alerts.terminal import Terminal
from tests.collector.alerts.world import World
from tests.servers.bot_api import BotApi
from tests.servers.hook import Hook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """Make a world with an agent and a token file for the bot."""
    (tmp_path / "telegram.token").write_text("42:loopback-token-of-the-test-bot\n")
    async with World(database_url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[BotApi]:
    """Run a Bot API without rates: waiting for them has its own tests."""
    async with BotApi(rates=False) as server:
        yield server


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    """Run what a webhook posts to."""
    async with Hook() as server:
        yield server


@pytest.fixture
def terminal(world: World, tmp_path: Path, unused_tcp_port: int) -> Terminal:
    """Write a configuration for the test's database; no collector runs yet."""
    config = tmp_path / "outrider.toml"
    config.write_text(
        f'data_dir = "{tmp_path}"\n[database]\nurl = "{world.url}"\n'
        f'[collector]\nlisten = "127.0.0.1:{unused_tcp_port}"\n'
    )
    return Terminal(config)


@pytest_asyncio.fixture
async def collector(terminal: Terminal) -> AsyncIterator[None]:
    """Run a collector of that configuration."""
    stop, ready = asyncio.Event(), asyncio.Event()
    config = configuration.load(terminal.config, {})
    task = asyncio.create_task(run(config, stop, lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 20)
    yield
    stop.set()
    await asyncio.wait_for(task, 20)


@pytest.fixture
def rules_dir(tmp_path: Path) -> Path:
    """Make a directory with one rule file."""
    directory = tmp_path / "rules"
    directory.mkdir()
    (directory / "workers.toml").write_text(samples.LIVENESS)
    return directory
