"""Faults of memory: a full disk, a copy of the database, a copy of the agent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from outrider_agent import control
from tests.chaos.stage import kill_server, restart_server
from tests.chaos.writers import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.stage import Stage

_SOON_S = 12.0


async def restore_backup(stage: Stage) -> None:
    """The database becomes what it was some seconds ago, under a running fleet."""
    # By then the alarm of this round is told: a message that the database forgot is told again.
    await _alarm_told(stage)
    postgres = stage.postgres
    backup, forgotten = postgres.home / "backup", postgres.home / "forgotten"
    await asyncio.to_thread(postgres.stop)
    copy = ["cp", "-a", "--reflink=auto", f"{postgres.data}", f"{backup}"]
    await asyncio.to_thread(subprocess.run, copy, check=True)
    await asyncio.to_thread(restart_server, postgres)
    await asyncio.sleep(stage.rng.uniform(0.5, 2.0))
    kill_server(postgres)
    postgres.data.rename(forgotten)
    backup.rename(postgres.data)
    await asyncio.to_thread(restart_server, postgres)
    await asyncio.to_thread(shutil.rmtree, forgotten)


async def _alarm_told(stage: Stage) -> None:
    before = len(stage.bot.versions)
    deadline = time.monotonic() + 2.0
    while len(stage.bot.versions) == before and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    # The answer is in the ledger soon after.
    await asyncio.sleep(0.5)


async def fill_state_disk(stage: Stage) -> None:
    """The agent's state has no room while files are rotated; then the agent is killed."""
    with _filled(stage.fleet.root / "agent"):
        await asyncio.sleep(stage.rng.uniform(0.5, 2.5))
        stage.fleet.kill("agent")
    stage.start("agent")


async def fill_inbox(stage: Stage) -> None:
    """The inbox has no room for a while: records are counted instead, and become gaps."""
    stage.short_lived.full = True
    before = stage.targets()
    with _filled(stage.fleet.inbox):
        await asyncio.sleep(stage.rng.uniform(0.3, 1.5))
    stage.short_lived.full = False
    after = stage.targets()
    for ledger in (stage.short_lived.ledger, *(worker.ledger for worker in stage.workers)):
        # A process that is at it now has not been entered yet.
        ledger.no_room.append(range(before[ledger.service], after[ledger.service] + AT_ONCE))


@contextlib.contextmanager
def _filled(directory: Path) -> Iterator[None]:
    if not directory.is_mount():
        yield  # it would fill the disk of everybody
        return
    ballast = directory / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    try:
        yield
    finally:
        ballast.unlink()


async def clone_agent(stage: Stage) -> None:
    """A host is cloned as it runs: the copy enrols as its own, and what it sends is marked.

    It comes to the collector that the living has, or to the other.
    """
    root = stage.fleet.root
    living = await _connected_to(root / "agent")
    copy = root / "clone"
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("inbox", "logs", "copied", "deleted"):
        (copy / name).mkdir(parents=True)
    shutil.copytree(root / "agent", copy / "agent", ignore=shutil.ignore_patterns("control"))
    for path in stage.fleet.logs.glob("numbered.log*"):
        with contextlib.suppress(FileNotFoundError):  # rotated on meanwhile
            shutil.copy2(path, copy / "logs")
    text = (root / "agent.toml").read_text()
    for name in ("agent", "inbox", "logs", "copied", "deleted"):
        text = text.replace(f'"{root}/{name}', f'"{copy}/{name}')
    known = re.findall(r'"(127\.[^"]+)"', re.findall(r"(?m)^collectors = .*$", text)[0])
    asked = living if stage.rng.random() < 0.5 else next(one for one in known if one != living)
    text = re.sub(r"(?m)^collectors = .*$", f'collectors = ["{asked}"]', text)
    (root / "clone.toml").write_text(text)
    environment = {**stage.fleet.environment("clone"), "OUTRIDER_INBOX": str(copy / "inbox")}
    stage.fleet.start_agent_as("clone", environment)
    deadline = time.monotonic() + _SOON_S
    said = stage.fleet.output
    told = said("clone").count("identity is connected")
    while said("clone").count("identity is connected") == told and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.sleep(stage.rng.uniform(0.5, 1.5))
    stage.fleet.kill("clone")


async def _connected_to(state_dir: Path) -> str:
    """Wait until the agent of a state directory has a session; return its collector's address."""
    deadline = time.monotonic() + _SOON_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            account = await asyncio.to_thread(control.ask, state_dir, control.Question())
            if account is not None and account.collector:
                return account.collector
        await asyncio.sleep(0.1)
    raise TimeoutError("the agent has no session")
