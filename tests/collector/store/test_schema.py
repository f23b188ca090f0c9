"""Migrations from nothing, again, at once; drift and newer databases refused; roles."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from outrider.errors import Fault, Reason
from outrider_collector.store import attaching, roles, schema
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import READ_ROLE, connect, driver_errors, read_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """URL of a database with nothing in it."""
    name = f"outrider_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres_url, dbname=name)
        maintenance.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )


async def test_an_empty_database_is_migrated_by_many_at_once(empty_url: str) -> None:
    """Two processes migrate together: every step is applied once, both succeed."""
    done = await asyncio.gather(schema.migrate(empty_url), schema.migrate(empty_url))

    newest = schema.migrations()[-1].version
    assert [each.version for each in done] == [newest, newest]
    assert sorted(len(each.applied) for each in done) == [0, len(schema.migrations())]
    async with await connect(empty_url, application_name="test") as connection:
        state = await schema.check(connection)
    assert state == schema.State(newest, (), (), None)
    state.require(empty_url)


async def test_what_is_pending_is_said_and_nothing_is_changed(empty_url: str) -> None:
    """A check of an empty database names every step and makes no table."""
    async with await connect(empty_url, application_name="test") as connection:
        state = await schema.check(connection)
        tables = await (await connection.execute("select count(*) from pg_tables"
            " where schemaname = 'public'")).fetchone()  # fmt: skip

    assert (state.version, state.pending) == (0, schema.migrations())
    assert tables == (0,)
    with pytest.raises(Fault) as caught:
        state.require(empty_url)
    assert caught.value.reason is Reason.STORE_BEHIND
    assert "outrider store migrate" in caught.value.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update schema_migrations set sha256 = 'x' where version = 1", "0001_foundation"),
        (
            "insert into schema_migrations values (9999, 'future', 'x', now(), 9998)",
            "and would have to know 9998: upgrade Outrider",
        ),
    ],
    ids=["drift", "too new"],
)
async def test_a_database_that_does_not_fit_the_code_is_refused(
    database_url: str, connection: AsyncConnection, change: str, words: str
) -> None:
    """A migration changed after it was applied, or a newer database, stops before any change."""
    await connection.execute(change)
    with pytest.raises(Fault) as caught:
        await schema.migrate(database_url)

    assert caught.value.reason is Reason.STORE_BEHIND
    assert words in caught.value.text


async def test_a_newer_database_that_takes_nothing_away_is_worked_with(
    database_url: str, connection: AsyncConnection
) -> None:
    """It is left as it is, whichever older version a migration names as enough."""
    newest = schema.migrations()[-1].version
    await connection.execute(
        "insert into schema_migrations (version, name, sha256, minimum)"
        " values (9998, 'more', 'x', null), (9999, 'less', 'x', %s)",
        (newest,),
    )
    state = await schema.check(connection)
    assert (state.newer, state.minimum) == (9999, None)
    state.require(database_url)
    assert await schema.migrate(database_url) == schema.Migrated((), 9999, ())


async def test_nothing_is_taken_away_from_a_collector_at_work(
    database_url: str, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that contracts waits until all that run can do without; then it is applied."""
    text = "update schema_migrations set minimum = 9998 where version = 9999"
    less = schema.Migration(9999, "less", text, "x")
    ours = (*schema.migrations(), less)
    monkeypatch.setattr(schema, "migrations", lambda: ours)
    await connection.execute(
        "insert into collectors values"
        " ('stopped', now(), now(), now(), '{}'), ('gone', now(), now() - interval '1 min', null,"
        " '{}'), ('newer', now(), now(), null, '{\"schema\": 9998}'),"
        " ('older', now(), now(), null, '{\"schema\": 9997}')"
    )
    with pytest.raises(Fault, match="collector older is at work and knows schema 9997, not 9998"):
        await schema.migrate(database_url)
    assert (await schema.check(connection)).pending == (less,)
    await connection.execute("delete from collectors where name = 'older'")
    assert (await schema.migrate(database_url)).applied == (less,)


async def test_tables_on_their_way_out_can_still_come_back(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that is detached, or half so, when blocks get ids is attached again afterwards."""
    every = schema.migrations()
    older = tuple(each for each in every if each.version < 19)
    monkeypatch.setattr(schema, "migrations", lambda: older)
    await schema.migrate(empty_url)
    monkeypatch.setattr(schema, "migrations", lambda: every)
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    gone, half = (days.Day(begin, each) for each in (RecordClass.APP, RecordClass.DEBUG))
    async with await connect(empty_url, application_name="test") as connection:
        await days.ensure(connection, [gone, half])
        detach = sql.SQL("alter table blocks_compacted detach partition {} concurrently")
        await connection.execute(detach.format(sql.Identifier(gone.table)))
        async with (
            await connect(empty_url, application_name="reader") as reader,
            reader.transaction(),
        ):
            await reader.execute("select from blocks_compacted")
            await connection.execute("set lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await connection.execute(detach.format(sql.Identifier(half.table)))
        assert (half.table, True) in await attaching.attached(connection, days.PARENT)
        await schema.migrate(empty_url)
        for day in (gone, half):
            assert await attaching.attach_again(connection, day.partition)


def test_a_migration_that_takes_something_away_names_who_can_live_with_that() -> None:
    """Expand first, contract later: what drops, renames or tightens says which versions do not
    need it any more, so that older ones refuse instead of failing at a commit.
    """
    takes_away = re.compile(
        r"drop (table|column|view|function|sequence|schema)|rename |set not null"
        r"|alter column .* type|add column (?!.*default)[^,;]* not null|truncate ",
        re.IGNORECASE,
    )
    for migration in schema.migrations():
        # Before the 18th nothing was released that could run beside a newer version.
        text = re.sub(r"--.*", "", migration.text)
        if migration.version >= 18 and takes_away.search(text):
            assert "set minimum =" in text, migration.name


async def test_another_encoding_is_refused(postgres_url: str) -> None:
    """A database that cannot hold every text is refused with the statement that makes one."""
    name = f"outrider_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as maintenance:
        maintenance.execute(
            sql.SQL("create database {} encoding 'LATIN1' locale 'C' template template0").format(
                sql.Identifier(name)
            )
        )
        try:
            with pytest.raises(Fault) as caught:
                await schema.migrate(make_conninfo(postgres_url, dbname=name))
        finally:
            maintenance.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))

    assert caught.value.reason is Reason.CONFIG_INVALID
    assert "UTF8" in caught.value.text


async def test_the_read_role_reads_and_cannot_write(database_url: str) -> None:
    """The database itself refuses a reader's write and keeps token hashes from it."""
    async with await connect(database_url, application_name="test", role=READ_ROLE) as reader:
        for view in ("logs", "workers", "alert_rules", "gaps", "streams", "feed"):
            await reader.execute(sql.SQL("select * from {}").format(sql.Identifier(view)))
        await reader.execute("select id, host, revoked_at from agents")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await reader.execute("select token_hash from agents")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await reader.execute("delete from gaps")
        await reader.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await reader.execute("delete from gaps")


async def test_a_user_without_rights_gets_the_statements(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the owner may not make roles, an administrator runs what is returned, in two steps."""
    suffix = uuid.uuid4().hex[:8]
    names = [f"outrider_{name}_{suffix}" for name in ("r", "i", "a")]
    for attribute, name in zip(("READ_ROLE", "INGEST_ROLE", "ADMIN_ROLE"), names, strict=True):
        monkeypatch.setattr(roles, attribute, name)
    weak = f"outrider_weak_{suffix}"
    async with await connect(empty_url, application_name="test") as admin:
        await admin.execute(f"create role {weak} login")
        await admin.execute(f"grant all on schema public to {weak}")
        try:
            url = make_conninfo(empty_url, user=weak)
            refused = (await schema.migrate(url)).not_permitted
            assert refused[0] == f'create role "{names[0]}" nologin'
            assert any(text.startswith("grant select on ") for text in refused)
            assert not any(text.startswith(f'grant "{names[1]}" to') for text in refused)
            for text in refused:
                await admin.execute(text.encode())
            again = (await schema.migrate(url)).not_permitted
            assert list(again) == [f'grant "{name}" to "{weak}"' for name in names[:2]]
            for text in again:
                await admin.execute(text.encode())
            assert (await schema.migrate(url)).not_permitted == ()
        finally:
            everybody = ", ".join([weak, *names])
            await admin.execute(f"drop owned by {everybody} cascade".encode())
            await admin.execute(f"drop role {everybody}".encode())


async def test_a_pool_reads_as_the_read_role(database_url: str) -> None:
    """Connections of the reading pool are read-only, in UTC, and end long statements."""
    async with (
        read_pool(database_url, application_name="test", statement_timeout_ms=50) as pool,
        pool.connection() as reader,
    ):
        cursor = await reader.execute("select current_user, current_setting('timezone')")
        assert await cursor.fetchone() == (READ_ROLE, "UTC")
        with pytest.raises(Fault) as caught, driver_errors():
            await reader.execute("select pg_sleep(5)")

    assert caught.value.reason is Reason.QUERY_TIMEOUT
