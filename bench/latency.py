"""From a written ERROR line to the request at the Bot API, while 50,000 records/s flow beside it.

Each alert has a rule of its own: one that follows another of its rule within half a minute joins
that one's message by an edit, and an edit is not what wakes people. Twenty chats take turns, so
that the limiter (one message a second for each chat, thirty for the bot) is on and is not what is
measured. The Bot API is the strict loopback server of the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from bench.dense import until_connected
from bench.lines import json_lines
from bench.rule_sets import two_hundred_rules
from tests.fleet import fleet
from tests.servers.bot_api import TOKEN, BotApi

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results
    from tests.fleet import Fleet

CHATS = 20
ALERTS_PER_S = 5
NOISE_RECORDS_PER_S = 50_000
_PROBE = re.compile(r"probe-(\d{4})")


def run(postgres_url: str, alerts: int, results: Results) -> None:
    """Raise ``alerts`` alerts and record the percentiles of their way."""
    with fleet(postgres_url, database="bench_latency") as made:
        latencies_ms = asyncio.run(_measure(made, alerts))
    ordered = sorted(latencies_ms)
    results.add("alert.latency_ms_p50", statistics.median(ordered), "ms")
    results.add("alert.latency_ms_p99", ordered[int(len(ordered) * 0.99) - 1], "ms")
    results.add("alert.latency_ms_max", ordered[-1], "ms")


async def _measure(made: Fleet, alerts: int) -> list[float]:
    arrived: dict[int, float] = {}
    async with BotApi() as telegram:

        def note(message: object) -> None:
            found = _PROBE.search(str(getattr(message, "text", "")))
            if found:
                arrived.setdefault(int(found[1]), time.time())

        telegram.on_message = note
        token = made.root / "telegram.token"
        token.write_text(TOKEN)
        (made.rules / "bench.toml").write_text(two_hundred_rules())
        (made.rules / "probes.toml").write_text(_probe_rules(alerts, telegram.url, token))
        await asyncio.to_thread(_start, made)
        stop = threading.Event()
        noise = threading.Thread(target=_noise, args=(made.logs / "noise.log", stop))
        noise.start()
        try:
            await asyncio.sleep(3)
            written = await _write_probes(made.logs / "probes.log", alerts)
            deadline = time.monotonic() + 60
            while len(arrived) < alerts:
                if time.monotonic() > deadline:
                    raise SystemExit(f"latency: {len(arrived)} of {alerts} messages arrived")
                await asyncio.sleep(0.1)
        finally:
            stop.set()
            noise.join()
    return [(arrived[number] - at) * 1000 for number, at in written.items()]


def _start(made: Fleet) -> None:
    made.start_collector("collector")
    made.wait_for_port("collector")
    made.run("rules", "apply", str(made.rules))
    made.start_agent()
    with psycopg.connect(made.url, autocommit=True) as connection:
        until_connected(connection)


async def _write_probes(path: Path, alerts: int) -> dict[int, float]:
    written: dict[int, float] = {}
    with path.open("ab", buffering=0) as out:
        for number in range(alerts):
            record = {
                "ts": datetime.now(UTC).isoformat(),
                "severity": 17,
                "message": f"probe-{number:04d} failed",
                "attributes": {"probe": str(number)},
            }
            written[number] = time.time()
            out.write(json.dumps(record).encode() + b"\n")
            await asyncio.sleep(1 / ALERTS_PER_S)
    return written


def _noise(path: Path, stop: threading.Event) -> None:
    """Append at a steady rate, in small steps, until told to stop."""
    lines = list(json_lines(NOISE_RECORDS_PER_S, datetime.now(UTC), service="trading", seed=3))
    step = NOISE_RECORDS_PER_S // 50
    position = 0
    due = time.perf_counter()
    with path.open("ab", buffering=0) as out, contextlib.suppress(BrokenPipeError):
        while not stop.is_set():
            out.write(b"".join(lines[position : position + step]))
            position = (position + step) % (len(lines) - step)
            due += 1 / 50
            time.sleep(max(0.0, due - time.perf_counter()))


def _probe_rules(alerts: int, base_url: str, token: Path) -> str:
    parts = [
        f'[[rule]]\nname = "probe-{number}"\nkind = "match"\n'
        f'filter = "probe* severity>=error attrs.probe:{number}"\npriority = "critical"\n'
        f'labels = {{ chat = "{number % CHATS}" }}\nsummary = "a probe failed"\n'
        for number in range(alerts)
    ]
    for chat in range(CHATS):
        parts.append(
            f'[[channel]]\nname = "chat-{chat}"\ntype = "telegram"\n'
            f'bot_token_file = "{token}"\nchat_id = {1000 + chat}\nbase_url = "{base_url}"\n'
        )
        parts.append(f'[[route]]\nmatch = "chat:{chat}"\nchannels = ["chat-{chat}"]\n')
    return "\n".join(parts)
