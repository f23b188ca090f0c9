"""What Postgres lets every login do, and those who only read may not: stop commits, fill the disk.

Everybody may take any advisory lock, and whoever holds one of ours stops every commit; everybody
may make large objects and temporary tables, whether its transactions are read-only being its own
choice. So what takes a lock, makes a large object or a temporary table is withdrawn from PUBLIC in
this database, and granted to who commits. What gives a lock back stays: drivers call it. Functions
belong to a superuser, TEMPORARY to the database's owner; where the database's user is none, or
tables of other programs are there that may need it, an administrator is told what to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

_LOCKS: Final = "^pg_(try_)?advisory_(xact_)?lock(_shared)?$"
_LARGE_OBJECTS: Final = "^(lo_creat|lo_create|lo_from_bytea|lo_import|lo_put|lowrite)$"

_TAKING: Final = sql.SQL("""
    from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ %(pattern)s
""")
_LEFT: Final = sql.SQL("""
select coalesce(string_agg(oid::regprocedure::text, ', ' order by oid), '') {}
    and has_function_privilege('public', oid, 'execute')
""").format(_TAKING)
_LACKING: Final = sql.SQL("""
select coalesce(string_agg(oid::regprocedure::text, ', ' order by oid), '') {}
    and not exists (
        select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a
        where a.grantee = (select oid from pg_roles where rolname = %(role)s))
""").format(_TAKING)
_OWNER: Final = sql.SQL("""
select rolname::text from pg_class c join pg_roles r on r.oid = c.relowner
where c.oid = 'teams'::regclass
""")
_ALONE: Final = sql.SQL("""
not exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.oid <> current_schema()::regnamespace
        and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))
""")
_MAY: Final = sql.SQL(
    "select bool_and(pg_has_role(current_user, proowner, 'member')) and {} {}"
).format(_ALONE, _TAKING)

_TEMPORARY_LEFT: Final = sql.SQL(
    "select has_database_privilege('public', current_database(), 'temporary')"
)
_TEMPORARY_LACKING: Final = sql.SQL("""
select not exists (
    select from aclexplode(coalesce(datacl, acldefault('d', datdba))) a
    where a.grantee = (select oid from pg_roles where rolname = %(role)s)
        and a.privilege_type = 'TEMPORARY')
from pg_database where datname = current_database()
""")
_MAY_TEMPORARY: Final = sql.SQL("""
select pg_has_role(current_user, datdba, 'member') and {}
from pg_database where datname = current_database()
""").format(_ALONE)


async def open_to_all(connection: AsyncConnection) -> bool:
    """Return whether a login that only reads can take the locks that commits wait for."""
    return bool(await _one(connection, _LEFT, pattern=_LOCKS))


async def fillable_by_all(connection: AsyncConnection) -> bool:
    """Return whether a login that only reads can fill the disk."""
    return bool(
        await _one(connection, _LEFT, pattern=_LARGE_OBJECTS)
        or await _one(connection, _TEMPORARY_LEFT)
    )


async def ensure(connection: AsyncConnection, roles: Iterable[str]) -> list[str]:
    """Leave all of it to the owner and ``roles``; large objects, which nobody needs, to the owner.

    Returns what a superuser is to run instead, where this user may not or had better not.
    """
    owner = await _one(connection, _OWNER)
    committing = [owner, *roles]
    refused: list[str] = []
    for pattern, keeping in ((_LOCKS, committing), (_LARGE_OBJECTS, [owner])):
        statements = await _functions(connection, pattern, keeping)
        may = bool(statements) and await _one(connection, _MAY, pattern=pattern)
        refused += await _run(connection, statements, may=may)
    statements = await _temporary(connection, committing)
    may = bool(statements) and await _one(connection, _MAY_TEMPORARY)
    return refused + await _run(connection, statements, may=may)


async def _run(
    connection: AsyncConnection, statements: list[sql.Composed], *, may: bool
) -> list[str]:
    if not may:
        return [statement.as_string(connection) for statement in statements]
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)
    return []


async def _functions(
    connection: AsyncConnection, pattern: str, roles: Iterable[str]
) -> list[sql.Composed]:
    found = []
    for role in roles:
        if lacking := await _one(connection, _LACKING, pattern=pattern, role=role):
            to = sql.Identifier(role)
            found.append(sql.SQL("grant execute on function {} to {}").format(sql.SQL(lacking), to))
    # Last: between the two nobody who commits is without.
    if left := await _one(connection, _LEFT, pattern=pattern):
        found.append(sql.SQL("revoke execute on function {} from public").format(sql.SQL(left)))
    return found


async def _temporary(connection: AsyncConnection, roles: Iterable[str]) -> list[sql.Composed]:
    if not await _one(connection, _TEMPORARY_LEFT):
        return []
    database = sql.Identifier(connection.info.dbname)
    found = [
        sql.SQL("grant temporary on database {} to {}").format(database, sql.Identifier(role))
        for role in roles
        if await _one(connection, _TEMPORARY_LACKING, role=role)
    ]
    return [*found, sql.SQL("revoke temporary on database {} from public").format(database)]


async def _one(
    connection: AsyncConnection, query: sql.SQL | sql.Composed, **parameters: str
) -> Any:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None  # noqa: S101  an aggregate always returns one row
    return row[0]
