"""Several statements in one round trip, and one error where the first of them failed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection


@asynccontextmanager
async def pipeline(connection: AsyncConnection) -> AsyncIterator[None]:
    """Open the driver's pipeline; what is raised inside is raised, and nothing else is said.

    The driver's own ends with a synchronisation that fails too when the connection has died or a
    statement has failed, and it prints that second error. It is shown no error here, so it raises
    the second instead, and the first, which says what happened, takes its place.
    """
    first: BaseException | None = None
    try:
        async with connection.pipeline():
            try:
                yield
            except BaseException as error:  # noqa: BLE001  it is raised below
                first = error
    except psycopg.Error:
        if first is None:
            raise
    if first is not None:
        raise first
