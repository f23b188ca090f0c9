"""Fixtures of the agent's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.fake_collector import FakeCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    """A fake collector that serves."""
    fake = FakeCollector()
    await fake.start()
    yield fake
    await fake.stop()
