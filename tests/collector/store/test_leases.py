"""One holder at a time, by the row's lock and not by the clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.store import leases
from outrider_collector.store.connect import connect
from outrider_collector.store.leases import Lease, LeaseLost

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def test_a_lease_that_is_held_is_not_given(
    database_url: str, connection: AsyncConnection
) -> None:
    """The second taker gets nothing while the first renews; after its release it does."""
    first = await leases.take(connection, "evaluator", "a", 60)
    assert first == Lease("evaluator", "a", 1)
    async with await connect(database_url, application_name="test") as other:
        assert await leases.take(other, "evaluator", "b", 60) is None
        assert await leases.renew(connection, first, 60)
        await leases.release(connection, first)
        second = await leases.take(other, "evaluator", "b", 60)
        assert second is not None
        assert second.epoch == 2
        assert not await leases.renew(connection, first, 60)


async def test_the_lease_of_a_dead_backend_is_free_at_once(
    database_url: str, connection: AsyncConnection
) -> None:
    """After kill -9 nobody waits for the expiry."""
    async with await connect(database_url, application_name="test") as dying:
        assert await leases.take(dying, "evaluator", "a", 3600)
    async with asyncio.timeout(10):
        while (lease := await leases.take(connection, "evaluator", "b", 60)) is None:
            await asyncio.sleep(0.01)

    assert lease.epoch == 2


async def test_a_takeover_ends_the_old_holder(
    database_url: str, connection: AsyncConnection
) -> None:
    """An expired holder that is still connected loses its backend before the epoch moves."""
    async with await connect(database_url, application_name="test") as frozen:
        old = await leases.take(frozen, "evaluator", "a", 0)
        assert old is not None
        await frozen.execute("begin")
        await leases.hold(frozen, old)
        new = await leases.take(connection, "evaluator", "b", 60)
        assert new == Lease("evaluator", "b", 2)
        with pytest.raises(psycopg.OperationalError):
            await frozen.execute("commit")


async def test_a_transaction_of_a_lost_lease_stores_nothing(
    database_url: str, connection: AsyncConnection
) -> None:
    """hold() fails in whoever wakes after a takeover."""
    old = await leases.take(connection, "evaluator", "a", 0)
    assert old is not None
    await connection.execute("update leases set backend_pid = null")
    async with await connect(database_url, application_name="test") as other:
        assert await leases.take(other, "evaluator", "b", 60)
    with pytest.raises(LeaseLost):
        async with connection.transaction():
            await leases.hold(connection, old)


async def test_a_taker_without_the_right_to_terminate_waits_for_the_transaction(
    database_url: str, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row's lock alone keeps two from writing: the taker waits for the open transaction."""

    async def refuse(*_: object) -> None:
        return

    monkeypatch.setattr(leases, "_terminate", refuse)
    old = await leases.take(connection, "evaluator", "a", 0)
    assert old is not None
    async with await connect(database_url, application_name="test") as other:
        async with connection.transaction():
            await leases.hold(connection, old)
            taking = asyncio.create_task(leases.take(other, "evaluator", "b", 60))
            done, _ = await asyncio.wait([taking], timeout=0.3)
            assert not done
        new = await taking
    assert new is not None
    assert new.epoch == 2


async def test_any_name_can_be_leased(connection: AsyncConnection) -> None:
    """A lease that has no row yet gets one."""
    assert await leases.take(connection, "something new", "a", 1)
