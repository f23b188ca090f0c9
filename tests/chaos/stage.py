"""Everything a fault may touch: a server, proxies, two collectors, an agent, workers, a Bot API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg

from outrider_collector.up.postgres import Postgres
from tests.chaos import steered
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import CommitProxy, PortProxy
from tests.chaos.workers import Worker
from tests.chaos.writers import FileWriter, Ledger, ShortLived, copytruncate
from tests.fleet import Fleet, fleet
from tests.servers.bot_api import TOKEN, BotApi

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator

COLLECTORS = ("collector-a", "collector-b")
PROCESSES = (*COLLECTORS, "agent")
LINES_PER_S = 200
SLOWLY_PER_S = 50

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
# Copies and deleted files; the copies are no file of a source, as the manual asks.
_SOURCES = """
[[agent.source]]
paths = ["{root}/copied/*.log"]
service = "copied"

[[agent.source]]
paths = ["{root}/deleted/*.log"]
service = "deleted"
"""


class Writer(Protocol):
    """Writes numbered lines until it is told to stop."""

    ledger: Ledger
    stopped: bool

    async def run(self) -> None:
        """Write."""


@dataclass(slots=True)
class Stage:
    """What there is, and what became of it."""

    fleet: Fleet
    postgres: Postgres
    proxy: CommitProxy
    wires: dict[str, PortProxy]
    """Before each collector, where the agent looks for it."""
    bot: BotApi
    rng: random.Random
    files: tuple[FileWriter, ...]
    short_lived: ShortLived
    workers: tuple[Worker, ...]
    applied: int = 0
    # Failpoints at which a process really died.
    hit: set[str] = field(default_factory=set)

    @property
    def writers(self) -> tuple[Writer, ...]:
        """All who write numbered lines."""
        return (*self.files, self.short_lived, *self.workers)

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """What was written, of every writer."""
        return tuple(writer.ledger for writer in self.writers)

    def connect(self) -> psycopg.Connection:
        """A connection past the proxy; OperationalError while the server is down."""
        return psycopg.connect(self.fleet.url, connect_timeout=3)

    def oracle(self) -> Oracle:
        """Return who compares ledgers and rows."""
        return Oracle(self.connect, self.ledgers)

    def targets(self) -> dict[str, int]:
        """How many lines of each service were written by now."""
        for worker in self.workers:
            worker.look()
        return {ledger.service: ledger.written for ledger in self.ledgers}

    def start(self, name: str) -> None:
        """Start the agent or a collector, steered by a file of its own."""
        part = ("agent", "run") if name == "agent" else ("collector", "run")
        wheel = str(self.wheel(name))
        self.fleet.start(name, (sys.executable, "-m", "tests.chaos.steered", wheel, *part))

    def wheel(self, name: str) -> Path:
        """Return the file by which a process is steered."""
        return self.fleet.root / f"{name}.wheel"

    async def soon(self, most_s: float = 0.6) -> None:
        """Wait for a moment that nobody chose."""
        await asyncio.sleep(self.rng.uniform(0.0, most_s))

    def stop_writers(self) -> None:
        """Ask all of them to end."""
        for writer in self.writers:
            writer.stopped = True
        for worker in self.workers:
            worker.kill()


@asynccontextmanager
async def set_up(rng: random.Random) -> AsyncIterator[Stage]:
    """Make all of it and start all but the writers."""
    home = Path(tempfile.mkdtemp(prefix="outrider-chaos-"))
    home.chmod(0o755)
    # Little of the server's log is kept: rounds copy the whole data directory.
    postgres = Postgres(home / "postgres", home / "run", {"max_wal_size": "96MB"})
    await asyncio.to_thread(postgres.start)
    try:
        async with CommitProxy(home / "proxy", home / "run") as proxy, BotApi(rates=False) as bot:
            through = postgres.url("postgres").replace("%2Frun&", "%2Fproxy&")
            through = through.replace(str(home / "run"), str(home / "proxy"))
            with (
                fleet(
                    postgres.url("postgres"), database="chaos", service="chaos",
                    collectors=COLLECTORS, collector_url=through,
                ) as made,
                ExitStack() as disks,
            ):  # fmt: skip
                for name, size_mib in (("agent", 8), ("inbox", 32)):
                    disks.enter_context(_small_disk(made.root / name, size_mib))
                async with contextlib.AsyncExitStack() as wires:
                    stage = _stage(made, postgres, proxy, bot, rng)
                    for wire in stage.wires.values():
                        await wires.enter_async_context(wire)
                    await asyncio.to_thread(_start, stage)
                    try:
                        yield stage
                    finally:
                        stage.stop_writers()
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


def _stage(
    made: Fleet, postgres: Postgres, proxy: CommitProxy, bot: BotApi, rng: random.Random
) -> Stage:
    for name in ("copied", "deleted"):
        (made.root / name).mkdir()
    copied = FileWriter(made.root / "copied/numbered.log", SLOWLY_PER_S, Ledger("copied"))
    copied.rotate = copytruncate
    deleted = FileWriter(made.root / "deleted/numbered.log", SLOWLY_PER_S, Ledger("deleted"))
    deleted.rotate = None
    copied.rotate_every = deleted.rotate_every = 5 * SLOWLY_PER_S
    files = (FileWriter(made.logs / "numbered.log", LINES_PER_S), copied, deleted)
    environment = made.environment("agent")
    return Stage(
        made, postgres, proxy, {n: PortProxy(p) for n, p in made.ports.items()}, bot, rng, files,
        ShortLived(environment),
        (Worker.with_sdk(made.root, environment), Worker.under_run(made.root, environment)),
    )  # fmt: skip


def _start(stage: Stage) -> None:
    made = stage.fleet
    settings = made.root / "agent.toml"
    addresses = ", ".join(f'"127.0.0.1:{wire.port}"' for wire in stage.wires.values())
    asked = ", ".join(f'"127.0.0.1:{port}"' for port in made.ports.values())
    text = settings.read_text().replace(f"[{asked}]", f"[{addresses}]")
    assert addresses in text
    settings.write_text(text + _SOURCES.format(root=made.root))
    (made.root / "telegram.token").write_text(TOKEN)
    (made.rules / "rules.toml").write_text(
        _RULES.format(token=made.root / "telegram.token", base_url=stage.bot.url)
    )
    for name in PROCESSES:
        steered.prepare(stage.wheel(name))
    for name in COLLECTORS:
        stage.start(name)
    for name in COLLECTORS:
        made.wait_for_port(name)
    made.run("rules", "apply", str(made.rules))
    stage.start("agent")


@contextlib.contextmanager
def _small_disk(path: Path, size_mib: int) -> Iterator[None]:
    """Mount a small file system, where this account may."""
    path.mkdir(exist_ok=True)
    options = f"size={size_mib}m,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def restart_server(postgres: Postgres) -> None:
    """Start the server whose postmaster was killed; its backends may hold the data for a moment."""
    deadline = time.monotonic() + 30
    while True:
        try:
            postgres.start()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def kill_server(postgres: Postgres) -> None:
    """SIGKILL the postmaster."""
    assert postgres.process is not None
    postgres.process.kill()
    postgres.process.wait()


def server_pids(postgres: Postgres) -> list[int]:
    """The postmaster and all that it started."""
    assert postgres.process is not None
    pid = postgres.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to each that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
