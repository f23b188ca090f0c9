"""Fixtures of the agent's tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.agent.fake_collector import FakeCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    """A fake collector that serves."""
    fake = FakeCollector()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def leases() -> Iterator[None]:
    """Ignore the signal of a broken lease, as the agent does."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)
