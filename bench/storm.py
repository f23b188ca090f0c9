"""Ten thousand alerts that fire within a second, into one group chat; and what rules cost at rest.

Ten rules of a thousand workers each: all lines of the storm are appended at once, and one critical
line comes behind them. The Bot API is the strict loopback server of the tests, with Telegram's
rates: whatever exceeds them is refused, and told with the message that follows.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from bench.corpus import batches
from bench.dense import one, until_connected
from bench.rule_sets import quiet_rules
from outrider.columns import pack_text
from outrider.instants import to_us
from outrider_alerting import rule_files
from outrider_alerting.counting import HitCounter
from tests.fleet import fleet
from tests.servers.bot_api import TOKEN, BotApi

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results
    from tests.fleet import Fleet
    from tests.servers.bot_wire import Sent

RULES = 10
INSTANCES = 1_000
"""Of each rule: as many as ``max_instances`` allows."""
RECORDS = 400_000
BATCH_RECORDS = 2_000
HOSTILE = (r"(a+)+$", "|".join(f"w{n}[a-z]*x{n}" for n in range(200)), r"[a-q][^u-z]{13}x")
"""Patterns that hold up engines which try again; lines of a megabyte are held against each."""
CRITICAL = "the vault is open"


def run(postgres_url: str, results: Results) -> None:
    """Raise the storm once, and count 200 rules over records that none of them wants."""
    with fleet(postgres_url, database="bench_storm") as made:
        asyncio.run(_measure(made, results))
    results.add("rules.us_per_record", _us_per_record(), "us", RECORDS)
    results.add("rules.hostile_ms_per_mb", _hostile_ms_per_mb(), "ms")


async def _measure(made: Fleet, results: Results) -> None:
    arrived: list[tuple[float, str]] = []
    async with BotApi() as telegram:

        def note(message: Sent) -> None:
            arrived.append((time.time(), message.text))

        telegram.on_message = note
        token = made.root / "telegram.token"
        token.write_text(TOKEN)
        (made.rules / "storm.toml").write_text(_rules(telegram.url, token))
        await asyncio.to_thread(_start, made)
        started = await asyncio.to_thread(_write, made.logs / "storm.log")
        await asyncio.to_thread(_until_told, made)
        refused = len(telegram.refused)
    place, critical_at = next(
        (place, at) for place, (at, text) in enumerate(arrived, 1) if CRITICAL in text
    )
    results.add("storm.first_message_ms", (arrived[0][0] - started) * 1000, "ms")
    results.add("storm.critical_ms", (critical_at - started) * 1000, "ms")
    results.add("storm.critical_place", place, "message")
    results.add("storm.last_message_ms", (arrived[-1][0] - started) * 1000, "ms")
    results.add("storm.messages", len(arrived), "messages")
    results.add("storm.refused", refused, "messages")


def _start(made: Fleet) -> None:
    made.start_collector("collector")
    made.wait_for_port("collector")
    made.run("rules", "apply", str(made.rules))
    made.start_agent()
    with psycopg.connect(made.url, autocommit=True) as connection:
        until_connected(connection)


def _write(path: Path) -> float:
    """Append the storm at once and the critical line behind it; returns when that began."""
    ts = datetime.now(UTC).isoformat()
    lines = [
        {"severity": 17, "message": "a probe failed", "attributes": {"rule": rule, "unit": str(n)}}
        for rule in range(RULES)
        for n in range(INSTANCES)
    ]
    lines.append({"severity": 21, "message": CRITICAL, "attributes": {}})
    text = b"".join(json.dumps({"ts": ts, **line}).encode() + b"\n" for line in lines)
    started = time.time()
    with path.open("ab", buffering=0) as out:
        out.write(text)
    return started


def _until_told(made: Fleet, within_s: float = 120) -> None:
    """Wait until every alert fires and nothing waits to be told."""
    end = time.monotonic() + within_s
    firing = "select count(*) from alerts where state = 'firing'"
    waiting = "select count(*) from notifications where fate in ('waiting', 'claimed')"
    with psycopg.connect(made.url, autocommit=True) as connection:
        while one(connection, firing) <= RULES * INSTANCES or one(connection, waiting):
            if time.monotonic() > end:
                raise SystemExit(
                    f"storm: {one(connection, firing):,} alerts fire and "
                    f"{one(connection, waiting):,} messages wait after {within_s:g} s"
                )
            time.sleep(0.2)


def _rules(base_url: str, token: Path) -> str:
    parts = [
        f'[[rule]]\nname = "storm-{rule}"\nkind = "match"\n'
        f'filter = "probe severity:error attrs.rule:{rule}"\nby = ["attrs.unit"]\n'
        f"max_instances = {INSTANCES}\n"
        for rule in range(RULES)
    ]
    parts.append(
        f'[[rule]]\nname = "vault"\nkind = "match"\nfilter = "severity>=fatal"\n'
        f'priority = "critical"\nsummary = "{CRITICAL}"\n'
    )
    parts.append(
        f'[[channel]]\nname = "ops"\ntype = "telegram"\nbot_token_file = "{token}"\n'
        f'chat_id = -1000\nbase_url = "{base_url}"\n[[route]]\nchannels = ["ops"]\n'
    )
    return "\n".join(parts)


def _us_per_record() -> float:
    """CPU of this thread for a record of a busy service, with 200 rules that match none."""
    counter = HitCounter(rule_files.read([("bench.toml", quiet_rules())]))
    made = batches(RECORDS, to_us(datetime.now(UTC)), batch_records=BATCH_RECORDS)
    spent = 0.0
    for columns in made:
        batch = replace(columns, service="trading")
        before = time.thread_time()
        hits = counter.count(batch)
        spent += time.thread_time() - before
        if hits:
            raise SystemExit("a rule matched: this is to be the cost of rules that do not")
    return spent / RECORDS * 1e6


def _hostile_ms_per_mb() -> float:
    """CPU of this thread for a megabyte in one line, held against the worst of hostile patterns."""
    rng = random.Random(5)
    line = "".join(rng.choices("abcdefgh", k=1_000_000)) + "!"
    made = next(batches(1, to_us(datetime.now(UTC)), batch_records=1))
    batch = replace(made, message_raw=pack_text([line.encode()]))
    worst = 0.0
    for pattern in HOSTILE:
        rule = f'[[rule]]\nname = "r"\nkind = "match"\nfilter = \'/{pattern}/\'\n'
        counter = HitCounter(rule_files.read([("bench.toml", rule)]))
        before = time.thread_time()
        counter.count(batch)
        worst = max(worst, time.thread_time() - before)
    return worst * 1_000
