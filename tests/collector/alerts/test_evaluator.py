"""The evaluator on a real database: from committed lines to alerts, across restarts."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from outrider.errors import Fault, Reason
from outrider_alerting import engine
from outrider_collector.alerts import evaluator, leader
from outrider_collector.store import alerts, health
from tests.collector.alerts import samples
from tests.collector.alerts.world import running
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.collector.alerts.world import World


async def test_a_matching_line_becomes_an_alert(world: World) -> None:
    """One committed line that matches opens a firing alert with that line as evidence."""
    await world.apply(rules=samples.MATCH)

    async with world.evaluating():
        await world.log("charge failed: timed out", "fine", level="error")
        await world.until("select count(*) from alerts where state = 'firing'")

    (alert,) = await world.rows("select * from alerts")
    assert alert["rule"] == "payment-failures"
    assert alert["key"] == ["w1"]
    assert [line["message"] for line in alert["evidence"]] == ["charge failed: timed out"]
    transitions = await world.rows("select * from alert_transitions order by id")
    assert transitions[-1]["to_state"] == "firing"
    assert await world.notices("in-app") == [("fired", "sent")]


async def test_an_alert_resolves_by_watermark(world: World) -> None:
    """The end is concluded once the worker's stream is known complete past the quiet time."""
    await world.apply(rules=samples.MATCH)
    await world.say_alive()

    async with world.evaluating():
        # Its clock is past the quiet time at once, its watermark is not.
        await world.log("charge failed", at_us=await world.now_us() - 30_000_000)
        await world.until("select count(*) from alerts where state = 'firing'")
        await asyncio.sleep(1.2)
        assert await world.value("select count(*) from alerts where state = 'resolved'") == 0
        await world.say_alive()
        await world.log("all is well")
        await world.until("select count(*) from alerts where state = 'resolved'")

    assert await world.notices("in-app") == [("fired", "sent"), ("resolved", "sent")]


async def test_a_count_rule_fires_above_its_threshold_across_commits(world: World) -> None:
    """Hits of several commits add up; three do not fire, the fourth does, with its value."""
    await world.apply(rules=samples.COUNT)

    async with world.evaluating():
        for n in range(3):
            await world.log(f"error {n}")
        await world.until("select feed_number >= 4 from evaluator_state")
        assert await world.value("select count(*) from alerts") == 0
        await world.log("error 3")
        await world.until("select count(*) from alerts where state = 'firing'")

    (alert,) = await world.rows("select value, threshold, evidence from alerts")
    assert (alert["value"], alert["threshold"]) == (4.0, 3.0)
    assert "error 0" in {line["message"] for line in alert["evidence"]}


async def test_a_dead_worker_becomes_an_alert(world: World) -> None:
    """A change of health in the feed fires a liveness rule, its return resolves it."""
    await world.apply(rules=samples.LIVENESS)

    async with world.evaluating():
        await world.set_state("up")
        await world.set_state("dead", "killed by SIGKILL")
        await world.until("select count(*) from alerts where state = 'firing'")
        await world.set_state("up")
        await world.until("select count(*) from alerts where state = 'resolved'")

    summary = await world.value("select summary from alerts")
    assert "w1" in summary
    assert "SIGKILL" in await world.value(
        "select reason from alert_transitions order by id limit 1"
    )


async def test_a_restart_loses_and_repeats_nothing(world: World) -> None:
    """Lines committed before, between and after evaluators count once each: one alert."""
    await world.apply(rules=samples.COUNT)
    await world.log("error 0", "error 1")

    async with world.evaluating("one"):
        await world.until("select feed_number >= 2 from evaluator_state")
    await world.log("error 2")
    async with world.evaluating("two"):
        await world.until("select feed_number >= 3 from evaluator_state")
        assert await world.value("select count(*) from alerts") == 0
    await world.log("error 3")
    async with world.evaluating("three"):
        await world.until("select count(*) from alerts where state = 'firing'")
    async with world.evaluating("four"):
        await world.log("fine", level="info")
        await world.until("select feed_number >= 6 from evaluator_state")

    assert await world.value("select value from alerts") == 4.0
    assert await world.notices("in-app") == [("fired", "sent")]


async def test_steps_that_told_nothing_wait_for_a_checkpoint(world: World) -> None:
    """Three counted errors are not written yet; an end in good order writes them."""
    await world.apply(rules=samples.COUNT)

    async with world.evaluating(checkpoint_s=3_600):
        await world.until("select feed_number >= 1 from evaluator_state")
        await world.log("error 0", "error 1")
        await world.log("error 2")
        await asyncio.sleep(0.5)
        assert await world.value("select count(*) from rule_states") == 0
        assert await world.value("select feed_number from evaluator_state") == 1

    assert await world.value("select count(*) from rule_states") == 1
    assert await world.value("select feed_number from evaluator_state") == 3
    steps = await world.rows("select feed_from, feed_to from evaluation_steps order by step")
    assert (steps[0]["feed_from"], steps[-1]["feed_to"]) == (0, 3)


async def test_steps_that_died_before_their_checkpoint_are_taken_again(world: World) -> None:
    """A connection that ends with three errors counted only in memory: the fourth still fires."""
    await world.apply(rules=samples.COUNT)

    async with world.evaluating(checkpoint_s=3_600):
        await world.until("select feed_number >= 1 from evaluator_state")
        await world.log("error 0", "error 1", "error 2")
        await asyncio.sleep(0.5)
        assert await world.value(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'outrider evaluator' and datname = current_database()"
        )
        await world.log("error 3")
        await world.until("select count(*) from alerts where state = 'firing'")

    assert await world.value("select value from alerts") == 4.0


async def test_a_failed_step_is_taken_again_whole(world: World) -> None:
    """A step whose transaction fails leaves no trace, and the next attempt stores it once."""
    await world.apply(rules=samples.MATCH)
    await world.connection.execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin if (select count(*) from nothing_yet) = 0 then raise 'not now'; end if;"
        " return new; end $$"
    )
    await world.connection.execute("create table nothing_yet (x int)")
    await world.connection.execute(
        "create trigger refuse before insert on alert_transitions for each row"
        " execute function refuse()"
    )
    await world.log("charge failed")

    async with world.evaluating() as evaluator:
        await eventually(lambda: evaluator.health()["state"] == "down")
        assert await world.value("select count(*) from alerts") == 0
        assert await world.value("select count(*) from evaluation_steps where step > 1") == 0
        await world.connection.execute("insert into nothing_yet values (1)")
        await world.until("select count(*) from alerts where state = 'firing'")

    assert await world.value("select count(*) from alerts") == 1


async def test_of_two_evaluators_one_acts(world: World) -> None:
    """Two processes: one holds the lease, the other waits and goes on when the first ends."""
    await world.apply(rules=samples.MATCH)

    async with world.evaluating("two-b") as waiting:
        await eventually(lambda: waiting.health()["state"] == "evaluating")
        async with world.evaluating("two-a") as second:
            await asyncio.sleep(0.3)
            assert second.health()["state"] == "waiting"
            await world.log("charge failed")
            await world.until("select count(*) from alerts")
    async with world.evaluating("two-a") as second:
        await eventually(lambda: second.health()["state"] == "evaluating")
        await world.log("charge failed", worker="w2")
        await world.until("select count(*) from alerts", lambda n: n == 2)

    epochs = await world.rows(
        "select epoch, array_agg(step order by step) from evaluation_steps group by 1"
    )
    assert len(epochs) >= 2
    # In the order of the steps, each reads on from where the one before it stopped.
    steps = await world.rows("select feed_from, feed_to from evaluation_steps order by step")
    assert all(one["feed_to"] <= two["feed_from"] for one, two in pairwise(steps))


async def test_a_silence_keeps_a_firing_back_and_its_end_tells_it(world: World) -> None:
    """Held back while silenced, told as still firing after; the in-app list has it at once."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify("http://127.0.0.1:9"))
    silence = await world.silence("rule:worker-gone")

    async with world.evaluating():
        await world.set_state("dead")
        await world.until("select count(*) from alerts where state = 'firing'")
        assert await world.notices() == [("fired", "suppressed")]
        assert await world.notices("in-app") == [("fired", "sent")]
        assert [f"silence {silence}"] == await world.value("select suppressed_by from alerts")
        await world.end_silence(silence)
        await world.until("select count(*) from notifications where notice = 'unsuppressed:1'")

    assert await world.value("select suppressed_by from alerts") == []


async def test_a_silence_that_runs_out_tells_what_still_fires(world: World) -> None:
    """Nobody ends the silence; time does."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify("http://127.0.0.1:9"))
    await world.silence("rule:worker-gone", for_s=1.0)

    async with world.evaluating():
        await world.set_state("dead")
        await world.until("select count(*) from alerts where suppressed_by <> '{}'")
        await world.until("select count(*) from notifications where notice = 'unsuppressed:1'")


async def test_only_the_begin_of_an_episode_opens_an_alert(world: World) -> None:
    """A resolve for which no alert is open is a mistake of ours, not an alert."""
    now = await health.clock(world.connection)
    resolve = alerts.NewTransition(
        rule="r", key=["w1"], from_state="firing", to_state="resolved", at=now, concluded_at=now,
        reason="", started_at=now, fired_at=now, kind="count", priority="info", labels={},
        summary="", runbook=None, value=None, threshold=None, without=[], evidence=[], rule_set=1,
        step=7,
    )  # fmt: skip
    with pytest.raises(Fault) as raised:
        await alerts.store_transitions(world.connection, [resolve])

    assert raised.value.reason is Reason.INTERNAL_BUG
    assert raised.value.metadata["rule"] == "r"
    assert await world.value("select count(*) from alerts") == 0


@pytest.mark.parametrize(("outcome", "fired"), [("unknown", "waiting"), ("retry", "superseded")])
async def test_a_resolve_meets_a_firing_that_was_attempted(
    world: World, outcome: str, fired: str
) -> None:
    """What may have arrived is not overtaken; what surely did not is."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify("http://127.0.0.1:9"))

    async with world.evaluating():
        await world.set_state("dead")
        await world.until("select count(*) from notifications where channel = 'ops'")
        await world.connection.execute(
            "insert into notification_attempts (notification, finished_at, outcome)"
            " select id, now(), %s from notifications where channel = 'ops'",
            (outcome,),
        )
        await world.connection.execute(
            "update notifications set attempts = 1 where channel = 'ops'"
        )
        await world.set_state("up")
        await world.until("select count(*) from alerts where state = 'resolved'")

    assert await world.notices() == [("fired", fired), ("resolved", "waiting")]


async def test_a_stopped_evaluator_is_replaced_and_does_no_harm_when_it_wakes(
    world: World,
) -> None:
    """SIGSTOP of the holder: another goes on after the lease; the woken one stores nothing."""
    await world.apply(rules=samples.MATCH)
    script = (
        "import asyncio, sys;"
        "from outrider_collector.alerts.evaluator import Evaluator, Settings;"
        "print('starts', flush=True);"
        "asyncio.run(Evaluator(Settings(sys.argv[1], 'frozen', lease_s=1.0),"
        " asyncio.Event(), asyncio.Event()).run(asyncio.Event()))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, world.url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"starts\n"
        await world.until("select holder = 'frozen' from leases where name = 'evaluator'")
        await world.log("charge failed")
        await world.until("select count(*) from alerts")
        process.send_signal(signal.SIGSTOP)

        async with world.evaluating("awake") as awake:
            await world.log("charge failed", worker="w2")
            await world.until("select count(*) from alerts", lambda n: n == 2)
            process.send_signal(signal.SIGCONT)
            await world.log("charge failed", worker="w3")
            await world.until("select count(*) from alerts", lambda n: n == 3)
            assert awake.health()["state"] == "evaluating"
    finally:
        process.kill()
        await process.wait()

    fired = await world.rows(
        "select alert, count(*) as n from alert_transitions where to_state = 'firing' group by 1"
    )
    assert [row["n"] for row in fired] == [1, 1, 1]


async def test_a_mistake_in_a_step_is_told_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on, says so for as long as it lasts, and concludes all when it is over."""
    monkeypatch.setattr(evaluator, "MISTAKE_RETRY_S", (0.01, 0.1))
    now_s = [0.0]
    loop = evaluator.Evaluator(
        evaluator.Settings(world.url, "one"),
        asyncio.Event(),
        asyncio.Event(),
        clock=lambda: now_s[0] + time.monotonic(),
    )
    whole, tries = engine.step, [0]

    def mistaken(*given: Any, **named: Any) -> Any:
        tries[0] += 1
        raise ValueError("not enough values to unpack")

    await world.apply(rules=samples.MATCH)
    monkeypatch.setattr(leader, "step", mistaken)
    async with running(loop):
        await world.log("charge failed")
        await eventually(lambda: tries[0] >= 3)
        health = loop.health()
        assert health["state"] == "failing"
        assert "a mistake of Outrider (ValueError)" in health["error"]
        assert "unpack" not in health["error"]
        monkeypatch.setattr(leader, "step", whole)
        await world.until("select count(*) from alerts where state = 'firing'")
        assert loop.health()["state"] == "failing", "one good step proves nothing"
        now_s[0] += evaluator.STEADY_S
        await world.log("charge failed again")
        await eventually(lambda: loop.health()["state"] == "evaluating")
    assert loop.health()["out_for_s"] == 0
