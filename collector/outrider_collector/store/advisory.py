"""Who may take advisory locks: commits wait for them, so those who only read may not.

Postgres lets everybody take any advisory lock, a login that may write nothing too, and whoever
holds one of ours stops every commit. So the functions that take one are withdrawn from PUBLIC in
this database and granted to who commits. Those that give one back stay: drivers call them. Only a
superuser owns these functions; where the database's user is none, or tables of other programs are
there that may need the locks, the statements are for an administrator to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

_TAKING: Final = sql.SQL("""
    from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace
        and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
""")
_LEFT: Final = sql.SQL("""
select coalesce(string_agg(oid::regprocedure::text, ', ' order by oid), '') {}
    and has_function_privilege('public', oid, 'execute')
""").format(_TAKING)
_LACKING: Final = sql.SQL("""
select coalesce(string_agg(oid::regprocedure::text, ', ' order by oid), '') {}
    and not exists (
        select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a
        where a.grantee = (select oid from pg_roles where rolname = %s))
""").format(_TAKING)
_OWNER: Final = sql.SQL("""
select rolname::text from pg_class c join pg_roles r on r.oid = c.relowner
where c.oid = 'teams'::regclass
""")
_MAY: Final = sql.SQL("""
select bool_and(pg_has_role(current_user, proowner, 'member')) and not exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.oid <> current_schema()::regnamespace
        and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))
{}
""").format(_TAKING)


async def open_to_all(connection: AsyncConnection) -> bool:
    """Return whether a login that only reads can take the locks that commits wait for."""
    return bool(await _one(connection, _LEFT))


async def ensure(connection: AsyncConnection, roles: Iterable[str]) -> list[str]:
    """Leave the taking of locks to the owner and ``roles``.

    Returns what a superuser is to run instead, where this user may not or had better not.
    """
    owner = await _one(connection, _OWNER)
    statements = await _statements(connection, [owner, *roles])
    if not statements or not await _one(connection, _MAY):
        return [statement.as_string(connection) for statement in statements]
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)
    return []


async def _statements(connection: AsyncConnection, roles: Iterable[str]) -> list[sql.Composed]:
    found = []
    for role in roles:
        if lacking := await _one(connection, _LACKING, role):
            to = sql.Identifier(role)
            found.append(sql.SQL("grant execute on function {} to {}").format(sql.SQL(lacking), to))
    # Last: between the two nobody who commits is without.
    if left := await _one(connection, _LEFT):
        found.append(sql.SQL("revoke execute on function {} from public").format(sql.SQL(left)))
    return found


async def _one(connection: AsyncConnection, query: sql.SQL | sql.Composed, *parameters: str) -> Any:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None  # noqa: S101  an aggregate always returns one row
    return row[0]
