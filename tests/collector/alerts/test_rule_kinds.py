"""Each kind of rule on a real database: from its file to an alert that fires and resolves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outrider_collector.store import health
from outrider_collector.store.claim import Gap
from tests.collector.alerts.replaying import replayed, stored

if TYPE_CHECKING:
    from tests.collector.alerts.world import World

HEAD = '[[rule]]\nname = "r"\nlateness = "0s"\n'
FIRING = "select count(*) from alerts where rule = 'r' and state = 'firing'"
RESOLVED = "select count(*) from alerts where rule = 'r' and state = 'resolved'"
FIRED = "select count(*) from alert_transitions where to_state = 'firing'"
BURST = [("inactive", "firing", 0), ("firing", "resolved", 1)]


async def beat(world: World, *messages: str, level: str = "info", times: int = 1) -> None:
    """Log, and be alive, now and then: watermarks move with it."""
    for _ in range(times):
        await world.say_alive()
        await world.log(*messages, level=level)
        await asyncio.sleep(0.3)


async def until_beating(world: World, query: str, *messages: str, level: str = "info") -> None:
    """Log now and then until the query is true."""
    for _ in range(60):
        await beat(world, *messages, level=level)
        if await world.value(query):
            return
    raise TimeoutError(query)


async def test_count_below_and_absence(world: World) -> None:
    """Nothing comes: both fire by the watermark of other records. It comes: both resolve."""
    more = 'filter = "heartbeat"\nwindow = "2s"\n'
    absence = HEAD + 'kind = "absence"\n' + more
    few = HEAD.replace('"r"', '"few"') + 'kind = "count"\nbelow = 2\n' + more
    await world.apply(rules=absence + few)

    async with world.evaluating():
        await until_beating(world, FIRING, "other work")
        await until_beating(world, RESOLVED, "heartbeat", "heartbeat")
        await until_beating(world, RESOLVED.replace("'r'", "'few'"), "heartbeat", "heartbeat")

    alert = (await world.rows("select * from alerts where rule = 'r' order by id"))[0]
    assert alert["summary"] == "r: no records in 2s, fewer than 1"


async def test_a_ladder_is_raised(world: World) -> None:
    """One alert with the priority it has reached; who looked after the warning is asked again."""
    rule = 'kind = "count"\nfilter = "severity>=error"\nwindow = "1m"\n'
    await world.apply(rules=HEAD + rule + "above = { warning = 1, critical = 4 }\n")

    async with world.evaluating():
        await world.log("a", "b")
        await world.until(FIRING)
        assert await world.value("select priority from alerts") == "warning"
        await world.acknowledge(await world.value("select id from alerts"))
        await world.log("c", "d", "e")
        await world.until("select count(*) from alerts where priority = 'critical'")
        assert await world.value("select acknowledged_by from alerts") is None

    moves = await world.rows("select from_state, to_state from alert_transitions order by id")
    assert [tuple(move.values()) for move in moves] == [
        ("inactive", "firing"), ("firing", "firing"),
    ]  # fmt: skip


async def test_ratio(world: World) -> None:
    """Half of the records are errors: it fires; with none, it resolves."""
    rule = 'kind = "ratio"\nfilter = "severity>=error"\nof = "service:payments"\n'
    await world.apply(rules=HEAD + rule + 'window = "3s"\nabove = 0.3\nat_least = 4\n')

    async with world.evaluating():
        await world.log("ok", "ok", level="info")
        await world.log("no", "no")
        await until_beating(world, FIRING, "no", level="error")
        await until_beating(world, RESOLVED, "ok", "ok", "ok")

    reason = await world.value("select reason from alert_transitions order by id limit 1")
    assert reason.endswith("of records in 3s, above 30 %")


SPIKE = 'kind = "spike"\nfilter = "severity>=error"\nwindow = "1s"\nbaseline = "2s"\n'
SPIKE += "above = 3\nat_least = 5\n"


async def told_of_the_burst(world: World) -> list[tuple[str, str, int]]:
    """Return what was stored of the one alert: from, to, seconds after that of the burst."""
    rows = await world.rows(
        "select t.from_state, t.to_state, extract(epoch from t.at - h.bucket)::int as after_s"
        " from alert_transitions t, hits h order by t.id"
    )
    return [(row["from_state"], row["to_state"], row["after_s"]) for row in rows]


async def test_spike(world: World) -> None:
    """After a quiet baseline a burst fires; it ends when the burst has left the window.

    It lasts one second of the records' time: steps further apart tell both ends at once.
    """
    await world.apply(rules=HEAD + SPIKE)

    async with world.evaluating():
        await world.until("select count(*) from evaluator_state where step > 0")
        await beat(world, "fine", times=14)
        await world.log(*["no"] * 20)
        await until_beating(world, FIRED, "fine")
        await until_beating(world, RESOLVED, "fine")

    assert await told_of_the_burst(world) == BURST
    assert await world.value("select count(*) from alerts") == 1
    assert await world.value("select value from alert_transitions order by id limit 1") == 20


async def test_a_spike_that_was_over_before_it_was_evaluated(world: World) -> None:
    """Nobody evaluates during the burst and for seconds after it: all the same it is told."""
    await world.apply(rules=HEAD + SPIKE)

    async with world.evaluating("one"):
        await world.until("select count(*) from evaluator_state where step > 0")
        await beat(world, "fine", times=7)
    await beat(world, "fine", times=7)
    await world.log(*["no"] * 20)
    await beat(world, "fine", times=14)
    async with world.evaluating("two"):
        await until_beating(world, RESOLVED, "fine")

    assert await told_of_the_burst(world) == BURST
    assert await replayed(world.connection) == await stored(world.connection)


async def test_distinct(world: World) -> None:
    """The third user within the window fires; the values are not in the alert's key."""
    rule = 'kind = "distinct"\nfilter = "denied"\nfield = "attrs.user"\nwindow = "2s"\nabove = 2\n'
    await world.apply(rules=HEAD + rule)

    async with world.evaluating():
        for user in ("anna", "anna", "bert"):
            await world.log("denied", attributes=f'{{"user":"{user}"}}')
        await world.log("denied", attributes='{"user":"carla"}')
        await world.until(FIRING)
        await until_beating(world, RESOLVED, "fine")

    assert await world.value("select key from alerts") == []
    assert "3 values of user" in await world.value("select summary from alerts")


async def test_gauge(world: World) -> None:
    """Numbers travel with the hits: a high depth fires, a low one resolves."""
    rule = 'kind = "gauge"\nfilter = "queue"\nfield = "attrs.depth"\nwindow = "10s"\nabove = 100\n'
    await world.apply(rules=HEAD + rule)

    async with world.evaluating():
        await world.log("queue", attributes='{"depth":12}', level="info")
        await world.log("queue", attributes='{"depth":"150.5"}', level="info")
        await until_beating(world, FIRING, "fine")
        await world.log("queue", attributes='{"depth":3}', level="info")
        await until_beating(world, RESOLVED, "fine")

    assert await world.value("select value from alert_transitions order by id limit 1") == 150.5


async def test_new_error(world: World) -> None:
    """An error whose words were not seen fires once; numbers in it make it no other error."""
    await world.apply(rules=HEAD + 'kind = "new_error"\nlearn = "0s"\nkeep_firing_for = "1s"\n')

    async with world.evaluating():
        await world.log("order 17 failed: no such symbol")
        await world.until(FIRING)
        await until_beating(world, RESOLVED, "fine")
        await world.log("order 18 failed: no such symbol")
        await world.log("disk full")
        await world.until("select count(*) from alerts where key[2] = 'disk full'")

    keys = await world.rows("select key from alerts order by id")
    assert [row["key"][1] for row in keys] == ["order # failed: no such symbol", "disk full"]


async def test_gap(world: World) -> None:
    """A gap row is an input of its commit: it fires, and ends by the clock."""
    await world.apply(rules='[[rule]]\nname = "r"\nkind = "gap"\nkeep_firing_for = "1s"\n')

    async with world.evaluating():
        await world.log("first")
        gap = Gap(begin=1, end=2, records=7, at_least=False, reason="disk_full", gap_id=b"g" * 16)
        await world.log("second", gaps=[gap])
        await world.until(FIRING)
        await world.until(RESOLVED)

    assert await world.value("select summary from alerts") == (
        "r: 7 records lost of service payments, worker w1, host host-1: disk_full"
    )


async def test_a_gap_that_grows(world: World) -> None:
    """The row of an open alert says what all its gaps come to, until it ends and after that."""
    await world.apply(rules='[[rule]]\nname = "r"\nkind = "gap"\nkeep_firing_for = "2s"\n')

    async with world.evaluating():
        for records in (7, 5):
            gap = Gap(begin=records, end=9, records=records, at_least=records == 5,
                      reason="disk_full", gap_id=bytes([records]) * 16)  # fmt: skip
            await world.log("line", gaps=[gap])
            await world.until(FIRING)
        await world.until(RESOLVED)

    (alert,) = await world.rows("select summary, value, resolve_reason from alerts")
    assert alert["value"] == 12
    assert alert["summary"].startswith("r: at least 12 records lost of service payments")
    assert alert["resolve_reason"] == "no more for 2s; in all at least 12 records lost"


async def test_health(world: World) -> None:
    """A component of any kind in `system_health` fires while it is in one of the states."""
    rule = '[[rule]]\nname = "r"\nkind = "health"\nof = "exchange"\nstates = ["dead"]\n'
    await world.apply(rules=rule)
    kraken = health.Component("exchange", "kraken", world.agent, 1, "host-1")

    async with world.evaluating():
        for state, query in (("dead", FIRING), ("up", RESOLVED)):
            now = await health.clock(world.connection)
            await health.record(
                world.connection, "test", [], [health.StateRow(kraken, state, "timed out", now)]
            )
            world.evaluator_wake.set()
            await world.until(query)

    assert await world.value("select key from alerts") == ["kraken", "host-1"]


async def test_schedule(world: World) -> None:
    """A failed job fires at once, its next success resolves."""
    rule = '[[rule]]\nname = "r"\nkind = "schedule"\nfilter = "service:payments"\n'
    await world.apply(rules=rule + 'cron = "0 3 * * *"\ntimezone = "Europe/Berlin"\n')

    async with world.evaluating():
        await world.log("began", event="job.started", level="info")
        await world.log("boom", event="job.failed")
        await world.until(FIRING)
        await asyncio.sleep(1.0)
        await world.log("began", event="job.started", level="info")
        await world.log("done", event="job.succeeded", level="info")
        await world.until(RESOLVED)


async def test_composite(world: World) -> None:
    """Two rules together make a third one fire; it ends when one of them does."""
    match = '[[rule]]\nname = "{}"\nkind = "match"\nfilter = "{}"\nkeep_firing_for = "1s"\n'
    match += 'lateness = "0s"\n'
    rule = '[[rule]]\nname = "r"\nkind = "composite"\nall = ["a", "b"]\n'
    await world.apply(rules=match.format("a", "apple") + match.format("b", "pear") + rule)

    async with world.evaluating():
        await world.log("apple")
        await world.until("select count(*) from alerts where rule = 'a'")
        assert await world.value(FIRING) == 0
        await world.log("apple", "pear")
        await world.until(FIRING)
        await until_beating(world, RESOLVED, "fine")


async def test_every_kind_replays_from_the_database(world: World) -> None:
    """Judged rules too: what is stored of a run gives its transitions again."""
    absence = HEAD + 'kind = "absence"\nfilter = "heartbeat"\nwindow = "1s"\n'
    gap = '[[rule]]\nname = "gap"\nkind = "gap"\nkeep_firing_for = "1s"\n'
    few = HEAD.replace('"r"', '"few"') + 'kind = "count"\nbelow = 2\nof = [1, 2]\n'
    few += 'filter = "work"\nwindow = "1s"\n'
    await world.apply(rules=absence + gap + few)

    async with world.evaluating("one"):
        await until_beating(world, FIRING, "other work")
    async with world.evaluating("two"):
        await world.log("late", gaps=[
            Gap(begin=0, end=1, records=7, at_least=True, reason="disk_full", gap_id=b"g" * 16)
        ])  # fmt: skip
        await until_beating(world, RESOLVED, "heartbeat", "work", "work")

    transitions = await stored(world.connection)
    assert len(transitions) >= 3
    assert await replayed(world.connection) == transitions
