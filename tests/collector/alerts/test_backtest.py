"""`outrider rules backtest` over a real store: it agrees with what was told, or says why not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from outrider import command
from outrider_alerting.durations import SECOND_US

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.collector.alerts.world import World

MINUTE = 60 * SECOND_US
COUNT = """
[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
by = ["service"]
window = "1m"
above = {above}
summary = "{{count}} errors in {{service}}"
"""
LIVENESS = """
[[rule]]
name = "worker-dead"
kind = "liveness"
states = ["dead"]
"""


async def report(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str, **files: str
) -> Any:
    """Run the command on rule files and return its document."""
    directory = tmp_path / "rules"
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.toml").write_text(text)
    capsys.readouterr()
    argv = ["rules", "backtest", str(directory), "--since", "1h", "--json", *more]
    code = await asyncio.to_thread(command.main, argv)
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


async def test_the_same_rules_tell_what_was_told(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What fired live of records and of states fires again, at the same times, with no cause."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", world.url)
    rules = COUNT.format(above=2) + LIVENESS
    await world.apply(rules=rules)
    await world.say_alive()
    async with world.evaluating("one"):
        await world.log("a", "b", "c")
        await world.set_state("up")
        await world.set_state("dead", "killed by SIGKILL")
        await world.until("select count(*) > 1 from alerts where state = 'firing'")

    found = await report(world, tmp_path, capsys, rules=rules)

    assert found["records"] == 3
    assert {alert["rule"] for alert in found["alerts"]} == {"errors", "worker-dead"}
    assert all(alert["would_fire"] and alert["alert"] for alert in found["alerts"]), found
    assert [alert["cause"] for alert in found["alerts"]] == ["", ""]


async def test_a_changed_rule_is_told_as_the_cause(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A lower threshold would have fired for records of half an hour ago; the report says why."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", world.url)
    await world.apply(rules=COUNT.format(above=50))
    then = await world.now_us() - 30 * MINUTE
    await world.log("a", "b", "c", at_us=then)
    await world.log("d", level="info", at_us=then)

    found = await report(world, tmp_path, capsys, "--rule", "errors", rules=COUNT.format(above=2))

    (alert,) = found["alerts"]
    assert (found["records"], found["would_fire"], found["fired_live"]) == (3, 1, 0)
    assert alert["summary"] == "3 errors in payments"
    assert alert["key"] == ["payments"]
    assert alert["resolved_at"] is not None
    assert alert["cause"] in {"there was no rule of this name then", "the rule was another then"}


async def test_a_rule_that_is_not_there_is_named(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistyped --rule says which was meant."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", world.url)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "r.toml").write_text(COUNT.format(above=2))
    argv = ["rules", "backtest", str(tmp_path / "rules"), "--rule", "error"]
    assert await asyncio.to_thread(command.main, argv) == 2
    assert "did you mean `errors`?" in capsys.readouterr().err
