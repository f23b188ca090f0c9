"""Silences that come again or end: what they held back is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outrider_collector.store import acts, health
from tests.collector.alerts import samples
from tests.collector.alerts.world import WAITING

if TYPE_CHECKING:
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi


async def test_a_silence_of_every_week_holds_inside_its_windows(
    world: World, telegram: BotApi
) -> None:
    """Inside the window held back, and told as soon as the silence ends while it still fires."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    now = await health.clock(world.connection)
    done = await acts.add_silence(
        world.connection,
        filter_text="rule:worker-gone",
        starts_at=None,
        ends_at=now + timedelta(days=3_000),
        actor="anna",
        weekly=acts.Weekly("00:00-24:00", "Europe/Berlin"),
    )

    async with world.evaluating(), world.delivering():
        await world.set_state("dead")
        await world.until("select count(*) from notifications where fate = 'suppressed'")
        assert not telegram.messages
        await world.end_silence(done.silence)
        message = await telegram.wait_for()
        await world.until(WAITING, lambda n: n == 0)

    why = await world.value("select why from notifications where fate = 'suppressed'")
    assert why == f"silence {done.silence}: 00:00-24:00 Europe/Berlin"
    assert f"Held back by silence {done.silence} until now." in message.text


async def test_a_silence_that_ends_while_nobody_evaluates_is_noticed(
    world: World, telegram: BotApi
) -> None:
    """Ended during an outage of the evaluator: what still fires is told when there is one again."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    silence = await world.silence("rule:worker-gone")
    async with world.evaluating(), world.delivering():
        await world.set_state("dead")
        await world.until("select count(*) from notifications where fate = 'suppressed'")
    await world.end_silence(silence)

    async with world.evaluating("two"), world.delivering():
        message = await telegram.wait_for()
        await world.until(WAITING, lambda n: n == 0)

    assert f"Held back by silence {silence} until now." in message.text
    assert len(telegram.messages) == 1


async def test_the_end_of_a_silence_tells_what_came_and_went(
    world: World, telegram: BotApi
) -> None:
    """Two workers died and came back under a silence: one message when it ends, and no other."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    silence = await world.silence("rule:worker-gone")

    async with world.evaluating(), world.delivering():
        for worker in ("w1", "w2"):
            await world.set_state("dead", worker=worker)
            await world.until("select count(*) from alerts where state = 'firing'")
            await world.set_state("up", worker=worker)
            await world.until(
                "select count(*) from alerts where state = 'firing'", lambda n: n == 0
            )
        await world.until("select count(*) from alerts where owed", lambda n: n == 2)
        assert not telegram.messages
        await world.end_silence(silence)
        message = await telegram.wait_for()
        await world.until(WAITING, lambda n: n == 0)

    assert f"2 alerts came and went under silence {silence}" in message.text
    assert len(telegram.messages) == 1
    assert await world.value("select count(*) from alerts where owed") == 0
    assert await world.notices() == [
        ("fired", "suppressed"), ("resolved", "suppressed"),
        ("fired", "suppressed"), ("resolved", "suppressed"),
        ("unsuppressed:1", "sent"), ("unsuppressed:1", "superseded"),
    ]  # fmt: skip
