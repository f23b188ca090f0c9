"""A recovery storm: every agent replays what it kept at once, and none is patient."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.collector.service.agent_client import batch_of, lines
from tests.collector.service.running import stored

if TYPE_CHECKING:
    from tests.collector.service.agent_client import Agent
    from tests.collector.service.conftest import Start

AGENTS = 25
LINES = 200
_LINE_BYTES = 16
_BATCH_BYTES = 20 * _LINE_BYTES


async def test_all_agents_replay_at_once_and_each_line_is_stored_once(
    start: Start, database_url: str
) -> None:
    """A collector dies with everybody's batches on their way. All come back to the next one in the
    same moment and send all they have; half of them give up in the middle and send all again.
    """
    first = await start(name="one")
    agents = [await first.agent(f"host-{number}") for number in range(AGENTS)]
    await asyncio.gather(*(_send(agent, n, give_up_after=2) for n, agent in enumerate(agents)))
    await first.vanish()
    second = await start(name="two")
    again = [second.connect(agent.token, agent) for agent in agents]
    await asyncio.gather(*(_replay(agent, number) for number, agent in enumerate(again)))

    expected = sorted(
        line for number in range(AGENTS) for line in _data(number).decode().splitlines()
    )
    assert sorted(stored(database_url)) == expected


def _data(number: int) -> bytes:
    return lines(LINES, number * LINES)


async def _replay(agent: Agent, number: int) -> None:
    if number % 2:
        await _send(agent, number, give_up_after=5)
    await _send(agent, number)


async def _send(agent: Agent, number: int, give_up_after: int | None = None) -> None:
    """Send from where the collector says the stream stands; leave in the middle if told so."""
    data, stream = _data(number), number + 1
    push = await agent.push()
    await push.open(stream)
    assert push.welcome is not None
    stands = [state.committed for state in push.welcome.streams if state.stream.stream_id == stream]
    begins = range(stands[0] if stands else 0, len(data), _BATCH_BYTES)
    for begin in begins[:give_up_after]:
        await push.batch(batch_of(stream, data, begin, min(len(data), begin + _BATCH_BYTES)))
    if give_up_after is None:
        await push.acked(stream, len(data))
    await push.close()
