"""What is stored of a run is enough to run it again: the same transitions, byte for byte."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from outrider.instants import from_us, to_us
from outrider_alerting.components import ComponentState
from outrider_alerting.engine import StepInputs, hits_of, step
from outrider_alerting.gaps import GapSeen
from outrider_alerting.program import Program
from outrider_alerting.state import EngineState
from outrider_alerting.watermarks import Record, RecordedQuorum
from outrider_collector.alerts import inputs as translate
from outrider_collector.store import evaluation, rules
from tests.collector.alerts import samples

if TYPE_CHECKING:
    from outrider_alerting.episodes import Transition
    from tests.collector.alerts.world import World

Told = tuple[str, list[str], str, str, datetime, datetime, str, float | None]


async def test_stored_steps_replay_to_the_stored_transitions(world: World) -> None:
    """Steps, feed and hits as they lie in the database, over a checkpoint and a takeover."""
    await world.apply(rules=samples.COUNT + samples.MATCH + samples.LIVENESS)
    await world.say_alive()

    async with world.evaluating("one", checkpoint_s=3_600):
        await world.log("error 0", "error 1")
        await world.set_state("up")
        await world.set_state("dead", "killed by SIGKILL")
        await world.until("select count(*) from alerts where kind = 'liveness'")
        await world.log("charge failed: timed out", "error 2")
    async with world.evaluating("two"):
        await world.log("error 3")
        await world.until("select count(*) from alerts where kind = 'count' and state = 'firing'")
        await world.set_state("up")
        await world.until("select count(*) from alerts where state = 'resolved'")

    stored = await world.rows(
        "select a.rule, a.key, t.from_state, t.to_state, t.at, t.concluded_at, t.reason, t.value"
        " from alert_transitions t join alerts a on a.id = t.alert order by t.id"
    )
    replayed = await replay(world)

    assert len(stored) >= 4
    assert [told(transition) for transition in replayed] == [tuple(row.values()) for row in stored]


async def replay(world: World) -> list[Transition]:
    """Take the stored steps again."""
    state = EngineState()
    transitions: list[Transition] = []
    for stored in await world.rows("select * from evaluation_steps order by step"):
        active = await rules.load(world.connection, stored["rule_set"])
        program = Program(active.rule_set, stored["rule_set"], active.frozen)
        result = step(
            state,
            await _inputs(world, stored, program),
            now_us=to_us(stored["now"]),
            program=program,
            quorum=RecordedQuorum(msgspec.convert(stored["inputs"]["quorum"], Record)),
        )
        state.apply(result.changed, result.general)
        transitions.extend(result.transitions)
    return transitions


async def _inputs(world: World, stored: dict[str, Any], program: Program) -> StepInputs:
    _, feed = await evaluation.read_feed(world.connection, stored["feed_from"], 10_000)
    feed = [row for row in feed if row.number <= stored["feed_to"]]
    commits = [row.commit_id for row in feed if row.commit_id is not None]
    hits = translate.hits_in_order(feed, await evaluation.read_hits(world.connection, commits))
    health = msgspec.convert(stored["inputs"]["health"], tuple[ComponentState, ...])
    gaps = msgspec.convert(stored["inputs"]["gaps"], tuple[GapSeen, ...])
    part = stored["inputs"]["part"]
    of_part = hits_of(part, map(translate.hit, hits), program)
    return StepInputs(part=part, hits=of_part, health=health, gaps=gaps)


def told(transition: Transition) -> Told:
    """Return a transition as its row has it."""
    return (
        transition.rule,
        list(transition.key),
        transition.from_state,
        transition.to_state,
        from_us(transition.at_us),
        from_us(transition.concluded_us),
        transition.reason,
        transition.value,
    )
