"""A Bot API, and a Telegram channel that speaks to it; other channels' tests make their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.alerting.channels.notices import telegram
from tests.servers.bot_api import BotApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outrider_alerting.channels.telegram import TelegramChannel


@pytest_asyncio.fixture
async def api() -> AsyncIterator[BotApi]:
    """Run a Bot API without rates: the limiter has its own tests."""
    async with BotApi(rates=False) as server:
        yield server


@pytest_asyncio.fixture
async def channel(api: BotApi) -> AsyncIterator[TelegramChannel]:
    """Make a channel that speaks to the server."""
    made = telegram(api)
    yield made
    await made.close()
