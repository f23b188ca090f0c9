"""The kill test: whatever is killed, whenever, each line is in Postgres once."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outrider_collector.up.postgres import Postgres
from tests.chaos.checker import Verdict, hits_of, settle, verdict
from tests.chaos.conftest import LAST_LINES
from tests.chaos.faults import COLLECTORS, FAULTS, Stage, small_disk
from tests.chaos.proxy import CommitProxy
from tests.chaos.writers import FileWriter, ShortLived
from tests.fleet import fleet
from tests.servers.bot_api import TOKEN, BotApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROUNDS = int(os.environ.get("OUTRIDER_CHAOS_ROUNDS", "30"))
SEED = int(os.environ.get("OUTRIDER_CHAOS_SEED", "1"))
LINES_PER_S = 400
_CAUGHT_UP_WITHIN_S = 45.0
_BUG = re.compile(r"Traceback \(most recent|a bug in the agent")

_RULES = """
[[rule]]
name = "errors"
kind = "count"
filter = "service:chaos severity>=error"
window = "1h"
above = 1000000
priority = "info"

[[rule]]
name = "alarm"
kind = "match"
filter = "service:chaos alarm"
by = ["attributes.round"]
max_instances = 1000
priority = "critical"
summary = "alarm"

[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "{token}"
chat_id = 77
base_url = "{base_url}"

[[route]]
match = "rule:alarm"
channels = ["ops"]
"""


@asynccontextmanager
async def _stage(rng: random.Random) -> AsyncIterator[Stage]:
    """A server, a proxy, two collectors, an agent, a Bot API, all running."""
    home = Path(tempfile.mkdtemp(prefix="outrider-chaos-"))
    home.chmod(0o755)
    postgres = Postgres(home / "postgres", home / "run")
    await asyncio.to_thread(postgres.start)
    try:
        async with CommitProxy(home / "proxy", home / "run") as proxy, BotApi(rates=False) as bot:
            through = postgres.url("postgres").replace("%2Frun&", "%2Fproxy&")
            through = through.replace(str(home / "run"), str(home / "proxy"))
            with (
                fleet(
                    postgres.url("postgres"),
                    database="chaos",
                    service="chaos",
                    collectors=COLLECTORS,
                    collector_url=through,
                ) as made,
                small_disk(made.root / "agent"),
            ):
                (made.root / "telegram.token").write_text(TOKEN)
                (made.rules / "rules.toml").write_text(
                    _RULES.format(token=made.root / "telegram.token", base_url=bot.url)
                )
                for name in COLLECTORS:
                    made.start_collector(name)
                for name in COLLECTORS:
                    await asyncio.to_thread(made.wait_for_port, name)
                await asyncio.to_thread(made.run, "rules", "apply", str(made.rules))
                made.start_agent()
                short_lived = ShortLived(made.environment("agent"))
                yield Stage(made, postgres, proxy, short_lived, bot, rng, hit=set())
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.chaos
@pytest.mark.timeout(5400)
async def test_every_line_once_whatever_is_killed(request: pytest.FixtureRequest) -> None:
    """After each round all lines are stored; at the end none is lost, none twice, all in order."""
    say = request.config.stash.setdefault(LAST_LINES, []).append
    rng = random.Random(SEED)
    async with _stage(rng) as stage:
        made = stage.fleet
        writer = FileWriter(made.logs / "numbered.log", LINES_PER_S)
        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(stage.short_lived.run())]
        await settle(stage.connect, "chaos", lambda: writer.written or 1, within_s=30)
        plan = [FAULTS[n % len(FAULTS)] for n in range(ROUNDS)]
        rng.shuffle(plan)
        for number, fault in enumerate(plan):
            started = time.monotonic()
            _raise_alarm(made.logs, number)
            await fault(stage)
            try:
                await settle(
                    stage.connect, "chaos", lambda: writer.written, within_s=_CAUGHT_UP_WITHIN_S
                )
            except TimeoutError as error:
                outputs = {n: made.output(n)[-1500:] for n in (*COLLECTORS, "agent")}
                say(_tally(stage, writer, number + 1)[0])
                pytest.fail(f"seed {SEED}, round {number}, {fault.__name__}: {error}: {outputs}")
            print(f"round {number + 1}: {fault.__name__}: {time.monotonic() - started:.1f} s")
        writer.stopped = stage.short_lived.stopped = True
        await asyncio.gather(*tasks)
        await settle(stage.connect, "chaos", lambda: writer.written, within_s=60)
        await settle(stage.connect, "short", lambda: stage.short_lived.written, within_s=60)
        await _told(stage)
        _judge(stage, writer, say)


def _raise_alarm(logs: Path, number: int) -> None:
    """One line that fires one alert, in a file of its own; not numbered."""
    with (logs / "alarms.log").open("ab") as out:
        out.write(b'{"level":"warn","message":"alarm","attributes":{"round":%d}}\n' % number)


async def _told(stage: Stage) -> None:
    """Wait until no message waits; a claim of a killed deliverer is free after its lease."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with stage.connect() as connection:
            row = connection.execute(
                "select count(*) from notifications where fate in ('waiting', 'claimed')"
            ).fetchone()
        if row == (0,):
            return
        await asyncio.sleep(0.5)


def _tally(stage: Stage, writer: FileWriter, rounds: int) -> tuple[str, Verdict, Verdict, int]:
    """Return the last line of a run, and what it is made of."""
    with stage.connect() as connection:
        lines = verdict(connection, "chaos", writer.written)
        short = verdict(connection, "short", stage.short_lived.written)
    names = (*COLLECTORS, "agent", "clone")
    bugs = sum(len(_BUG.findall(stage.fleet.output(name))) for name in names)
    line = (
        f"chaos: {rounds} rounds, seed {SEED}: lost {lines.lost + short.lost}, "
        f"twice {lines.twice + short.twice}, replayed {lines.replayed + short.replayed}, "
        f"gaps {lines.gap_records + short.gap_records}, bugs {bugs}"
    )
    return line, lines, short, bugs


def _judge(stage: Stage, writer: FileWriter, say: Callable[[str], object]) -> None:
    line, lines, short, bugs = _tally(stage, writer, ROUNDS)
    say(line)
    with stage.connect() as connection:
        errors = connection.execute(
            "select count(*) from logs where service = 'chaos' and severity >= 17"
        ).fetchone()
        hits = hits_of(connection, "errors")
        fates = connection.execute(
            "select fate, count(*) from notifications where channel = 'ops' group by fate"
        ).fetchall()
        alarms = connection.execute(
            "select a.id, n.provider_id from alerts a join notifications n on n.alert = a.id"
            " where a.rule = 'alarm' and n.channel = 'ops' and n.notice = 'fired'"
        ).fetchall()
        doubled = connection.execute(
            "select rule, key from alerts where rule = 'alarm'"
            " group by rule, key having count(*) > 1"
        ).fetchall()
    print(
        f"{lines.written + short.written} lines, {writer.rotations} rotations, "
        f"{stage.short_lived.processes} processes, {stage.proxy.lost} lost answers, "
        f"fates {dict(fates)}, died at {sorted(stage.hit or ())}"
    )

    assert (lines.lost, lines.twice, lines.disordered) == (0, 0, 0), lines
    assert (short.lost, short.twice, short.disordered) == (0, 0, 0), short
    assert lines.quarantined == 0
    assert bugs == 0
    assert stage.short_lived.failures == []
    assert errors is not None
    assert hits == errors[0]
    assert doubled == []
    # Each alarm was told, and in one more message at most where an outcome was never known.
    assert len(alarms) == ROUNDS
    assert set(dict(fates)) <= {"sent", "unknown"}
    for alarm, message in alarms:
        told = _messages_about(stage.bot, alarm, message)
        assert 1 <= len(told) <= 2, (alarm, told)


def _messages_about(bot: BotApi, alarm: int, kept: str) -> set[int]:
    """Return the messages that told an alarm: as their own, or by an edit as one of several.

    A message names ten followers and counts the rest; of those the ledger has ``kept`` which it is.
    """
    resolves = {m.message_id for m in bot.versions if m.reply_to is not None}
    named = re.compile(rf"\bA-{alarm}\b")
    return {
        m.message_id
        for m in bot.versions
        if m.message_id not in resolves
        and (
            named.search(m.text)
            or (str(m.message_id) == kept and "more in the list of alerts" in m.text)
        )
    }
