"""The ingest transaction when connections die, answers are lost and the database has trouble."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider.errors import Fault, Reason
from outrider_collector.store import feed
from outrider_collector.store import writer as writer_module
from outrider_collector.store.connect import INGEST_ROLE
from outrider_collector.store.writer import StoreRegressed
from tests.collector.store.making import Store, commit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def _swallow_answer(connection: psycopg.AsyncConnection) -> None:
    """Take the server's answer off the wire and cut it."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        wire.settimeout(10)
        assert wire.recv(1 << 16)
        wire.shutdown(socket.SHUT_RDWR)
        wire.setblocking(False)


async def test_a_lost_answer_to_commit_stores_nothing_twice(
    store: Store, beside: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies after COMMIT took effect: the same batches are acknowledged again."""
    writer = store.writer()
    await writer.open()
    connection = writer._connection
    assert connection is not None

    def lose(name: str) -> None:
        assert name == "COMMIT sent/answer"
        _swallow_answer(connection)
        assert beside.execute("select count(*) from feed").fetchone() == (1,)

    monkeypatch.setattr(feed, "failpoint", lose)
    batches = [store.batch(0, [b"one"]), store.batch(0, [b"two"], stream=2)]
    with pytest.raises(Fault) as caught:
        await commit(writer, *batches)
    assert caught.value.reason is Reason.STORE_DOWN
    monkeypatch.undo()
    result = await commit(writer, *batches)

    assert result.acked == {1: 10, 2: 10}
    assert result.position == await feed.newest(store.connection)
    assert await store.messages() == ["one", "two"]
    assert await store.value("select count(*) from feed") == 1


async def test_a_backend_that_dies_after_the_claim_leaves_nothing(
    store: Store, beside: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction in doubt is claimed again, and stored once."""
    writer = store.writer()
    await writer.open()
    connection = writer._connection
    assert connection is not None
    pid = connection.info.backend_pid

    def kill(name: str) -> None:
        assert name == "claim/insert"
        beside.execute("select pg_terminate_backend(%s, 5000)", (pid,))

    monkeypatch.setattr(writer_module, "failpoint", kill)
    with pytest.raises(Fault) as caught:
        await commit(writer, store.batch(0, [b"one"]))
    assert caught.value.reason is Reason.STORE_DOWN
    assert await store.committed() == 0
    monkeypatch.undo()
    result = await commit(writer, store.batch(0, [b"one"]))

    assert result.acked == {1: 10}
    assert await store.messages() == ["one"]


async def test_a_store_that_forgot_is_noticed_on_a_new_connection(store: Store) -> None:
    """After a restore the writer says so once, before it claims, and then goes on."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"one"]))
    await writer.close()
    await store.connection.execute("update feed set nonce = 'another history!'")
    with pytest.raises(StoreRegressed) as caught:
        await commit(writer, store.batch(10, [b"two"]))
    assert caught.value.last.number == 1

    assert (await commit(writer, store.batch(10, [b"two"]))).acked == {1: 20}


@pytest.mark.parametrize("trouble", ["partition", "blocks_fresh", "feed"])
async def test_trouble_of_the_database_moves_and_quarantines_nothing(
    store: Store, trouble: str
) -> None:
    """A missing partition or a withdrawn grant is an outage, never the fault of a record."""
    woken: list[bool] = []
    writer = store.writer(missing_partition=lambda: woken.append(True))
    await writer.open()
    undo = await _cause(store, trouble)
    batch = store.batch(0, [b"one"])
    with pytest.raises(Fault) as caught:
        await commit(writer, batch)
    assert caught.value.reason is Reason.STORE_DOWN
    assert woken == ([True] if trouble == "partition" else [])
    assert await store.committed() == 0
    assert await store.value("select count(*) from quarantine") == 0
    await undo()

    assert (await commit(writer, batch)).acked == {1: 10}
    assert await store.messages() == ["one"]


async def _cause(store: Store, trouble: str) -> Callable[[], Awaitable[None]]:
    if trouble == "partition":
        name = await store.value(
            "select to_char(now(), '\"blocks_fresh_\"YYYYMMDDHH24')::regclass::text"
        )
        hour = psycopg.sql.Identifier(name)
        detach = psycopg.sql.SQL("alter table blocks_fresh detach partition {}").format(hour)
        await store.connection.execute(detach)
        from outrider_collector.store.partitions import ensure_ahead

        async def make() -> None:
            # Fewer hours than the test's database has: what is made is what was missing.
            assert await ensure_ahead(store.connection, hours=1) == [name]

        return make
    await store.connection.execute(f"revoke insert on {trouble} from {INGEST_ROLE}")

    async def undo() -> None:
        await store.connection.execute(f"grant insert on {trouble} to {INGEST_ROLE}")

    return undo


async def test_a_database_that_is_away_is_one_clear_fault() -> None:
    """Nobody listens: STORE_DOWN, and the writer can be used again later."""
    writer = writer_module.Writer("postgresql://nobody@127.0.0.1:1/outrider")
    with pytest.raises(Fault) as caught:
        await commit(writer)

    assert caught.value.reason is Reason.STORE_DOWN
    assert "127.0.0.1:1" in caught.value.text
