"""Fixtures of the alert tests: a world with a database, and a Bot API for its channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

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
