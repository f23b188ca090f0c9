"""A pipeline tells the first error and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.store.pipeline import pipeline

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def test_a_connection_that_dies_in_a_pipeline_is_told_once(
    connection: AsyncConnection, beside: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver's own end of the pipeline fails too: that is the same death, and is not said."""

    async def ask() -> None:
        async with pipeline(connection):
            await connection.execute("select 1")
            beside.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
            cursor = await connection.execute("select 2")
            await cursor.fetchone()

    with pytest.raises(psycopg.OperationalError):
        await ask()

    assert connection.closed
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_statement_that_fails_is_the_error(
    connection: AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """What follows it in the pipeline was aborted, which says nothing; the connection goes on."""

    async def ask() -> None:
        async with pipeline(connection):
            cursor = await connection.execute("select 1 / 0")
            await connection.execute("select 1")
            await cursor.fetchone()

    with pytest.raises(psycopg.errors.DivisionByZero):
        await ask()
    async with pipeline(connection):
        cursor = await connection.execute("select 7")

    assert await cursor.fetchone() == (7,)
    assert [record.getMessage() for record in caplog.records] == []


async def test_an_error_that_only_the_end_meets_is_raised(connection: AsyncConnection) -> None:
    """Statements of which nobody asks the result fail at the synchronisation."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pipeline(connection):
            await connection.execute("select 1 / 0")
