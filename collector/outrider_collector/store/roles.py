"""Who may do what. The database enforces it, not a variable that a process could set.

``outrider_read`` may select and nothing else, and its transactions are read-only by default. It may
not read token hashes. It is granted the parents of partitions, never the partitions themselves:
what is enforced on a parent would not hold for somebody who reads its children.

A user who may not create roles gets the statements to hand to an administrator, and everything goes
on with what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from outrider_collector.store.connect import READ_ROLE

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_RELATIONS = """
select c.relname from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v')
  and not c.relispartition and c.relname !~ '^blocks_(fresh|compacted)_'
order by c.relname
"""

# Columns of `agents` that are no secret.
_AGENT_COLUMNS = (
    "id", "team", "host", "session", "instance", "software_version", "created_at", "connected_at",
    "revoked_at",
)  # fmt: skip


async def ensure_read_role(connection: AsyncConnection) -> list[str]:
    """Make the read role and its grants; return the statements this user may not run."""
    refused: list[str] = []
    for statement in await _role_statements(connection):
        await _try(connection, statement, refused)
    cursor = await connection.execute("select 1 from pg_roles where rolname = %s", (READ_ROLE,))
    if await cursor.fetchone() is None:
        return refused + [s.as_string(connection) for s in await _grants(connection)]
    for statement in await _grants(connection):
        await _try(connection, statement, refused)
    return refused


async def _try(connection: AsyncConnection, statement: sql.Composed, refused: list[str]) -> None:
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except psycopg.errors.DuplicateObject:
        return  # another database of the cluster made the role meanwhile
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
        # The latter: the role itself is still to be made.
        refused.append(statement.as_string(connection))


async def _role_statements(connection: AsyncConnection) -> list[sql.Composed]:
    cursor = await connection.execute(
        "select pg_has_role(current_user, oid, %s),"
        " coalesce('default_transaction_read_only=on' = any(rolconfig), false)"
        " from pg_roles where rolname = %s",
        # Since 16 the creator of a role is its member without the right to become it.
        ("set" if connection.info.server_version >= 160000 else "member", READ_ROLE),
    )
    row = await cursor.fetchone()
    role = sql.Identifier(READ_ROLE)
    statements = []
    if row is None:
        statements.append(sql.SQL("create role {} nologin").format(role))
    if row is None or not row[1]:
        statements.append(
            sql.SQL("alter role {} set default_transaction_read_only = on").format(role)
        )
    if row is None or not row[0]:
        # So that a dashboard which logs in as this user can become the role.
        # Named, because an administrator may have to run it.
        user = await (await connection.execute("select current_user")).fetchone()
        statements.append(
            sql.SQL("grant {} to {}").format(role, sql.Identifier(user[0] if user else ""))
        )
    return statements


async def _grants(connection: AsyncConnection) -> list[sql.Composed]:
    cursor = await connection.execute(_RELATIONS)
    role = sql.Identifier(READ_ROLE)
    names = [name for (name,) in await cursor.fetchall() if name != "agents"]
    schema = await (await connection.execute("select current_schema()")).fetchone()
    return [
        sql.SQL("grant usage on schema {} to {}").format(
            sql.Identifier(schema[0] if schema else "public"), role
        ),
        sql.SQL("grant select on {} to {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), role
        ),
        sql.SQL("grant select ({}) on agents to {}").format(
            sql.SQL(", ").join(map(sql.Identifier, _AGENT_COLUMNS)), role
        ),
    ]
