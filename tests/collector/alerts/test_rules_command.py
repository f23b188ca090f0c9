"""`outrider rules`, as a user types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.collector.alerts import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.alerts.terminal import Terminal
    from tests.collector.alerts.world import World


async def test_lint_says_in_order_or_names_file_line_and_key(
    terminal: Terminal, rules_dir: Path
) -> None:
    """Good rules: 0. An unknown key: 3, with file, line and the nearest key."""
    good = await terminal("rules", "lint", str(rules_dir))
    (rules_dir / "more.toml").write_text(samples.COUNT.replace("window", "windw"))
    bad = await terminal("rules", "lint", str(rules_dir))
    as_json = await terminal("rules", "lint", str(rules_dir), "--json")

    assert (good.code, good.out) == (0, "in order: 1 rule, 0 channels, 0 routes\n")
    assert bad.code == 3
    assert "more.toml:" in bad.out and "window" in bad.out
    assert as_json.document[0]["file"] == "more.toml"


async def test_rules_test_says_what_does_not_hold_and_where(
    terminal: Terminal, tmp_path: Path
) -> None:
    """Tests beside the rules pass, or name rule, test, what is there, file and line."""
    directory = tmp_path / "tested"
    directory.mkdir()
    test = """
[[rule.test]]
given = [{ at = "0s", repeat = 4, service = "payments", worker = "w1", severity = "error" }]
expect = [{ at = "3s", state = "firing", by = { worker = "w1" } }]
"""
    (directory / "a.toml").write_text(samples.COUNT + test)
    passed = await terminal("rules", "test", str(directory))
    (directory / "a.toml").write_text(samples.COUNT + test.replace("repeat = 4", "repeat = 3"))
    failed = await terminal("rules", "test", str(directory))
    as_json = await terminal("rules", "test", str(directory), "--json")

    assert (passed.code, passed.out) == (0, "1 test passed\n")
    assert failed.code == 1
    assert "at 3s the alert of worker w1 is inactive, expected firing: a.toml:14" in failed.out
    assert [failure["where"] for failure in as_json.document["failures"]] == ["a.toml:14"]


async def test_lint_names_secrets_that_cannot_be_read_here(
    terminal: Terminal, rules_dir: Path, tmp_path: Path
) -> None:
    """A missing secret file is a note with its line and its path, not a fault of the rules."""
    (rules_dir / "notify.toml").write_text(samples.notify("https://telegram.test"))
    missing = await terminal("rules", "lint", str(rules_dir))
    as_json = await terminal("rules", "lint", str(rules_dir), "--json")
    secret = tmp_path / "collector" / "telegram.token"
    secret.parent.mkdir()
    secret.write_text("42:loopback-token-of-the-test-bot\n")
    there = await terminal("rules", "lint", str(rules_dir))

    assert missing.code == 0 and "1 channel, " in missing.out
    assert missing.out.endswith(", 1 warning\n")
    assert missing.err.startswith("outrider: warning: `bot_token_file` of channel `ops`: ")
    assert as_json.code == 0
    (warning,) = as_json.document
    assert (warning["file"], warning["line"], warning["is_error"]) == ("notify.toml", 5, False)
    assert warning["key"] == "channel[0].bot_token_file"
    assert "notify.toml:5" in missing.err and str(secret) in missing.err
    assert (there.code, there.err) == (0, "")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
async def test_a_directory_that_is_none_is_a_usage_error(
    terminal: Terminal, tmp_path: Path, name: str
) -> None:
    """A missing or empty directory: 2, with what to do."""
    (tmp_path / "empty").mkdir()

    done = await terminal("rules", "lint", str(tmp_path / name))

    assert done.code == 2
    assert done.err.startswith("outrider: ") and name in done.err


async def test_apply_tells_that_the_next_start_undoes_it(
    terminal: Terminal, rules_dir: Path, tmp_path: Path, collector: None
) -> None:
    """Where `outrider up` ran it applies its own directory again, unless that holds the same."""
    theirs, mine = rules_dir, tmp_path / "mine"
    mine.mkdir()
    file = mine / "workers.toml"
    file.write_text(f"# mine\n{samples.LIVENESS}")
    alone = await terminal("rules", "apply", str(mine))
    (tmp_path / "up.lock").touch()
    undone = await terminal("rules", "apply", str(mine))
    its_own = await terminal("rules", "apply", str(theirs))
    file.write_text(samples.LIVENESS)
    same = await terminal("rules", "apply", str(mine))

    assert [done.code for done in (alone, undone, same, its_own)] == [0, 0, 0, 0]
    assert f"the next start of `outrider up` undoes this: it applies {theirs}: " in undone.err
    assert (alone.err, same.err, its_own.err) == ("", "", "")


async def test_apply_and_diff(terminal: Terminal, rules_dir: Path, collector: None) -> None:
    """Diff says what would change (3), apply makes a version, again it is the same version."""
    before = await terminal("rules", "diff", str(rules_dir))
    applied = await terminal("rules", "apply", str(rules_dir))
    again = await terminal("rules", "apply", str(rules_dir), "--json")
    after = await terminal("rules", "diff", str(rules_dir))

    assert (before.code, before.out) == (3, "+ rule worker-gone\n")
    assert (applied.code, applied.out) == (0, "+ rule worker-gone\nrule set 1 is active\n")
    assert again.document["version"] == 1 and not again.document["added"]
    assert after.code == 0

    (file,) = rules_dir.glob("*.toml")
    text = file.read_text()
    file.write_text(text.replace('priority = "critical"', 'priority = "info"\nfor = "5s"'))
    changed = await terminal("rules", "diff", str(rules_dir))
    as_json = await terminal("rules", "diff", str(rules_dir), "--json")
    assert changed.out == (
        '~ rule worker-gone\n    for: "0s" -> "5s"\n    priority: "critical" -> "info"\n'
    )
    assert as_json.document["keys"]["rule worker-gone"][0] == {
        "key": "for", "before": "0s", "after": "5s",
    }  # fmt: skip


async def test_bad_rules_are_not_applied(
    terminal: Terminal, rules_dir: Path, collector: None, world: World
) -> None:
    """An error in a file: 2, named on standard error, nothing stored."""
    (rules_dir / "more.toml").write_text('[[rule]]\nname = "x"\nkind = "cuont"\n')

    done = await terminal("rules", "apply", str(rules_dir))

    assert done.code == 2
    assert "more.toml:3" in done.err and "count" in done.err
    assert await world.value("select count(*) from rule_sets") == 0
