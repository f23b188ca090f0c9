"""Faults of connections: between agent and collectors, and between collectors and Postgres."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.proxy import Proxy
    from tests.chaos.stage import Stage

# The agent's own patience with a silent connection is longer; most rounds need not wait for it.
_HOLE_S = (0.5, 2.0)
_LONG_HOLE_S = 6.0
_ONE_IN = 6
_DIES_WITHIN_S = 12.0


async def lose_commit_answer(stage: Stage) -> None:
    """Cut the connection after the server committed and before the collector hears of it."""
    lost = stage.proxy.lost
    stage.proxy.lose_commits = 1
    deadline = time.monotonic() + _DIES_WITHIN_S
    while stage.proxy.lost == lost and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    stage.proxy.lose_commits = 0


async def blackhole_database(stage: Stage) -> None:
    """Nothing passes between collectors and server for a while, and nothing is closed."""
    await stage.soon()
    await _swallow(stage, [stage.proxy])


async def cut_database(stage: Stage) -> None:
    """Cut every connection between collectors and server."""
    await stage.soon()
    stage.proxy.cut()


async def delay_database(stage: Stage) -> None:
    """Each message between collectors and server takes its time."""
    await _delay(stage, [stage.proxy])


async def cut_agent(stage: Stage) -> None:
    """Cut every connection of the agent."""
    await stage.soon()
    for wire in stage.wires.values():
        wire.cut()


async def delay_agent(stage: Stage) -> None:
    """Each message between agent and collectors takes its time."""
    await _delay(stage, list(stage.wires.values()))


async def blackhole_agent(stage: Stage) -> None:
    """Nothing passes between the agent and one or both collectors, and nothing is closed."""
    await stage.soon()
    wires = list(stage.wires.values())
    await _swallow(stage, wires if stage.rng.random() < 0.5 else [stage.rng.choice(wires)])


async def lose_acknowledgements(stage: Stage) -> None:
    """The collectors hear the agent, and it hears nothing of them; then all is cut."""
    await stage.soon()
    wires = stage.wires.values()
    for wire in wires:
        wire.answering = False
    await asyncio.sleep(stage.rng.uniform(0.2, 1.5))
    for wire in wires:
        wire.cut()
        wire.answering = True


async def _swallow(stage: Stage, proxies: Sequence[Proxy]) -> None:
    long = stage.rng.randrange(_ONE_IN) == 0
    for proxy in proxies:
        proxy.passing.clear()
    await asyncio.sleep(_LONG_HOLE_S if long else stage.rng.uniform(*_HOLE_S))
    for proxy in proxies:
        proxy.passing.set()


async def _delay(stage: Stage, proxies: Sequence[Proxy]) -> None:
    for proxy in proxies:
        proxy.delay_s = stage.rng.uniform(0.02, 0.3)
    await asyncio.sleep(1.5)
    for proxy in proxies:
        proxy.delay_s = 0.0
