"""An agent with streams, on a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.store import agents
from outrider_collector.store.connect import connect
from tests.collector.store.making import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the owner to the test's database."""
    opened = await connect(database_url, application_name="outrider test")
    yield opened
    await opened.close()


@pytest.fixture
async def store(database_url: str, connection: AsyncConnection) -> AsyncIterator[Store]:
    """An enrolled agent with a session and streams 1 and 2."""
    agent, _ = await agents.enroll(connection, agents.DEFAULT_TEAM, "web-1")
    session = await agents.begin_session(connection, agent, instance=b"i" * 16)
    made = Store(database_url, connection, agent, session)
    await made.open(1, 2)
    yield made
    for writer in made.writers:
        await writer.close()


@pytest.fixture
def beside(database_url: str) -> Iterator[psycopg.Connection]:
    """A blocking connection, for what must happen while the event loop stands still."""
    with psycopg.connect(database_url, autocommit=True) as opened:
        yield opened
