"""Roles and teams: who sees which rows through every table, view, function and partition."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from outrider.filter import parse
from outrider_collector.store import partitions, roles
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import INGEST_ROLE, READ_ROLE, connect
from outrider_collector.store.reading import completeness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

_OPEN = {
    "active_rule_set": "the number of the active set",
    "audit_seals": "numbers and hashes",
    "health_rolled": "one day",
    "health_watches": "when some collector watched",
    "schema_migrations": "versions of the schema",
    "team_roles": "policies ask it as whoever reads",
    "teams": "policies ask it as whoever reads",
}
"""Tables that every reader reads whole, and why they may."""
_LENDING = {
    "alert_rules": "the active rules: no file, no channel",
    "collector_states": "whether something is committed and evaluated",
}
"""Views with the eyes of the owner, and what they show everybody."""

_WITH_TEAM = """
select c.relname::text, c.relkind::text, c.relispartition from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attname = 'team' and not a.attisdropped
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v')
    and c.relname <> 'team_roles' order by 1
"""
_NEEDED = """
select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and a.attnotnull
    and a.attidentity = '' and a.attname <> 'team'
"""
_VALUES: dict[str, Any] = {
    "integer": 7, "bigint": 7, "smallint": 7, "boolean": False, "jsonb": "{}", "bytea": b"x",
    "date": "2026-01-01",
}  # fmt: skip
_SPECIAL = {
    "priority": "info", "state": "firing", "fate": "sent", "class": 1, "component_kind": "worker",
    "level_counts": [0, 0, 1, 0, 0, 0],
}  # fmt: skip
_FUNCTIONS = """
select p.proname::text, pg_get_function_arguments(p.oid),
    'team' = any(coalesce(p.proargnames, '{}')) or exists (
        select from pg_attribute a join pg_type t on t.typrelid = a.attrelid
        where t.oid = p.prorettype and a.attname = 'team')
from pg_proc p
where p.pronamespace = current_schema()::regnamespace and p.proretset order by 1
"""


@pytest.fixture
async def filled(connection: AsyncConnection) -> AsyncConnection:
    """A row of either team in every table that has one."""
    await connection.execute("insert into teams values (2, 'other')")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await days.ensure(connection, [days.Day(today, RecordClass.APP)])
    await connection.execute("set session_replication_role = replica")
    for name, kind, is_partition in await _all(connection, _WITH_TEAM):
        if kind == "v" or is_partition:
            continue
        columns = await _all(connection, _NEEDED, name)
        for team in (1, 2):
            values = {"team": team}
            for column, kind_ in columns:
                values[column] = _value(name, column, kind_, team, today)
            await connection.execute(
                sql.SQL("insert into {} ({}) values ({})").format(
                    sql.Identifier(name),
                    sql.SQL(", ").join(map(sql.Identifier, values)),
                    sql.SQL(", ").join([sql.SQL("%s")] * len(values)),
                ),
                list(values.values()),
            )
    await connection.execute(
        "insert into heartbeats select component_kind, component, now(), now(), '', '{}'"
        " from system_health"
    )
    await connection.execute(
        "insert into notification_attempts (notification) select id from notifications"
    )
    await connection.execute(
        "insert into hits (commit_id, hits_key, key, bucket, n, streams, stream_offsets)"
        " values (1, 'k', '{secret}', now(), 1, '{}', '{}')"
    )
    await connection.execute("set session_replication_role = origin")
    return connection


def _value(table: str, column: str, kind: str, team: int, today: datetime) -> Any:
    if column in _SPECIAL and kind != "smallint[]":
        return _SPECIAL[column]
    if column == "day" and table == "blocks_compacted":
        return today
    if kind.startswith("timestamp") and not kind.endswith("]"):
        return datetime.now(UTC)
    if kind.endswith("]"):
        # A block of one record, of the stream that has the team's number.
        one = {"timestamp with time zone[]": [datetime.now(UTC)], "bigint[]": [team]}
        return one.get(kind, [9]) if table.startswith("blocks_") else "{}"
    if kind == "text":
        return f"of team {team}"
    # Ids tell the teams apart too, where they are keys.
    keys: dict[str, Any] = {"bytea": bytes([team]), "bigint": team, "uuid": uuid.UUID(int=team)}
    return keys.get(kind, _VALUES.get(kind))


async def _all(connection: AsyncConnection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query.encode(), parameters or None)
    return await cursor.fetchall()


@pytest.fixture
async def logins(filled: AsyncConnection) -> AsyncIterator[dict[str, str]]:
    """People's logins: of no team, of one, of both by a group, and one for whom to choose."""
    names = {
        which: f"outrider_{which}_{uuid.uuid4().hex[:8]}"
        for which in ("nobody", "one", "two", "both", "group", "every")
    }
    for name in names.values():
        await filled.execute(f"create role {name} in role {READ_ROLE}".encode())
    await filled.execute(f"grant {names['group']} to {names['both']}".encode())
    for which, team in (("one", 1), ("two", 2), ("group", 1), ("group", 2), ("every", None)):
        await filled.execute("insert into team_roles values (%s, %s)", (names[which], team))
    yield names
    await filled.execute("reset session authorization")
    for name in names.values():
        await filled.execute(f"drop owned by {name}; drop role {name}".encode())


async def test_a_login_of_no_team_is_told_so(
    filled: AsyncConnection, logins: dict[str, str]
) -> None:
    """Every view of it says that it sees no team, and the statement that mends it."""
    now = datetime.now(UTC)
    await _as(filled, logins["nobody"], "*")
    state = await completeness.completeness(filled, parse(""), now - timedelta(hours=1), now)
    assert completeness.text(completeness.sentence(state, now)) == (
        f"The login {logins['nobody']} sees no team, so no line: as the owner: "
        f"insert into team_roles values ('{logins['nobody']}', null)"
    )
    assert not state.whole
    await _as(filled, logins["one"], "*")
    state = await completeness.completeness(filled, parse("x"), now - timedelta(hours=1), now)
    assert not state.blind_login


_SEEN: list[tuple[str, str, set[int]]] = [
    ("nobody", "", set()), ("nobody", "*", set()), ("nobody", "1", set()),
    ("one", "", {1}), ("one", "*", {1}), ("one", "2", set()), ("one", "1,2", {1}),
    ("two", "", {2}),
    ("both", "", {1, 2}), ("both", "2", {2}),
    ("every", "", set()), ("every", "*", {1, 2}), ("every", "2", {2}),
]  # fmt: skip


async def _as(connection: AsyncConnection, login: str, setting: str) -> None:
    await connection.execute("reset session authorization")
    await connection.execute(f"set session authorization {login}".encode())
    await connection.execute("select set_config('outrider.teams', %s, false)", (setting,))


async def test_everybody_sees_their_teams_through_every_table_view_and_function(
    filled: AsyncConnection, logins: dict[str, str]
) -> None:
    """A login that is bound to nothing, or does not choose where it must, sees nothing."""
    found = await _all(filled, _WITH_TEAM)
    tables = [name for name, _, is_partition in found if not is_partition]
    assert {"blocks_fresh", "blocks_compacted", "alerts", "system_health", "audit_log", "logs",
            "gaps", "workers"} <= set(tables)  # fmt: skip
    functions = await _all(filled, _FUNCTIONS)
    assert {"logs_between", "health_days_between"} <= {name for name, _, _ in functions}
    for which, setting, teams in _SEEN:
        await _as(filled, logins[which], setting)
        seen: defaultdict[str, set[int]] = defaultdict(set)
        for name in tables:
            columns = "id, team" if name == "agents" else "*"
            for (team,) in await _all(filled, f"select team from (select {columns} from {name}) t"):
                seen[name].add(team)
        wrong = {name: seen[name] for name in tables if seen[name] != teams}
        assert wrong == {}, (which, setting)
        for name, arguments, has_team in functions:
            # A function that takes something else, or tells of records without their team, is to
            # be looked at here when it is made.
            assert arguments.count("timestamp with time zone") == arguments.count(",") + 1, name
            what = "team" if has_team else "0"
            found = await _all(
                filled, f"select {what} from {name}(now() - interval '1 day', now())"
            )
            assert {team for (team,) in found} <= (teams if has_team else {0}), (which, name)
            if name == "logs_between":
                assert {team for (team,) in found} == teams, (which, setting)
        # Acting as the group of all readers frees nobody.
        await filled.execute(f"set role {READ_ROLE}".encode())
        assert {team for (team,) in await _all(filled, "select team from gaps")} == teams
        await filled.execute("reset role")
        for name, expected in (
            ("heartbeats", len(teams)),
            ("notification_attempts", len(teams)),
            ("hits", int(teams == {1, 2})),
            ("evaluator_state", int(teams == {1, 2})),
        ):
            count = await _all(filled, f"select count(*)::integer from {name}")
            assert count == [(expected,)], (which, setting, name)


async def test_partitions_show_no_more_even_to_whom_they_are_granted(
    filled: AsyncConnection, logins: dict[str, str]
) -> None:
    """Old ones and those that are made later; nobody is granted one by us."""
    made = await partitions.ensure_ahead(filled, 40)
    assert made
    found = await _all(filled, _WITH_TEAM)
    names = [name for name, _, is_partition in found if is_partition]
    assert set(made) < set(names)
    await _as(filled, logins["both"], "")
    for name in names:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await filled.execute(f"select 1 from {name}".encode())
    await filled.execute("reset session authorization")
    await filled.execute(f"grant select on all tables in schema public to {logins['one']}".encode())
    await _as(filled, logins["one"], "")
    teams = {team for name in names for (team,) in await _all(filled, f"select team from {name}")}
    assert teams == {1}


async def test_a_condition_that_tells_what_it_is_shown_is_shown_no_foreign_row(
    filled: AsyncConnection, logins: dict[str, str]
) -> None:
    """The team is compared before any function of the reader's own, however cheap it claims."""
    notices: list[str] = []
    filled.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    await filled.execute(
        "create function tell(t text) returns boolean language plpgsql cost 0.0000001 as"
        " $$ begin raise notice 'saw %', t; return true; end $$"
    )
    await _as(filled, logins["one"], "")
    await filled.execute("select * from gaps where tell(service)")
    assert notices == ["saw of team 1"]


async def test_nothing_that_should_be_bound_is_left_out(filled: AsyncConnection) -> None:
    """Each table is bound, or known to tell of no team; views lend no rights but two."""
    unbound = await _all(
        filled,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
        " and relkind in ('r', 'p', 'm', 'f')"
        " and not (relrowsecurity and relforcerowsecurity and exists ("
        "     select from pg_policy where polrelid = pg_class.oid and polname = 'by_team'))",
    )
    assert {name for (name,) in unbound} == set(_OPEN)
    views = await _all(
        filled,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
        " and relkind = 'v' and not coalesce('security_invoker=true' = any(reloptions), false)",
    )
    functions = await _all(
        filled,
        "select proname::text from pg_proc where pronamespace = 'public'::regnamespace"
        " and prosecdef",
    )
    assert {name for (name,) in views} == set(_LENDING)
    assert functions == []


_SETTINGS = """
insert into rule_sets (version, applied_by, files, minimum_engine, frozen) values
    (1, 'boss', '[{"name": "n", "toml": "url = hook.example/SECRET"}]', 1, '{}'),
    (2, 'boss', '[{"name": "n", "toml": "url = hook.example/SECRET"}]', 1, '{}');
insert into rule_versions (version, name, kind, definition)
    select v, r, 'count', '{}' from unnest(array[1, 2]) v, unnest(array['a', 'b', 'c']) r;
insert into active_rule_set (version) values (2);
update alerts set rule_set = 1, rule = case team when 1 then 'a' else 'b' end;
update leases set holder = 'host-of-2 SECRET';
insert into collectors (name, started_at, seen_at, status) values ('c', now(), now(),
    '{"failing_for_s": 4, "channels": {"mail-of-2": {"error": "SECRET"}}}');
insert into button_offsets (account, update_id) values ('telegram:SECRET', 1);
insert into streams select id, agent, 1, '' from stream_info;
"""


async def test_a_login_of_one_team_reads_no_configuration_of_others(
    filled: AsyncConnection, logins: dict[str, str]
) -> None:
    """No file of rules, no channel, no holder, no foreign stream, not by statistics either."""
    await filled.execute("set session_replication_role = replica")
    await filled.execute(_SETTINGS.encode())
    await filled.execute("set session_replication_role = origin")
    await filled.execute("analyze")
    relations = await _all(
        filled,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
        " and relkind in ('r', 'p', 'v') and has_any_column_privilege(%s, oid, 'select')"
        " and relname <> 'agents'",
        READ_ROLE,
    )
    assert ("collector_states",) in relations
    await _as(filled, logins["one"], "")
    for name in [*(name for (name,) in relations), "pg_stats"]:
        found = await _all(filled, f"select t::text from {name} t where t::text like '%SECRET%'")
        assert found == [], name
    rules = await _all(filled, "select name, version, applied_by from alert_rules order by 1")
    assert rules == [("a", 2, "boss"), ("b", 2, "boss"), ("c", 2, "boss")]
    # Of what its own alerts were raised by, it sees what the rule was.
    assert await _all(filled, "select version, name from rule_versions") == [(1, "a")]
    assert await _all(filled, "select id from streams") == [(1,)]
    assert await _all(filled, "select name, status from collector_states") == [
        ("c", {"failing_for_s": 4})
    ]
    await _as(filled, logins["every"], "*")
    assert len(await _all(filled, "select files from rule_sets")) == 2
    assert len(await _all(filled, "select id from streams")) == 2
    ((status,),) = await _all(filled, "select status from collector_states")
    assert "channels" in status
    # The owner and admin see all without choosing, as they do by policies.
    await filled.execute("reset session authorization")
    await filled.execute("select set_config('outrider.teams', '', false)")
    for role in ("none", roles.ADMIN_ROLE):
        await filled.execute(f"set role {role}".encode())
        assert await _all(filled, "select status from collector_states") == [(status,)]


async def test_each_role_may_do_its_own_and_nothing_else(
    filled: AsyncConnection, database_url: str
) -> None:
    """A commit's role reads no record and changes none; admin's changes only what acts change."""
    refused = {
        INGEST_ROLE: (
            "select message from blocks_fresh",
            "delete from blocks_fresh",
            "select * from alerts",
            "update audit_log set actor = ''",
            "select token_hash from agents",
            "insert into audit_seals select * from audit_seals",
            "update feed set kind = ''",
        ),
        roles.ADMIN_ROLE: (
            "delete from alerts",
            "update alerts set state = 'resolved'",
            "select token_hash from agents",
            "truncate gaps",
            "delete from audit_log",
            "insert into rule_sets default values",
            "update agents set team = 2",
        ),
        READ_ROLE: ("insert into feed select * from feed", "delete from team_roles"),
    }
    for role, statements in refused.items():
        await filled.execute(f"set role {role}".encode())
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await filled.execute(statement.encode())
    await filled.execute(f"set role {roles.ADMIN_ROLE}".encode())
    await filled.execute("update agents set revoked_at = now() where team = 2")
    await filled.execute("insert into team_roles values ('anna', 2)")
    await filled.execute("update team_roles set team = null where role = 'anna'")
    await filled.execute("reset role")
    assert await _all(
        filled,
        "select event, target, before, after from audit_log where service = 'outrider' order by id",
    ) == [
        ("user.role_changed", "anna", None, "2"),
        ("user.role_changed", "anna", "2", "every"),
    ]
    async with await connect(database_url, application_name="t", role=INGEST_ROLE) as ours:
        assert await _all(ours, "select current_user::text") == [(INGEST_ROLE,)]


async def test_what_a_role_may_beyond_reading_is_known(filled: AsyncConnection) -> None:
    """Each table that a role writes, wholly or in columns; readers none, and nobody a partition."""
    granted = await _all(
        filled,
        "select distinct r.rolname::text, c.relname::text, lower(a.privilege_type),"
        " c.relispartition"
        " from pg_class c"
        " left join pg_attribute t on t.attrelid = c.oid and t.attacl is not null"
        " cross join lateral (select * from aclexplode(c.relacl)"
        "                     union all select * from aclexplode(t.attacl)) a"
        " join pg_roles r on r.oid = a.grantee and r.rolname like 'outrider\\_%%'"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')"
        " and r.rolname = any(%s)",
        [READ_ROLE, INGEST_ROLE, roles.ADMIN_ROLE],
    )
    assert not [row for row in granted if row[3]]
    writes: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for role, table, what, _ in granted:
        if what != "select":
            writes[role].add((table, what))
    inserted = {"feed", "gaps", "audit_log", "blocks_fresh", "hits", "quarantine"}
    assert writes == {
        INGEST_ROLE: {(name, "insert") for name in inserted}
        | {("streams", "update"), ("stream_info", "update")},
        roles.ADMIN_ROLE: {
            ("feed", "insert"), ("audit_log", "insert"), ("alerts", "update"), ("agents", "update"),
            *((table, what) for table in ("team_roles", "teams")
              for what in ("insert", "update", "delete")),
            ("silences", "insert"), ("silences", "update"),
        },
    }  # fmt: skip
