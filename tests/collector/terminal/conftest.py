"""A connection that writes as the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection of the database's owner, in autocommit mode."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        await conn.execute("set timezone = 'UTC'")
        yield conn
