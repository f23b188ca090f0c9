"""Commands about alerts, silences and channels, as a user types them, beside a collector."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.collector.alerts import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.alerts.terminal import Terminal
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi


async def test_acts_without_a_collector_say_what_to_do(
    terminal: Terminal, rules_dir: Path, tmp_path: Path
) -> None:
    """No token file: 2. A token but nobody listening: 1."""
    no_token = await terminal("rules", "apply", str(rules_dir))
    (tmp_path / "collector").mkdir()
    (tmp_path / "collector" / "admin.token").write_text("secret-of-nobody\n")
    nobody = await terminal("alerts", "ack", "12")

    assert no_token.code == 2 and "admin token" in no_token.err
    assert nobody.code == 1 and "no collector answers" in nobody.err
    assert "secret-of-nobody" not in nobody.err


async def test_an_alert_is_listed_shown_and_acknowledged(
    terminal: Terminal, collector: None, world: World
) -> None:
    """The life of an alert at the terminal."""
    await world.apply(rules=samples.LIVENESS)
    await world.set_state("dead", "killed by SIGKILL")
    await world.until("select count(*) from alerts where state = 'firing'")

    listed = await terminal("alerts")
    shown = await terminal("alerts", "show", "A-1")
    acknowledged = await terminal("alerts", "ack", "1", "--comment", "on it")
    again = await terminal("alerts", "ack", "1", "--json")
    as_json = await terminal("alerts", "list", "--json")

    assert listed.code == 0 and "A-1" in listed.out and "critical" in listed.out
    assert "SIGKILL" in shown.out and "in-app  sent" in shown.out
    assert (acknowledged.code, acknowledged.out) == (0, "A-1 is acknowledged\n")
    assert again.document["changed"] is False
    assert as_json.document[0]["acknowledge_comment"] == "on it"


async def test_an_alert_is_explained(
    terminal: Terminal, collector: None, world: World, telegram: BotApi, tmp_path: Path
) -> None:
    """For each destination: what became of the message, and which route and silence decided."""
    (tmp_path / "collector" / "telegram.token").write_text(telegram.token)
    await world.apply(notify=samples.notify(telegram.url), rules=samples.LIVENESS)
    await terminal("silences", "add", "worker:w1", "--for", "2h", "--comment", "move")
    await world.set_state("dead", "killed by SIGKILL", worker="w1")
    await world.set_state("dead", "killed by SIGKILL", worker="w2")
    await world.until(
        "select count(*) = 1 from notifications where fate = 'sent' and channel = 'ops'"
    )
    numbers = {
        alert["labels"]["worker"]: alert["id"]
        for alert in (await terminal("alerts", "--all", "--json")).document
    }

    silenced = await terminal("alerts", "explain", f"#{numbers['w1']}")
    told = await terminal("alerts", "explain", f"A-{numbers['w2']}")
    as_json = await terminal("alerts", "explain", str(numbers["w1"]), "--json")

    assert "1  every alert -> ops: matches" in silenced.out
    assert "silence 1  worker:w1" in silenced.out
    assert "suppressed (not told): silence 1 'move'" in silenced.out
    assert "in short  ops was not told: silence 1 'move'" in silenced.out
    assert "in short  ops was told at " in told.out
    assert "silences that match it:\n  none" in told.out
    assert "sent (told)" in told.out.partition("ops (telegram):")[2]
    assert [
        row["fate"] for row in as_json.document["notifications"] if row["channel"] == "ops"
    ] == ["suppressed"]
    assert as_json.document["silences"][0]["comment"] == "move"


async def test_an_explanation_names_how_and_with_whom_a_channel_was_told(
    terminal: Terminal, collector: None, world: World, telegram: BotApi, tmp_path: Path
) -> None:
    """A fallback is called one, a step of the route is shown, and so is who shared the message."""
    (tmp_path / "collector" / "telegram.token").write_text(telegram.token)
    telegram.blocked.add(77)
    ops = samples.notify(telegram.url).replace('"ops"]', '"ops"]\nremind = "4h"')
    ops = ops.replace('type = "telegram"', 'type = "telegram"\nfallback = "boss"')
    boss = samples.notify(telegram.url, 78).split("[[route]]")[0].replace('"ops"', '"boss"')
    await world.apply(notify=ops + boss, rules=samples.LIVENESS)
    for worker in ("w1", "w2", "w3"):
        await world.set_state("dead", worker=worker)
    await world.until(
        "select count(*) = 3 from notifications where fate = 'sent' and channel = 'boss'"
    )
    numbers = [alert["id"] for alert in (await terminal("alerts", "--json")).document]
    told = [await terminal("alerts", "explain", str(number)) for number in sorted(numbers)]
    as_json = await terminal("alerts", "explain", str(max(numbers)), "--json")

    assert "ops: matches; while nobody acknowledges: again every 4h" in told[0].out
    assert "ops was not told, the channel refused: Forbidden: bot was blocked" in told[0].out
    assert "boss (telegram), the fallback of ops:" in told[0].out
    assert "in one message with A-" in "".join(each.out for each in told)
    boss_row = as_json.document["notifications"][-1]
    assert boss_row["reached"] == "the fallback of ops"
    assert set(boss_row["together_with"]) <= set(numbers)


async def test_an_explanation_says_whom_the_rules_of_today_would_tell(
    terminal: Terminal, world: World, telegram: BotApi
) -> None:
    """Fired before there were routes: which set had none, what today's has, and that it is late."""
    await world.apply(rules=samples.LIVENESS)
    async with world.evaluating():
        await world.set_state("dead", worker="w1")
        await world.until("select count(*) = 1 from alerts where state = 'firing'")
    before = await terminal("alerts", "explain", "1")
    await world.apply(notify=samples.notify(telegram.url), rules=samples.LIVENESS)
    told = await terminal("alerts", "explain", "1")

    assert "  none: add a [[channel]] and a [[route]] to the rules" in before.out
    assert "routes (of rule set 1;" in told.out and "  none\n" in told.out
    assert "rule set 2 is in force now: it would tell ops of such an alert" in told.out
    assert "new routes do not tell of what was open before" in told.out
    as_json = await terminal("alerts", "explain", "1", "--json")
    assert as_json.document["today"] == {"rule_set": 2, "channels": ["ops"]}


async def test_a_silence_ends_by_its_number_however_it_is_written(
    terminal: Terminal, world: World, collector: None
) -> None:
    """9, S-9 and #9 are the same silence; anything else is no silence."""
    await world.apply(rules=samples.LIVENESS)
    await terminal("silences", "add", "worker:w1", "--for", "2h")
    ended = await terminal("silences", "end", "S-1")
    again = await terminal("silences", "end", "#1", "--json")
    none = await terminal("silences", "end", "A-1")

    assert (ended.code, ended.out) == (0, "silence 1 has ended\n")
    assert again.document == {"silence": 1, "changed": False}
    assert none.code == 2 and "not a silence: A-1: write its number" in none.err


async def test_options_of_the_default_act_need_no_act(terminal: Terminal, world: World) -> None:
    """`alerts --all` is `alerts list --all`; a mistyped act is not taken for its option."""
    await world.apply(rules=samples.LIVENESS)
    assert (await terminal("alerts", "--all")).out == "no open alerts\n"
    assert (await terminal("silences", "--config", str(terminal.config), "--all")).code == 0
    mistyped = await terminal("alerts", "lst", "--all")
    assert mistyped.code == 2 and "'explain'" in mistyped.err


async def test_a_silence_that_can_hold_nothing_is_doubted(
    terminal: Terminal, collector: None, world: World
) -> None:
    """A label that no alert has is refused; a rule that there is not is doubted. Both are named."""
    await world.apply(rules=samples.LIVENESS)

    wrong = "servise:x rule:worker-gon"
    refused = await terminal("silences", "add", wrong, "--for", "2h")
    tried = await terminal("silences", "add", wrong, "--for", "2h", "--dry-run")
    doubted = await terminal("silences", "add", "rule:worker-gon", "--for", "2h")
    sound = await terminal("silences", "add", "state:dead -worker:w9 x*", "--for", "2h", "--json")

    assert (refused.code, refused.out) == (2, "")
    for said in (refused.err, tried.err):
        assert "a label `servise`: did you mean `service`? There are: rule, " in said
    assert doubted.code == 0 and doubted.out.startswith("silence 1 until ")
    assert "no rule `worker-gon`: did you mean `worker-gone`? " in doubted.err
    assert "outrider silences end 1" in doubted.err
    assert (sound.document["doubts"], sound.err) == ([], "")


@pytest.mark.parametrize(
    ("words", "code"),
    [(("ack", "999"), 1), (("show", "999"), 1), (("show", "nonsense"), 2)],
)
async def test_alerts_that_are_not_there(
    terminal: Terminal, collector: None, words: tuple[str, ...], code: int
) -> None:
    """An unknown number: 1, and where the known ones are; what is no number: 2."""
    done = await terminal("alerts", *words)

    assert code == done.code
    assert done.err.startswith("outrider: ")
    assert ("list them with 'outrider alerts" in done.err) == (code == 1)


async def test_a_silence_is_added_listed_and_ended(
    terminal: Terminal, collector: None, world: World
) -> None:
    """It names the alerts that it holds now, and ends when told to."""
    await world.apply(rules=samples.LIVENESS)
    await world.set_state("dead")
    await world.until("select count(*) from alerts where state = 'firing'")

    added = await terminal("silences", "add", "rule:worker-gone", "--for", "2h", "--comment", "x")
    listed = await terminal("silences")
    ended = await terminal("silences", "end", "1")
    again = await terminal("silences", "end", "1", "--json")

    assert added.code == 0 and "it holds A-1 now" in added.out
    assert "rule:worker-gone" in listed.out and "left" in listed.out
    assert (ended.code, ended.out) == (0, "silence 1 has ended\n")
    assert again.document["changed"] is False


@pytest.mark.parametrize(
    "words",
    [
        ("add", "rule:(", "--for", "2h"),
        ("add", "rule:x", "--for", "soon"),
        ("add", "", "--for", "2h"),
        ("add", "rule:x"),
    ],
)
async def test_bad_silences_are_usage_errors(terminal: Terminal, words: tuple[str, ...]) -> None:
    """A filter or a length that cannot be read: 2."""
    done = await terminal("silences", *words)

    assert done.code == 2


async def test_notify_sends_a_real_message(
    terminal: Terminal, world: World, telegram: BotApi, tmp_path: Path, collector: None
) -> None:
    """The message goes the way of every other, and the command tells its fate from the ledger.

    Sent is 0; a block is told and is 1, at once; a typo is helped.
    """
    (tmp_path / "collector" / "telegram.token").write_text(telegram.token)
    await world.apply(notify=samples.notify(telegram.url), rules=samples.LIVENESS)

    sent = await terminal("notify", "test", "ops")
    telegram.blocked.add(77)
    blocked = await terminal("notify", "test", "ops", "--json")
    unknown = await terminal("notify", "test", "opps")

    assert sent.code == 0 and "ops: sent in" in sent.out
    assert "Test of channel ops" in telegram.messages[0].text
    assert re.search(r"ledger: notification \d+, sent, to telegram:77", sent.out)
    assert "try 1" in sent.out
    assert (blocked.code, blocked.document["fate"]) == (1, "failed")
    assert "blocked" in blocked.document["tries"][0]["error"]
    assert unknown.code == 1 and "did you mean 'ops'" in unknown.err
    rows = await world.rows(
        "select alert, notice, fate from notifications where channel_type <> 'null' order by id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (None, "test", "sent"), (None, "test", "failed"),
    ]  # fmt: skip


async def test_check_beside_a_running_collector_is_no_finding(
    terminal: Terminal, collector: None, world: World
) -> None:
    """The address is taken by the very collector that is checked: that is said, and all is well."""
    await world.until("select count(*) from collectors where status ? 'pid'")

    done = await terminal("collector", "check")

    assert done.code == 0
    assert f"a collector (pid {os.getpid()}) serves 127.0.0.1:" in done.out


async def test_the_doctor_finds_what_a_channel_lacks(
    terminal: Terminal, collector: None, world: World, tmp_path: Path
) -> None:
    """Beside a running collector a secret that is missing is bad, and one that is there is not."""
    secret = tmp_path / "collector" / "telegram.token"
    await world.apply(notify=samples.notify("http://127.0.0.1:1"), rules=samples.LIVENESS)
    await world.until("select count(*) from collectors where status ? 'pid'")

    missing = await terminal("doctor")
    secret.write_text("42:loopback-token-of-the-test-bot")
    there = await terminal("doctor", "--json")

    assert missing.code == 1
    assert f"bad   channels: channel ops: cannot read bot_token_file {secret}" in missing.out
    assert not [one for one in there.document["findings"] if one["level"] == "bad"]


async def test_a_silence_of_every_week_is_previewed_and_kept(
    terminal: Terminal, world: World, collector: None
) -> None:
    """The preview adds nothing and lists what it would hold; then quiet hours are kept as said."""
    await world.apply(rules=samples.LIVENESS)
    await world.set_state("dead", worker="w1")
    await world.until("select count(*) from alerts")
    always = ("worker:w1", "--schedule", "00:00-24:00", "--timezone", "Europe/Berlin")

    shown = await terminal("silences", "add", *always, "--dry-run")
    quiet = await terminal("silences", "add", *always, "--quiet-hours", "--dry-run", "--json")
    none_yet = await world.value("select count(*) from silences")
    added = await terminal("silences", "add", *always, "--quiet-hours")
    listed = await terminal("silences", "list")

    assert (shown.code, none_yet) == (0, 0)
    assert "now it would hold 1 alert back" in shown.out
    assert "in the last 7 days it would have held 1 of the 1 back that fired" in shown.out
    # The alert is critical: quiet hours let it pass.
    assert (quiet.document["now"], quiet.document["past"], quiet.document["fired"]) == ([], [], 1)
    assert added.code == 0 and "critical alerts pass" in added.out
    assert "00:00-24:00 Europe/Berlin, critical passes" in listed.out
    (row,) = await world.rows("select schedule, timezone, quiet_hours from silences")
    assert tuple(row.values()) == ("00:00-24:00", "Europe/Berlin", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "how long is not said: --for"),
        (("--quiet-hours",), "it needs a schedule: --quiet-hours"),
        (("--schedule", "moon 10:00-11:00"), "'moon' is no day"),
        (("--schedule", "10:00-11:00", "--timezone", "Mars"), "no time zone 'Mars'"),
    ],
)
async def test_a_silence_that_says_no_time_is_a_usage_error(
    terminal: Terminal, words: tuple[str, ...], said: str
) -> None:
    """2, with the option and what to write."""
    done = await terminal("silences", "add", "worker:w1", *words)

    assert done.code == 2
    assert said in done.err
