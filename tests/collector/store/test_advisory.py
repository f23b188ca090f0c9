"""Advisory locks, large objects, temporary tables: for who commits, not for who reads."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from outrider_collector.doctor import judge
from outrider_collector.store import advisory, roles, schema
from outrider_collector.store.connect import INGEST_ROLE, READ_ROLE, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

_TAKING = """
select oid::regprocedure::text from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and proname ~ 'advisory' and proname !~ 'unlock'
"""


@pytest.fixture
async def reader(connection: AsyncConnection, database_url: str) -> AsyncIterator[AsyncConnection]:
    """A login that only reads."""
    # Rights on a database are not copied from its template.
    await schema.migrate(database_url)
    name = f"outrider_reader_{uuid.uuid4().hex[:8]}"
    await connection.execute(f"create role {name} login in role {READ_ROLE}".encode())
    async with await connect(make_conninfo(database_url, user=name), application_name="t") as conn:
        yield conn
    await connection.execute(f"drop role {name}".encode())


async def test_a_reader_takes_no_lock_of_any_kind(
    connection: AsyncConnection, reader: AsyncConnection
) -> None:
    """Not shared, not by trying, not for a transaction; giving back stays, drivers call that."""
    names = [name for (name,) in await (await connection.execute(_TAKING)).fetchall()]
    assert len(names) == 16
    for name in names:
        keys = "1, 1" if "," in name else "1"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await reader.execute(f"select {name.partition('(')[0]}({keys})".encode())
    await reader.execute("select pg_advisory_unlock_all()")
    assert not await advisory.open_to_all(connection)


async def test_a_reader_cannot_fill_the_disk(
    connection: AsyncConnection, reader: AsyncConnection
) -> None:
    """No large object, no temporary table, although it chooses itself that it may write."""
    await reader.execute("set default_transaction_read_only = off")
    made = await connection.execute("select lo_create(0)")
    row = await made.fetchone()
    assert row is not None
    await connection.execute(f"grant update on large object {row[0]} to public".encode())
    for statement in (
        "select lo_from_bytea(0, repeat('x', 1000)::bytea)",
        "select lo_creat(-1)",
        "select lo_create(0)",
        f"select lo_put({row[0]}, 0, 'x')",
        "select lo_import('/etc/hostname')",
        "create temporary table filling (x text)",
        "create table public.filling (x text)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await reader.execute(statement.encode())
    assert not await advisory.fillable_by_all(connection)


async def test_who_may_not_withdraw_them_is_told_how(
    connection: AsyncConnection, reader: AsyncConnection
) -> None:
    """Doctor says that it is open, migrate what to run; run, nothing is left to be said."""
    database = connection.info.dbname
    await connection.execute("grant execute on function lo_create(oid) to public")
    assert await advisory.fillable_by_all(reader)
    await connection.execute(f'grant temporary on database "{database}" to public'.encode())
    assert judge.room_of_readers(fillable_by_all=True).level == "note"
    advised = await advisory.ensure(reader, roles.committing())
    assert advised == [
        "revoke execute on function lo_create(oid) from public",
        f'revoke temporary on database "{database}" from public',
    ]
    for text in advised:
        await connection.execute(text.encode())
    assert not await advisory.fillable_by_all(reader)
    await connection.execute("create temporary table needed (x int) on commit drop")


@pytest.mark.parametrize("role", [INGEST_ROLE, roles.ADMIN_ROLE, None])
async def test_who_commits_takes_them(database_url: str, role: str | None) -> None:
    """The owner, a collector's commits, and people who act by psql."""
    async with await connect(database_url, application_name="t") as conn:
        if role:
            await conn.execute(f"set role {role}".encode())
        await conn.execute("select pg_advisory_xact_lock_shared(audit_lock_key())")
        await conn.execute("select pg_try_advisory_xact_lock(feed_lock_key())")


async def test_a_user_who_may_not_is_told_what_a_superuser_runs(
    connection: AsyncConnection, reader: AsyncConnection
) -> None:
    """A grant for each who commits, then the withdrawal; run, nothing is left to be said."""
    await connection.execute(
        "do $$ declare f regprocedure; begin for f in select oid::regprocedure from pg_proc"
        " where pronamespace = 'pg_catalog'::regnamespace and proname ~ 'advisory' loop"
        " execute format('grant execute on function %s to public', f); end loop; end $$"
    )
    assert await advisory.open_to_all(reader)
    assert judge.locks(open_to_all=True).level == "note"
    committing = roles.committing()
    advised = await advisory.ensure(reader, committing)
    assert [text.partition(" ")[0] for text in advised] == ["revoke"]
    assert await advisory.open_to_all(connection)
    for text in advised:
        await connection.execute(text.encode())
    assert await advisory.ensure(reader, committing) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await reader.execute("select pg_advisory_lock(1)")


async def test_other_programs_of_the_database_keep_their_locks(
    connection: AsyncConnection, database_url: str
) -> None:
    """Where tables of another schema are, nothing is withdrawn unasked: it is only advised."""
    await schema.migrate(database_url)
    await connection.execute("create schema shop create table orders (id int)")
    await connection.execute("grant execute on function pg_advisory_lock(bigint) to public")
    (advised,) = (await schema.migrate(database_url)).advised
    assert advised == "revoke execute on function pg_advisory_lock(bigint) from public"
    assert not await advisory.fillable_by_all(connection)
    await connection.execute("drop schema shop cascade")
    assert (await schema.migrate(database_url)).advised == ()
    assert not await advisory.open_to_all(connection)
