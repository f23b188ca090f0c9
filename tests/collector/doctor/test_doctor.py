"""The doctor: each limit by itself, and a run against a database that nobody serves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider import command
from outrider_alerting import rule_files
from outrider_collector.doctor import judge
from outrider_collector.doctor.finding import Finding, worst
from outrider_collector.store.reading.alerts import undelivered
from outrider_collector.store.reading.types import Agent, Collector, Gauges
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
        (judge.schema(State(2, (), ("0001_x",), None)), "bad", "0001_x was changed"),
        (judge.schema(State(3, (), (), 3, 3)), "bad", "upgrade Outrider"),
        (judge.schema(State(3, (), (), 3)), "note", "which works with it"),
        (judge.schema(State(2, (), (), None)), "ok", "schema 2"),
        (judge.read_role("r", exists=False, may_take=False), "warn", "no role r"),
        (judge.read_role("r", exists=True, may_take=False), "warn", "may not take"),
        (judge.read_role("r", exists=True, may_take=True), "ok", "cannot write"),
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


def test_no_collector_is_bad() -> None:
    """Whether none ever was or the last one stopped."""
    assert [one.level for one in judge.collectors([collector(alive=True)], NOW)] == ["ok"]
    (gone,) = judge.collectors([collector(alive=False)], NOW)
    (never,) = judge.collectors([], NOW)
    assert (gone.level, never.level) == ("bad", "bad")
    assert "for 5 min" in gone.fact


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
    assert all(line[:6] in {"ok    ", "warn  ", "bad   "} for line in lines)


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
