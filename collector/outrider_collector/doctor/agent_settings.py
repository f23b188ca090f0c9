"""The agent's part of the settings: what the agent says of it, and where it seeks a collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from outrider.command import DONE, FOUND, USAGE
from outrider.configuration import ConfigError, load
from outrider.places import COLLECTOR_ADDRESS
from outrider_collector import settings_check
from outrider_collector.doctor import judge

if TYPE_CHECKING:
    from outrider_collector.doctor.finding import Finding


class _Agent(msgspec.Struct):
    collectors: tuple[str, ...] = (COLLECTOR_ADDRESS,)


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
    answer = await settings_check.ask(settings_check.AGENT, file)
    if answer is None:
        return judge.agent_settings("", [], is_done=False)
    if answer.code not in {DONE, FOUND}:
        told = answer.said or f"exit {answer.code}"
        return judge.agent_settings(told, [], is_wrong=answer.code == USAGE)
    problems = [
        line.removeprefix("problem: ")
        for line in answer.out.splitlines()
        if line.startswith("problem: ")
    ]
    return judge.agent_settings("", problems)
