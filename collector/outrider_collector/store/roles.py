"""Who may do what. The database enforces it, not a variable that a process could set.

============== ==================================== ===============================================
role           may                                  taken by
============== ==================================== ===============================================
the owner      everything; makes tables come and go whoever migrates: collectors beside commits
outrider_ingest what a commit does, and nothing else a collector's commits
outrider_read  select, in transactions that are     the dashboard, commands that show, people who
               read-only by default; no token hash  use psql or Grafana
outrider_admin select; acknowledge, silence, revoke, people who act by psql
               say who sees which team
============== ==================================== ===============================================

Nobody may change or remove rows of the audit log. Roles are granted the parents of partitions,
never the partitions themselves.

**Teams.** Every table with a column ``team`` has a forced policy: a session sees the teams of its
login (table ``team_roles``), and with the setting ``outrider.teams`` fewer. What belongs to nobody
in particular but tells of every team's records is for those who see all teams. A login that
``team_roles`` does not name sees nothing; ingest and admin see everything. Migration 0011 has the
functions; partitions are bound as they are made, tables here, each time a schema is migrated.

A user who may not create roles gets the statements to hand to an administrator, and everything goes
on with what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql

from outrider_collector.store.audit.canonical import COLUMNS
from outrider_collector.store.connect import INGEST_ROLE, READ_ROLE
from outrider_collector.store.reading import replica

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

ADMIN_ROLE = "outrider_admin"

_RELATIONS = """
select c.relname from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v')
  and not c.relispartition and c.relname !~ '^(blocks_(fresh|compacted)|audit_log)_'
order by c.relname
"""

# Columns of `agents` that are no secret.
_AGENT_COLUMNS = (
    "id", "team", "host", "session", "instance", "software_version", "created_at",
    "connected_at", "revoked_at",
)  # fmt: skip

# Ids and times of arrival are the database's, whoever inserts.
_AUDIT_INSERT: Final = (
    f"insert ({', '.join(name for name in COLUMNS if name not in {'id', 'received_at'})})"
)
_INGEST: Final = (
    ("select, insert", ("feed", "gaps")),
    (f"select, {_AUDIT_INSERT}", ("audit_log",)),
    ("insert", ("blocks_fresh", "hits", "quarantine")),
    ("select, update", ("streams",)),
    ("select, update (closed_at)", ("stream_info",)),
    ("select", ("active_rule_set",)),
    ("select (id, session, revoked_at)", ("agents",)),
)
_INGEST_SEQUENCES: Final = ("audit_ids", "commit_ids")
_ADMIN: Final = (
    ("insert", ("feed",)),
    (_AUDIT_INSERT, ("audit_log",)),
    ("insert, update, delete", ("team_roles", "teams")),
    ("insert, update", ("silences",)),
    ("update (acknowledged_at, acknowledged_by, acknowledge_comment, updated_at)", ("alerts",)),
    ("update (revoked_at)", ("agents",)),
)

# Without a column for the team: whose row they are is another table's affair.
_BY_OTHERS: Final = {
    "heartbeats": "exists (select from system_health h"
    " where (h.component_kind, h.component) = (heartbeats.component_kind, heartbeats.component))",
    "notification_attempts": "exists (select from notifications n where n.id = notification)",
    "rule_versions": "(select sees_every_team()) or exists (select from alerts a"
    " where (a.rule_set, a.rule) = (rule_versions.version, rule_versions.name))",
    "streams": "exists (select from stream_info i where i.id = streams.id)",
}
# What tells of every team's records, alerts or settings at once. The views `alert_rules` and
# `collector_states` have what everybody may know of rules and collectors.
_OF_ALL_TEAMS: Final = (
    "hits", "rule_states", "rule_state_journal", "evaluation_steps", "evaluator_state", "feed",
    "conversation_aliases", "rule_sets", "collectors", "leases", "button_offsets",
)  # fmt: skip
_SIGHT: Final = sql.SQL("""
    select session_user::text, cardinality(visible_teams()), (select count(*) from teams),
           case when pg_is_in_recovery() then
               greatest(extract(epoch from clock_timestamp() - {as_of}), 0)::float8 end
    """).format(as_of=replica.AS_OF)
_UNBOUND: Final = """
select c.oid::regclass::text, c.relname::text
from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
    and (c.relname = any(%s) or exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attname = 'team' and not a.attisdropped))
    -- Says itself who sees which team: everybody may know.
    and c.relname <> 'team_roles'
    and not (c.relforcerowsecurity and (
        select count(*) from pg_policy p
        where p.polrelid = c.oid and (p.polname = 'by_team'
            or p.polname = 'everything' and cardinality(p.polroles) = (
                select count(*) from pg_roles
                where rolname in ('outrider_ingest', 'outrider_admin') or oid = c.relowner))) = 2)
order by 1
"""


async def ensure_roles(connection: AsyncConnection) -> list[str]:
    """Make the roles, their grants and what binds them; return what this user may not run."""
    refused: list[str] = []
    for role in (READ_ROLE, INGEST_ROLE, ADMIN_ROLE):
        for statement in await _role_statements(connection, role):
            await _try(connection, statement, refused)
    for statement in await _grants(connection):
        await _try(connection, statement, refused)
    await _bind(connection)
    # Last: a collector that took a role before the policies know it would see nothing.
    for role in (READ_ROLE, INGEST_ROLE):
        for statement in await _memberships(connection, role):
            await _try(connection, statement, refused)
    return refused


class Sight(NamedTuple):
    """What a login sees."""

    login: str
    seen: int
    """Teams; who reads chooses all that its login may see."""
    teams: int
    """All that there are."""
    behind_s: float | None
    """How far the server is behind its primary; None: it is no replica."""


async def sight(connection: AsyncConnection) -> Sight:
    """Return what this session sees."""
    row = await (await connection.execute(_SIGHT)).fetchone()
    assert row is not None  # noqa: S101  a select without from returns one row
    return Sight(*row)


def committing() -> tuple[str, ...]:
    """Return the roles whose transactions take locks; the owner's do too."""
    return INGEST_ROLE, ADMIN_ROLE


async def _try(connection: AsyncConnection, statement: sql.Composed, refused: list[str]) -> None:
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except psycopg.errors.DuplicateObject:
        return  # another database of the cluster made the role meanwhile
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
        # The latter: the role itself is still to be made.
        refused.append(statement.as_string(connection))


async def _role_statements(connection: AsyncConnection, name: str) -> list[sql.Composed]:
    cursor = await connection.execute(
        "select coalesce('default_transaction_read_only=on' = any(rolconfig), false)"
        " from pg_roles where rolname = %s",
        (name,),
    )
    row = await cursor.fetchone()
    role = sql.Identifier(name)
    statements = []
    if row is None:
        statements.append(sql.SQL("create role {} nologin").format(role))
    if name == READ_ROLE and (row is None or not row[0]):
        statements.append(
            sql.SQL("alter role {} set default_transaction_read_only = on").format(role)
        )
    return statements


async def _memberships(connection: AsyncConnection, name: str) -> list[sql.Composed]:
    """Return what lets a collector or dashboard that logs in as this user become the role."""
    cursor = await connection.execute(
        "select current_user, pg_has_role(current_user, oid, %s) from pg_roles where rolname = %s",
        # Since 16 the creator of a role is its member without the right to become it.
        ("set" if connection.info.server_version >= 160000 else "member", name),
    )
    row = await cursor.fetchone()
    if row is None or row[1]:
        return []
    # Named, because an administrator may have to run it.
    user = sql.Identifier(row[0])
    return [sql.SQL("grant {} to {}").format(sql.Identifier(name), user)]


async def _grants(connection: AsyncConnection) -> list[sql.Composed]:
    cursor = await connection.execute(_RELATIONS)
    names = [name for (name,) in await cursor.fetchall() if name != "agents"]
    schema = await (await connection.execute("select current_schema()")).fetchone()
    columns = sql.SQL("select ({})").format(_identifiers(_AGENT_COLUMNS))
    statements = [
        sql.SQL("grant usage on schema {} to {}").format(
            sql.Identifier(schema[0] if schema else "public"),
            _identifiers((READ_ROLE, INGEST_ROLE, ADMIN_ROLE)),
        )
    ]
    for role in (READ_ROLE, ADMIN_ROLE):
        statements += [_grant(sql.SQL("select"), names, role), _grant(columns, ["agents"], role)]
    for role, granted in ((INGEST_ROLE, _INGEST), (ADMIN_ROLE, _ADMIN)):
        statements += [_grant(sql.SQL(what), tables, role) for what, tables in granted]
    sequences = sql.SQL("usage on sequence")
    statements += [
        sql.SQL("grant {} {} to {}").format(sequences, _identifiers(names), sql.Identifier(role))
        for role, names in ((INGEST_ROLE, _INGEST_SEQUENCES), (ADMIN_ROLE, ("audit_ids",)))
    ]
    return statements


def _grant(what: sql.Composable, tables: Iterable[str], role: str) -> sql.Composed:
    return sql.SQL("grant {} on {} to {}").format(what, _identifiers(tables), sql.Identifier(role))


def _identifiers(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


async def _bind(connection: AsyncConnection) -> None:
    """Give every table that needs one its policies: those of this version, and new ones."""
    others = [*_BY_OTHERS, *_OF_ALL_TEAMS]
    cursor = await connection.execute(_UNBOUND, (others,))
    for table, name in await cursor.fetchall():
        if name in _OF_ALL_TEAMS:
            condition: sql.Composable = sql.Literal("(select sees_every_team())")
        elif name in _BY_OTHERS:
            condition = sql.Literal(_BY_OTHERS[name])
        else:
            condition = sql.SQL("team_condition()")
        await connection.execute(
            sql.SQL("select bind_to_teams({}::regclass, {})").format(sql.Literal(table), condition)
        )
