"""Which records become audit rows, that nobody changes them, and how they are sealed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.store import rules
from outrider_collector.store.audit import log, months, publishing, seals
from outrider_collector.store.audit.canonical import Head
from outrider_collector.store.audit.verify import verify
from outrider_collector.store.connect import INGEST_ROLE, connect
from tests.collector.store.audit.sealing import seal, two_seals, write
from tests.collector.store.making import Store, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def test_records_of_the_audit_and_security_classes_are_rows(store: Store) -> None:
    """By their event, or where outrider.audit() wrote an event of the user's own; nothing else."""
    said = {"class": "audit", "actor": "anna", "target": "limits", "before": {"a": 1}, "after": 2}
    await write(
        store,
        ["config.changed", "auth.denied", "job.started", None, "app.limit", "app.limit"],
        [said | {"outcome": "denied", "reason": "no"}, {"actor": 7}, said, said, said, {"x": 1}],
    )
    assert await store.rows(
        "select class, event, actor, target, outcome, reason, before, after, message,"
        " stream_offset, agent, service, attributes::jsonb ->> 'actor' from audit_log order by id"
    ) == [
        (
            "audit", "config.changed", "anna", "limits", "denied", "no", '{"a": 1}', "2", "line 0",
            0, store.agent, "shop", "anna",
        ),
        (
            "security", "auth.denied", "7", None, None, None, None, None, "line 1",
            10, store.agent, "shop", "7",
        ),
        (
            "audit", "app.limit", "anna", "limits", None, None, '{"a": 1}', "2", "line 4",
            40, store.agent, "shop", "anna",
        ),
    ]  # fmt: skip


async def test_what_workers_do_all_day_is_a_row_where_it_says_so(store: Store) -> None:
    """Orders are a log; one that outrider.audit() wrote is a row, also alone in its batch."""
    await write(store, ["order.filled", "position.opened", "strategy.started"], [{"x": 1}] * 3)
    assert await store.rows("select event from audit_log") == []
    await write(store, ["order.filled", "order.filled"], [{"x": 1}, {"class": "audit"}])
    assert await store.rows("select event, class from audit_log") == [("order.filled", "audit")]


async def test_hostile_attributes_stop_no_commit(store: Store) -> None:
    """What is no JSON, nests without end, or holds what no text can: the row stands as it came."""
    hostile = [
        b"{", b"[1]", b'{"actor":"\\u0000\\ud800","audit_id":99999999999999999999}',
        b'{"actor":' + b"[" * 5_000 + b"]" * 5_000 + b"}", b'{"actor":"' + b"x" * 100_000 + b'"}',
        b'{"audit_id":12,"actor":"anna"}', None,
    ]  # fmt: skip
    await write(store, ["config.changed"] * len(hostile), hostile)
    stored = await store.rows("select attributes from audit_log order by id")
    assert [None if text is None else text.encode() for (text,) in stored] == hostile
    assert await seal(store) == len(hostile)
    assert (await verify(store.connection)).findings == []


async def test_an_act_has_one_row_and_its_record_no_second(store: Store) -> None:
    """The row stands with the act's transaction; only the very record of it is left out."""
    act = log.Act("alert.acknowledged", "anna", "A-7", {"version": 3}, reason="on it")
    async with store.connection.transaction():
        number = await log.add_act(store.connection, act)
    its = {"actor": "anna", "target": "A-7", "audit_id": number}
    await write(store, ["alert.acknowledged"] * 2, [its, its | {"target": "A-8"}])
    assert await store.rows(
        "select event, actor, target, reason, service, stream is null from audit_log order by id"
    ) == [
        ("alert.acknowledged", "anna", "A-7", "on it", "outrider", True),
        ("alert.acknowledged", "anna", "A-8", None, "shop", False),
    ]


async def test_the_owner_changes_nothing_either(store: Store) -> None:
    """Neither through the parent nor in a partition, nor where triggers are off for replication."""
    await two_seals(store)
    partition = months.table((await store.rows("select received_at from audit_log"))[0][0])
    await store.connection.execute("set session_replication_role = replica")
    for table in ("audit_log", partition, "audit_seals"):
        column = "number" if table == "audit_seals" else "severity"
        for statement in ("update {} set {} = 0", "delete from {}", "truncate {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="insert-only"):
                await store.connection.execute(statement.format(table, column).encode())


async def test_ids_and_arrivals_are_the_database_s(store: Store) -> None:
    """Whoever may insert can neither choose an id nor date a row back."""
    await store.connection.execute(f"set role {INGEST_ROLE}".encode())
    columns = "ts, class, event, severity, service, worker, host"
    values = "now(), 'audit', 'x', 9, '', '', ''"
    for column, value in (("id", "99"), ("received_at", "now()")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await store.connection.execute(
                f"insert into audit_log ({column}, {columns}) values ({value}, {values})".encode()
            )
    insert = f"insert into audit_log ({columns}) values ({values}) returning id"
    assert [await store.value(insert.encode()) for _ in range(2)] == [1, 2]


async def test_a_row_that_is_being_written_is_not_passed_over(
    store: Store, connection: AsyncConnection
) -> None:
    """While a transaction with an older id is open nothing newer is sealed."""
    act = log.Act("config.changed", "anna", "x")
    async with await connect(store.url, application_name="test") as slow, slow.transaction():
        await log.add_act(slow, act)
        await write(store, ["config.changed"])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await seal(store)
    assert await seal(store) == 2
    assert (await verify(connection)).unsealed == 0


async def test_many_rows_are_several_seals(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal holds so many rows at most; each follows from the one before."""
    monkeypatch.setattr(seals, "MOST_ROWS", 4)
    await write(store, ["config.changed"] * 10)
    assert await seal(store) == 10
    assert await store.rows("select cardinality(ids) from audit_seals order by number") == [
        (4,), (4,), (2,),
    ]  # fmt: skip
    report = await verify(store.connection)
    assert (report.rows, report.seals, report.unsealed, report.findings) == (10, 3, 0, [])


async def test_the_loop_seals_by_age_and_by_number(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two collectors one seals; both know the head; young rows wait for company."""
    stop = asyncio.Event()
    sealers = [seals.Sealer(store.url, holder=name, period_s=0.02) for name in ("a", "b")]
    tasks = [asyncio.create_task(sealer.run(stop)) for sealer in sealers]
    await write(store, ["config.changed"])
    await asyncio.sleep(0)
    monkeypatch.setattr(seals, "MOST_ROWS", 3)
    await write(store, ["config.changed"] * 2)
    async with asyncio.timeout(30):
        while {sealer.head.number for sealer in sealers} != {1}:
            await asyncio.sleep(0.02)
        monkeypatch.setattr(seals, "AGE_S", 0)
        await write(store, ["config.changed"])
        while {sealer.head.number for sealer in sealers} != {2}:
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*tasks)
    assert (await verify(store.connection, [sealers[0].head])).heads_agreeing == 1


async def test_a_channel_gets_the_head_once_a_day(store: Store) -> None:
    """However often it is tried; the day after again; never where no rules have the channel."""
    head = Head(12, b"\xab" * 32)
    assert not await publishing.publish(store.connection, "hook", head)
    toml = '[[channel]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
    await rules.apply(store.connection, {"a.toml": toml}, "anna")
    for _ in range(2):
        assert await publishing.publish(store.connection, "hook", head)
    sentences = "select content ->> 'sentence' from notifications"
    assert [str(head) in sentence for (sentence,) in await store.rows(sentences)] == [True]
    await store.connection.execute("update notifications set created_at = now() - interval '1 day'")
    assert await publishing.publish(store.connection, "hook", head)
    assert await store.value("select count(*) from notifications where fate = 'waiting'") == 2


async def test_other_records_cost_no_statement(store: Store) -> None:
    """A commit without audit records leaves the log's lock and table alone."""
    await write(store, [None, "job.started", "app.thing"])
    await commit(store.writer(), store.batch(30, []))
    assert await store.value("select count(*) from audit_log") == 0
    assert (await verify(store.connection, [Head(1, b"x" * 32)])).findings[0].what == "head missing"
