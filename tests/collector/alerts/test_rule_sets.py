"""An evaluator whose rules change: lines of before, who is dead already, rules of the future."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outrider_collector.alerts import evaluator
from outrider_collector.alerts.leader import Leader
from tests.collector.alerts import samples
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.collector.alerts.world import World


async def test_a_rule_set_from_the_future_stops_evaluation_and_says_so(world: World) -> None:
    """A set that needs a newer engine is not guessed at; nothing moves until it is replaced."""
    await world.apply(rules=samples.MATCH)
    await world.connection.execute("update rule_sets set minimum_engine = 99")

    async with world.evaluating() as evaluator:
        await eventually(lambda: evaluator.health()["state"] == "refused")

    assert "needs engine 99" in evaluator.health()["error"]
    assert await world.value("select feed_number from evaluator_state") == 0


async def test_rules_from_the_future_are_told_once_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried again: nothing changes until somebody acts."""
    tries: list[None] = []
    load = Leader.load

    async def loads(self: Leader, lease_s: float) -> None:
        tries.append(None)
        await load(self, lease_s)

    monkeypatch.setattr(Leader, "load", loads)
    monkeypatch.setattr(evaluator, "_REFUSED_RETRY_S", 0.01)
    await world.apply(rules=samples.MATCH)
    async with world.evaluating():
        await world.until("select count(*) from evaluator_state where rule_set = 1")
    await world.connection.execute("update rule_sets set minimum_engine = 99")
    tries.clear()
    async with world.evaluating() as refused:
        await eventually(lambda: len(tries) >= 4)
        assert refused.health()["state"] == "refused"

    told = [record for record in caplog.records if "needs engine 99" in record.getMessage()]
    assert len(told) == 1


async def test_lines_before_a_change_of_rules_are_evaluated_under_the_old_ones(
    world: World,
) -> None:
    """The feed is split where the rules change, however late the evaluator comes."""
    await world.apply(rules=samples.MATCH)
    await world.log("charge failed")
    await world.apply(rules=samples.COUNT)

    async with world.evaluating():
        await world.until("select feed_number >= 3 from evaluator_state")

    (alert,) = await world.rows("select * from alerts")
    assert (alert["rule"], alert["state"]) == ("payment-failures", "resolved")
    first, *_, last = await world.rows("select * from alert_transitions order by id")
    assert first["to_state"] == "firing" and last["to_state"] == "resolved"


async def test_a_new_liveness_rule_sees_who_is_dead_already(world: World) -> None:
    """Rules applied while a worker is dead fire for it."""
    await world.apply(rules=samples.MATCH)
    await world.set_state("dead")

    async with world.evaluating():
        await world.until("select feed_number >= 2 from evaluator_state")
        await world.apply(rules=samples.LIVENESS)
        await world.until("select count(*) from alerts where state = 'firing'")


async def test_who_follows_an_evaluator_that_died_tells_the_new_rules_who_is_dead(
    world: World,
) -> None:
    """The first took over the rules and told them nobody; the second does, the third repeats it."""
    await world.apply(rules=samples.MATCH)
    await world.set_state("dead")
    await world.apply(rules=samples.LIVENESS)

    async def told_nobody(*_: object) -> list[object]:
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leader, "_health", told_nobody)
        async with world.evaluating("one"):
            await world.until("select count(*) from evaluator_state where rule_set = 2")
    assert await world.value("select count(*) from alerts") == 0
    async with world.evaluating("two"):
        await world.until("select count(*) from alerts where state = 'firing'")
    steps = await world.value("select count(*) from evaluation_steps")
    async with world.evaluating("three"):
        await world.until("select count(*) from evaluation_steps", lambda n: n > steps)

    assert await world.value("select count(*) from alert_transitions") == 1
    assert await world.notices("in-app") == [("fired", "sent")]
