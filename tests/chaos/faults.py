"""What goes wrong in a round: one fault each, by name, on a running fleet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from outrider_agent import control

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from outrider_collector.up.postgres import Postgres
    from tests.chaos.proxy import CommitProxy
    from tests.chaos.writers import ShortLived
    from tests.fleet import Fleet
    from tests.servers.bot_api import BotApi

COLLECTORS = ("collector-a", "collector-b")
_DIES_WITHIN_S = 12.0


@dataclass(slots=True)
class Stage:
    """Everything a fault may touch."""

    fleet: Fleet
    postgres: Postgres
    proxy: CommitProxy
    short_lived: ShortLived
    bot: BotApi
    rng: random.Random
    applied: int = 0
    # Failpoints at which a process really died.
    hit: set[str] | None = None

    def connect(self) -> psycopg.Connection:
        """A connection past the proxy; OperationalError while the server is down."""
        return psycopg.connect(self.fleet.url, connect_timeout=3)


async def _soon(stage: Stage) -> None:
    await asyncio.sleep(stage.rng.uniform(0.0, 0.6))


async def kill_agent(stage: Stage) -> None:
    """SIGKILL the agent, start it again."""
    await _soon(stage)
    stage.fleet.kill("agent")
    stage.fleet.start_agent()


async def kill_collector(stage: Stage) -> None:
    """SIGKILL one collector, start it again; the agent goes to the other meanwhile."""
    await _soon(stage)
    name = stage.rng.choice(COLLECTORS)
    stage.fleet.kill(name)
    await asyncio.sleep(stage.rng.uniform(0.0, 0.5))
    stage.fleet.start_collector(name)


async def kill_both_collectors(stage: Stage) -> None:
    """SIGKILL both collectors at once."""
    await _soon(stage)
    for name in COLLECTORS:
        stage.fleet.kill(name)
    for name in COLLECTORS:
        stage.fleet.start_collector(name)


async def kill_backend(stage: Stage) -> None:
    """SIGKILL one Postgres backend: the postmaster restarts them all."""
    await _soon(stage)
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        pids = connection.execute(
            "select pid from pg_stat_activity where backend_type = 'client backend'"
            " and pid <> pg_backend_pid() and datname = current_database()"
        ).fetchall()
        if pids:
            os.kill(stage.rng.choice(pids)[0], signal.SIGKILL)


async def kill_postmaster(stage: Stage) -> None:
    """SIGKILL the postmaster, start the server again."""
    await _soon(stage)
    process = stage.postgres.process
    assert process is not None
    process.kill()
    process.wait()
    await asyncio.sleep(stage.rng.uniform(0.0, 0.5))
    await asyncio.to_thread(restart_server, stage.postgres)


async def restore_backup(stage: Stage) -> None:
    """The database becomes what it was some seconds ago, under a running fleet."""
    # By then the alarm of this round is told: a message that the database forgot is told again.
    await asyncio.sleep(2.0)
    postgres = stage.postgres
    backup, forgotten = postgres.home / "backup", postgres.home / "forgotten"
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(
        subprocess.run, ["cp", "-a", f"{postgres.data}", f"{backup}"], check=True
    )
    await asyncio.to_thread(restart_server, postgres)
    await asyncio.sleep(stage.rng.uniform(1.0, 2.5))
    assert postgres.process is not None
    postgres.process.kill()
    postgres.process.wait()
    postgres.data.rename(forgotten)
    backup.rename(postgres.data)
    await asyncio.to_thread(restart_server, postgres)
    await asyncio.to_thread(shutil.rmtree, forgotten)


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


async def lose_commit_answer(stage: Stage) -> None:
    """Cut the connection after the server committed and before the collector hears of it."""
    lost = stage.proxy.lost
    stage.proxy.lose_commits = 1
    deadline = time.monotonic() + _DIES_WITHIN_S
    while stage.proxy.lost == lost and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    stage.proxy.lose_commits = 0


async def blackhole_database(stage: Stage) -> None:
    """Nothing passes between collectors and server for some seconds, and nothing is closed."""
    await _soon(stage)
    stage.proxy.passing.clear()
    await asyncio.sleep(stage.rng.uniform(1.0, 6.0))
    stage.proxy.passing.set()


async def fill_state_disk(stage: Stage) -> None:
    """The agent's state has no room while files are rotated; then the agent is killed."""
    state_dir = stage.fleet.root / "agent"
    if not state_dir.is_mount():
        return  # it would fill the disk of everybody; see `small_disk`
    ballast = state_dir / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    await asyncio.sleep(stage.rng.uniform(1.0, 4.0))
    stage.fleet.kill("agent")
    ballast.unlink()
    stage.fleet.start_agent()


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """Mount a file system of 8 MiB, where this account may."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


async def clone_agent(stage: Stage) -> None:
    """A host is cloned as it runs: the copy enrols as its own, and what it sends is marked.

    It comes to the collector that the living has, or to the other.
    """
    root = stage.fleet.root
    living = await _connected_to(root / "agent")
    copy = root / "clone"
    shutil.rmtree(copy, ignore_errors=True)
    (copy / "inbox").mkdir(parents=True)
    (copy / "logs").mkdir()
    shutil.copytree(root / "agent", copy / "agent", ignore=shutil.ignore_patterns("control"))
    for path in stage.fleet.logs.glob("numbered.log*"):
        with contextlib.suppress(FileNotFoundError):  # rotated on meanwhile
            shutil.copy2(path, copy / "logs")
    text = (root / "agent.toml").read_text()
    for name in ("agent", "inbox", "logs"):
        text = text.replace(f'"{root}/{name}', f'"{copy}/{name}')
    known = re.findall(r'"(127\.[^"]+)"', re.findall(r"(?m)^collectors = .*$", text)[0])
    asked = living if stage.rng.random() < 0.5 else next(one for one in known if one != living)
    text = re.sub(r"(?m)^collectors = .*$", f'collectors = ["{asked}"]', text)
    (root / "clone.toml").write_text(text)
    environment = {**stage.fleet.environment("clone"), "OUTRIDER_INBOX": str(copy / "inbox")}
    stage.fleet.start_agent_as("clone", environment)
    deadline = time.monotonic() + _DIES_WITHIN_S
    said = stage.fleet.output
    while "identity is connected" not in said("clone") and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.sleep(stage.rng.uniform(0.5, 2.0))
    stage.fleet.kill("clone")


async def _connected_to(state_dir: Path) -> str:
    """Wait until the agent of a state directory has a session; return its collector's address."""
    deadline = time.monotonic() + _DIES_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            account = await asyncio.to_thread(control.ask, state_dir, control.Question())
            if account is not None and account.collector:
                return account.collector
        await asyncio.sleep(0.1)
    raise TimeoutError("the agent has no session")


async def stop_collector(stage: Stage) -> None:
    """SIGSTOP one collector (it may hold the feed lock or the evaluator's lease), then go on."""
    await _soon(stage)
    name = stage.rng.choice(COLLECTORS)
    stage.fleet.signal(name, signal.SIGSTOP)
    await asyncio.sleep(stage.rng.uniform(1.0, 4.0))
    stage.fleet.signal(name, signal.SIGCONT)


async def stop_evaluator(stage: Stage) -> None:
    """SIGSTOP the collector that evaluates until another could take over, then go on."""
    name = COLLECTORS[0]
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        row = connection.execute("select holder from leases where name = 'evaluator'").fetchone()
        name = next((n for n in COLLECTORS if row and n in row[0]), name)
    stage.fleet.signal(name, signal.SIGSTOP)
    await asyncio.sleep(stage.rng.uniform(3.0, 7.0))
    stage.fleet.signal(name, signal.SIGCONT)


async def apply_rules(stage: Stage) -> None:
    """Apply a changed rule set while lines flow."""
    stage.applied += 1
    path = stage.fleet.rules / "changing.toml"
    path.write_text(
        '[[rule]]\nname = "changing"\nkind = "count"\nfilter = "service:chaos severity>=error"\n'
        f'window = "1h"\nabove = {1_000_000 + stage.applied}\npriority = "info"\n'
    )
    # The server may still recover from the round before: somebody who is told so tries again.
    deadline = time.monotonic() + _DIES_WITHIN_S
    while True:
        try:
            await asyncio.to_thread(stage.fleet.run, "rules", "apply", str(stage.fleet.rules))
        except SystemExit as refused:
            if "STORE_DOWN" not in str(refused) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return


async def terminate_agent(stage: Stage) -> None:
    """Stop the agent in order, start it again."""
    await _soon(stage)
    await asyncio.to_thread(stage.fleet.stop, "agent")
    stage.fleet.start_agent()


async def terminate_collector(stage: Stage) -> None:
    """Stop one collector in order, start it again: the agent alternates."""
    await _soon(stage)
    name = stage.rng.choice(COLLECTORS)
    await asyncio.to_thread(stage.fleet.stop, name)
    stage.fleet.start_collector(name)


def failpoint(process: str, name: str, most: int = 1) -> Callable[[Stage], Awaitable[None]]:
    """Restart ``process`` so that it dies at a named failpoint, then start it as usual."""

    async def fault(stage: Stage) -> None:
        count = stage.rng.randint(1, most)
        extra = {"OUTRIDER_FAILPOINTS": f"{name}=kill@{count}"}
        names = COLLECTORS if process == "collector" else (process,)
        for each in names:
            stage.fleet.kill(each)
            _start(stage, each, extra)
        deadline = time.monotonic() + _DIES_WITHIN_S
        while all(stage.fleet.running(each) for each in names) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if stage.hit is not None and not all(stage.fleet.running(each) for each in names):
            stage.hit.add(name)
        for each in names:
            stage.fleet.kill(each)
            _start(stage, each, {})

    fault.__doc__ = f"The {process} is killed at failpoint '{name}'."
    fault.__name__ = f"failpoint {name}"
    return fault


def _start(stage: Stage, name: str, extra: dict[str, str]) -> None:
    if name == "agent":
        stage.fleet.start_agent(extra)
    else:
        stage.fleet.start_collector(name, extra)


async def kill_short_lived(stage: Stage) -> None:
    """A program dies between opening its segment and locking it."""
    environment = {**stage.short_lived.environment, "OUTRIDER_FAILPOINTS": "open/flock=kill"}
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import outrider; outrider.init(service='short', worker='short');"
        "outrider.get_logger('x').info('never numbered')",
        env=environment,
    )  # fmt: skip
    code = await process.wait()
    if stage.hit is not None and code == -signal.SIGKILL:
        stage.hit.add("open/flock")


FAULTS: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    kill_agent,
    kill_collector,
    kill_both_collectors,
    kill_backend,
    kill_postmaster,
    lose_commit_answer,
    restore_backup,
    blackhole_database,
    fill_state_disk,
    clone_agent,
    stop_collector,
    stop_evaluator,
    apply_rules,
    terminate_agent,
    terminate_collector,
    kill_short_lived,
    failpoint("collector", "claim/insert", 9),
    failpoint("collector", "COMMIT sent/answer", 9),
    failpoint("collector", "COMMIT/ack", 9),
    failpoint("collector", "attempt recorded/socket"),
    failpoint("agent", "ack/cache", 3),
    failpoint("agent", "LOCK_EX/move"),
    failpoint("agent", "move/unlink"),
)
