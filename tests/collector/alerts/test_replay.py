"""What is stored of a run is enough to run it again: the same transitions, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_collector.store import rules
from tests.collector.alerts import samples
from tests.collector.alerts.replaying import hits_recounted, hits_stored, replayed, stored

if TYPE_CHECKING:
    from tests.collector.alerts.world import World

S = 1_000_000
FIELDS = """
[[rule]]
name = "by-user"
kind = "count"
filter = "attrs.user:* event:auth.login_failed"
by = ["attrs.user"]
window = "1m"
above = 100
"""


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

    transitions = await stored(world.connection)
    assert len(transitions) >= 4
    assert await replayed(world.connection) == transitions


async def test_hits_recounted_from_the_stored_records_are_the_stored_hits(world: World) -> None:
    """As a set, whatever batches and transactions the records came in."""
    await world.apply(rules=samples.COUNT + samples.MATCH + FIELDS)
    now_us = await world.now_us()
    for n in range(4):
        worker = f"w{n % 2}"
        await world.log("charge failed", "error", "charge failed", worker=worker)
        await world.log("charge failed", level="info", at_us=now_us - n * 7 * S, worker=worker)
        await world.log("error", at_us=now_us - 3_600 * S)
        await world.log(
            "no", service="web", event="auth.login_failed", attributes=f'{{"user":"ü{n % 3}"}}'
        )
    active = await rules.active(world.connection)
    assert active is not None
    found = await hits_stored(world.connection)

    assert sum(found.values()) == 4 * (2 + 1 + 3 + 1 + 1)
    assert await hits_recounted(world.connection, active.rule_set) == found
