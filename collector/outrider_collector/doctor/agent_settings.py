"""The agent's part of the settings, read by the agent itself: ``outrider agent check`` as a child.

Collector and agent never import each other; a file that serves both is to be right for both.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from outrider.command import DONE, FOUND, USAGE
from outrider.configuration import ConfigError, load
from outrider_collector.doctor import judge

if TYPE_CHECKING:
    from outrider_collector.doctor.finding import Finding

WITHIN_S = 20.0


class _Agent(msgspec.Struct):
    collectors: tuple[str, ...] = ("127.0.0.1:4510",)


def collectors(file: str | None) -> tuple[str, ...]:
    """Return where the agent of these settings looks for a collector; none where there is none."""
    if not load(file, msgspec.convert, {"agent": dict[str, Any]})["agent"]:
        return ()
    try:
        agent: _Agent = load(file, msgspec.convert, {"agent": _Agent})["agent"]
    except ConfigError:
        return ()  # `outrider agent check` tells of it
    return agent.collectors


async def examine(file: str | None) -> Finding | None:
    """Judge the agent's table of the settings; None where there is none."""
    if not load(file, msgspec.convert, {"agent": dict[str, Any]})["agent"]:
        return None
    command = [sys.executable, "-m", "outrider.command", "agent", "check"]
    child = await asyncio.create_subprocess_exec(
        *command,
        *(["--config", file] if file else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return judge.agent_settings("", [], is_done=False)
    told = said.decode(errors="replace").strip().removeprefix("outrider: ")
    problems = [
        line.removeprefix("problem: ")
        for line in out.decode(errors="replace").splitlines()
        if line.startswith("problem: ")
    ]
    if child.returncode in {DONE, FOUND}:
        return judge.agent_settings("", problems)
    return judge.agent_settings(told or f"exit {child.returncode}", [],
                                is_wrong=child.returncode == USAGE)  # fmt: skip
