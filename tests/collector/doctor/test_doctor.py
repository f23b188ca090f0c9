"""The doctor: each limit by itself, and a run against a database that nobody serves."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from outrider import command
from outrider_alerting import rule_files
from outrider_collector.doctor import judge
from outrider_collector.doctor.finding import Finding, worst
from outrider_collector.store.reading import room
from outrider_collector.store.reading.alerts import undelivered
from outrider_collector.store.reading.types import Agent, Collector, Gauges
from outrider_collector.store.roles import Sight
from outrider_collector.store.schema import Migration, State

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEP = Migration(2, "more", "select 1", "00")


def agent(state: str, **more: Any) -> Agent:
    """An agent in a state for five minutes."""
    since = NOW - timedelta(minutes=5)
    revoked = NOW if more.get("revoked") else None
    return Agent(1, "web-1", state, since, "no word", NOW, NOW, NOW, revoked, "1", "c", 1, Gauges())


def collector(*, alive: bool) -> Collector:
    """A collector that was last seen five minutes ago."""
    seen = NOW - timedelta(minutes=5)
    return Collector("c-1", seen, seen, None, alive, {"records_per_s": 7})


@pytest.mark.parametrize(
    ("finding", "level", "said"),
    [
        (judge.server(140_010, "14.10", has_lz4=True), "bad", "upgrade it to 15"),
        (judge.server(160_001, "16.1", has_lz4=False), "warn", "without lz4"),
        (judge.server(180_001, "18.1", has_lz4=False, is_ours=True), "note", "embedded"),
        (judge.server(160_001, "16.1", has_lz4=True), "ok", "Postgres 16.1"),
        (judge.schema(State(1, (STEP,), (), None)), "bad", "run 'outrider store migrate'"),
        (judge.schema(State(0, (STEP,), (), None)), "bad", "is it the right database?"),
        (judge.schema(State(2, (), ("0001_x",), None)), "bad", "0001_x was changed"),
        (judge.schema(State(3, (), (), 3, 3)), "bad", "upgrade Outrider"),
        (judge.schema(State(3, (), (), 3)), "note", "which works with it"),
        (judge.schema(State(2, (), (), None)), "ok", "schema 2"),
        (judge.read_role("r", exists=False, may_take=False), "warn", "no role r"),
        (judge.read_role("r", exists=True, may_take=False), "warn", "may not take"),
        (judge.read_role("r", exists=True, may_take=True), "ok", "cannot write"),
        (judge.readers("h/d", Sight("pages", 0, 2, None)), "bad", "('pages', null)"),
        (judge.readers("h/d", Sight("pages", 1, 2, None)), "note", "1 of 2 teams"),
        (judge.readers("h/d", Sight("pages", 2, 2, None)), "ok", "every team"),
        (
            judge.readers("h/d", Sight("pages", 2, 2, 4.2)),
            "ok",
            "a replica, 4 s behind",
        ),
        (judge.readers("h/d", Sight("pages", 2, 2, 99)), "warn", "99 s behind"),
        (judge.agent_settings("", ["a: b", "c"]), "note", "a: b, and 1 more"),
        (judge.agent_settings("", [], is_done=False), "note", "takes long"),
        (
            judge.agent_settings("package 'x' is not installed", [], is_wrong=True),
            "note",
            "cannot be checked here",
        ),
        (judge.clock(0.2), "ok", "0.200 s ahead"),
        (judge.clock(-3.0), "warn", "3.000 s behind"),
        (judge.clock(90.0), "bad", "NTP"),
        (judge.partitions(26), "ok", "26 hours"),
        (judge.partitions(8), "warn", "8 hours"),
        (judge.partitions(1), "bad", "1 hours"),
        (judge.disk("/d", 10**12, 5 * 10**11), "ok", "500.0 GB of 1.0 TB free at /d"),
        (judge.disk("/d", 10**12, 5 * 10**10), "warn", "`retention.app`"),
        (judge.disk("/d", 10**12, 10**8), "bad", "free some"),
        (judge.address("h:1", answers=False), "bad", "nobody answers at h:1"),
        (judge.channel("ops", "", is_collector_host=True), "ok", "outrider notify test ops"),
        (judge.channel("ops", "no file", is_collector_host=True), "bad", "no file"),
        (judge.channel("ops", "no file", is_collector_host=False), "warn", "elsewhere"),
    ],
)
def test_each_fact_has_its_limits(finding: Finding, level: str, said: str) -> None:
    """A fact is judged by its limit and comes with what to do."""
    assert finding.level == level
    assert said in finding.line
    assert finding.line.startswith(f"{level:<4}  {finding.part}: ")


def test_agents_in_trouble_are_named_and_the_others_counted() -> None:
    """Silent is bad, lagging a warning; revoked and retired agents are nobody's trouble."""
    crowd = [agent("silent"), agent("lagging"), agent("up"), agent("retired")]
    found = list(judge.agents([*crowd, agent("dead", revoked=True)], NOW))
    assert [one.level for one in found] == ["bad", "warn", "ok"]
    assert "web-1 is silent (no word), for 5 min" in found[0].fact
    assert [one.level for one in judge.agents([agent("retired")], NOW)] == ["warn"]


def test_an_agent_that_looks_for_the_collector_elsewhere_is_the_cure() -> None:
    """Where the two addresses of one file differ, starting an agent helps nobody."""
    told = judge.collectors_of_agent("127.0.0.1:15511", ["127.0.0.1:15510"], "o.toml")
    assert told is not None
    assert told.line.endswith("listens on 127.0.0.1:15511: correct `collectors` of [agent]: o.toml")
    (none,) = judge.agents([], NOW, looks_elsewhere=True)
    assert none.what_to_do == "correct `collectors` of [agent]"
    for found in (["localhost:15511"], ["127.0.0.1:1", "127.0.0.1:15511"], ["unix:/run/o"]):
        assert judge.collectors_of_agent("127.0.0.1:15511", found, "o.toml") is None


def test_no_collector_is_bad() -> None:
    """Whether none ever was or the last one stopped."""
    assert [one.level for one in judge.collectors([collector(alive=True)], NOW)] == ["ok"]
    (gone,) = judge.collectors([collector(alive=False)], NOW)
    (never,) = judge.collectors([], NOW)
    assert (gone.level, never.level) == ("bad", "bad")
    assert "for 5 min" in gone.fact


def measured(
    name: str, level: str, full_in_s: int | None = None, *, alive: bool = True
) -> Collector:
    """A collector that measured the store's room."""
    said: dict[str, Any] = {"disk_said": f"room by {name}", "disk_level": level}
    if full_in_s is not None:
        said["disk_full_in_s"] = full_in_s
    return Collector(name, NOW, NOW, None, alive, said)


def test_the_store_has_as_much_room_as_the_collector_says_that_sees_least() -> None:
    """One may see the disk, another only an address; who is gone says nothing any more."""
    well, shed = measured("a", "well"), measured("b", "shed", 9 * 86_400)
    gone, soon = measured("c", "hold", alive=False), measured("d", "well", 86_400)
    odd = Collector("e", NOW, NOW, None, True, {"disk_said": "x", "disk_level": ["?"]})

    def level(*found: Collector) -> str:
        known = room.room(found)
        return "".join(f"{one.level} {one.fact}" for one in judge.room(known))

    assert level(well, shed, gone) == "warn the store has room by b"
    assert level(well, gone) == "ok the store has room by a"
    assert level(well, soon) == "warn the store has room by d"
    assert level(measured("f", "hold")).startswith("bad ")
    assert level(odd) == "ok the store has x"
    assert level(gone, collector(alive=True)) == ""


def test_rules_that_tell_nobody_are_doubted() -> None:
    """No set, or a channel without a route, is a warning; to have no channel is a choice."""
    rule = '[[rule]]\nname = "a"\nkind = "liveness"\n'
    channel = '[[channel]]\nname = "ops"\ntype = "telegram"\nbot_token_file = "t"\nchat_id = 1\n'
    assert [one.fact for one in judge.rules(None, None)] == ["none is active, nothing alerts"]
    silent = list(judge.rules(1, rule_files.read([("a.toml", rule)])))
    assert [one.level for one in silent] == ["ok", "note"]
    lost = list(judge.rules(1, rule_files.read([("a.toml", rule + channel)])))
    assert [one.fact for one in lost if one.level == "warn"] == ["no route leads to ops"]


def test_the_worst_decides() -> None:
    """One bad finding outweighs any number of good ones."""
    ok, warn, bad = (Finding(level, "p", "f") for level in ("ok", "warn", "bad"))
    assert (worst([ok]), worst([ok, warn]), worst([warn, bad, ok])) == ("ok", "warn", "bad")


def test_two_installations_are_remarked() -> None:
    """The variable wins over the settings: that is said where they differ, and is in order where
    the settings only have an embedded database left over.
    """
    assert judge.installations("h/d", "h/d", is_configured=True) is None
    named = judge.installations("h/d", "other/d", is_configured=True)
    left = judge.installations("h/d", "/data/run/outrider", is_configured=False)
    assert named is not None and named.level == "warn" and "other/d" in named.fact
    assert left is not None and left.level == "note" and "/data/run" in left.fact


def test_a_database_that_nobody_serves(
    database_url: str, tmp_path: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The database is sound, the collector is missing: each has its line, and the code is 1."""
    file = tmp_path / "outrider.toml"
    file.write_text(
        f'data_dir = "{tmp_path}/data"\n[database]\nurl = "{database_url}"\n'
        f'[collector]\nlisten = "127.0.0.1:{unused_tcp_port}"\n'
    )
    assert command.main(["doctor", "--config", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    levels = {(one["part"], one["level"]) for one in found["findings"]}
    assert found["worst"] == "bad"
    assert {("schema", "ok"), ("clock", "ok"), ("collector", "bad"), ("rules", "warn")} <= levels

    assert command.main(["doctor", "--config", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"ok    settings: {file}" in lines
    assert all(line[:6] in {"ok    ", "note  ", "warn  ", "bad   "} for line in lines)


def test_the_agents_table_is_read_by_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file serves both; a key that only the agent knows is wrong is told as it tells it."""
    file = tmp_path / "outrider.toml"

    def told() -> list[tuple[str, str]]:
        command.main(["doctor", "--config", str(file), "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        return [(one["level"], one["fact"]) for one in found if one["part"] == "agent"]

    head = f'data_dir = "{tmp_path}"\n'
    file.write_text(head)
    assert told() == []
    file.write_text(f'{head}[agent]\ncolectors = ["127.0.0.1:1"]\n')
    ((level, fact),) = told()
    assert level == "bad"
    assert fact == f"unknown key `agent.colectors`: {file}:3: did you mean `collectors`?"
    file.write_text(f'{head}[agent]\nstate_dir = "{tmp_path}/state"\ninbox = "{tmp_path}/inbox"\n')
    assert told() == [("ok", "its settings can be read")]


def test_a_login_of_the_dashboard_without_a_team_is_told(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its pages would be empty without a word: doctor looks with the reader's own login."""
    name = f"outrider_pages_{uuid.uuid4().hex[:8]}"
    file = tmp_path / "outrider.toml"
    file.write_text(
        f'data_dir = "{tmp_path}/data"\n[database]\nurl = "{database_url}"\n'
        f'read_url = "{make_conninfo(database_url, user=name)}"\n'
    )

    def readers() -> dict[str, str]:
        command.main(["doctor", "--config", str(file), "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        (finding,) = (one for one in found if one["part"] == "readers")
        return dict(finding)

    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"create role {name} login in role outrider_read".encode())
        try:
            nothing = readers()
            owner.execute(nothing["what_to_do"].removeprefix("as the owner: ").encode())
            everything = readers()
        finally:
            owner.execute(f"drop role {name}".encode())
    assert nothing["level"] == "bad" and f"{name} sees no team" in nothing["fact"]
    assert everything["level"] == "ok"


def test_a_database_that_is_down_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What needs the database is left out, and the rest is still said."""
    file = tmp_path / "outrider.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n')
    assert command.main(["doctor", "--config", str(file)]) == 1
    out = capsys.readouterr().out
    assert "bad   database: there is no embedded database yet" in out
    assert "disk: " in out and "schema" not in out


async def test_a_message_that_arrives_answers_those_lost_before_it(database_url: str) -> None:
    """What failed counts until a later one is sent, and only of channels that there are."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        cursor = await connection.execute(
            "insert into alerts (rule_set, rule, kind, key, labels, priority, state, summary,"
            " started_at) values (1, 'r', 'count', '{}', '{}', 'critical', 'firing', 's', now())"
            " returning id"
        )
        ((alert,),) = await cursor.fetchall()

        async def message(channel: str, fate: str, minutes_ago: int) -> None:
            await connection.execute(
                "insert into notifications (alert, notice, channel, channel_type, conversation,"
                " priority, fate, content, created_at) values (%s, %s, %s, 'telegram', 'c',"
                " 'critical', %s, '{}', now() - make_interval(mins => %s))",
                (alert, f"raised:{minutes_ago}", channel, fate, minutes_ago),
            )

        await message("ops", "failed", 30)
        await message("mail", "dead", 30)
        await message("gone", "failed", 30)
        assert await undelivered(connection, ["ops", "mail"]) == {"mail": 1, "ops": 1}
        await message("ops", "sent", 20)
        assert await undelivered(connection, ["ops", "mail"]) == {"mail": 1}
        await message("ops", "unknown", 10)
        assert await undelivered(connection, ["ops", "mail"]) == {"mail": 1, "ops": 1}
