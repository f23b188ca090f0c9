"""Deliverers that are killed, stopped or cut off: told once, with one marked repeat at most."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from operator import eq
from typing import TYPE_CHECKING

from tests.collector.alerts import samples
from tests.collector.alerts.world import SENT, WAITING, deliverer_process, killed_at

if TYPE_CHECKING:
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi
    from tests.servers.hook import Hook


async def test_two_deliverers_send_each_message_once(world: World, telegram: BotApi) -> None:
    """Claims are exclusive: twelve alerts, two deliverers, twelve messages, one attempt each."""
    chats = "".join(
        samples.notify(telegram.url, n)
        .replace('"ops"', f'"ops-{n}"')
        .replace("[[route]]", "[[route]]\ncontinue = true")
        for n in range(1, 5)
    )
    rules = "".join(samples.match_on(f"w{n}") for n in range(3))
    await world.apply(rules=rules, notify=chats)

    async with world.evaluating(), world.delivering("one"), world.delivering("two"):
        for n in range(3):
            await world.log("charge failed", worker=f"w{n}")
        await telegram.wait_for(count=12, within_s=20)
        await world.until(
            "select count(*) from notifications where fate = 'sent' and channel like 'ops%'",
            lambda n: n == 12,
        )

    assert len(telegram.messages) == 12
    assert await world.value("select count(*) from notification_attempts") == 12


async def test_a_deliverer_killed_before_the_answer_leaves_one_marked_repeat(
    world: World, telegram: BotApi
) -> None:
    """Killed when it was about to write the socket: the next one repeats once, marked."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    async with world.evaluating():
        await world.log("charge failed")
        await world.until("select count(*) from notifications where fate = 'waiting'")

    await killed_at(world, "leave recorded/socket")
    assert await world.value("select count(*) from notification_attempts") == 1
    assert not telegram.messages

    async with world.delivering("two", lease_s=26.0):
        await world.connection.execute(
            "update notifications set lease_until = now() - interval '1 s' where fate = 'claimed'"
        )
        message = await telegram.wait_for()
        await world.until(SENT)
        await asyncio.sleep(0.3)

    assert "may repeat" in message.text
    assert len(telegram.messages) == 1
    attempts = await world.rows("select outcome from notification_attempts order by id")
    assert [row["outcome"] for row in attempts] == ["unknown", "sent"]


async def test_a_repeat_tells_what_its_first_attempt_told(world: World, hook: Hook) -> None:
    """Killed with a message of several under way: its repeat tells the same, others come apart."""
    await world.apply(rules=samples.LIVENESS, notify=samples.hook(hook.port))
    at_once = (
        "update notifications set not_before = now(), lease_until = lease_until - interval '1 h'"
    )
    async with world.evaluating():
        await world.set_state("dead", worker="w1")
        await world.until("select count(*) from alerts")
        async with world.delivering():
            await world.until(WAITING, lambda n: n == 0)
        for n in range(2, 7):
            await world.set_state("dead", worker=f"w{n}")
            await world.until("select count(*) from alerts", partial(eq, n))
            if n == 3:
                await world.connection.execute(at_once)
                await killed_at(world, "leave recorded/socket")
        await world.connection.execute(at_once)
        async with world.delivering("two"):
            await world.until(WAITING, lambda n: n == 0)

    told = [[part["labels"]["worker"] for part in (b, *b["together_with"])] for b in hook.bodies]
    assert told == [["w1"], ["w2", "w3"], ["w4", "w5", "w6"]]
    assert [body["may_repeat"] for body in hook.bodies] == [False, True, False]
    assert len({body["id"] for body in hook.bodies}) == 3


async def test_a_deliverer_killed_at_a_resolve_leaves_it_to_the_next(
    world: World, telegram: BotApi
) -> None:
    """The firing was told, the end was on its way: it comes once, in reply, marked."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    async with world.evaluating():
        async with world.delivering():
            await world.set_state("dead")
            await world.until(SENT)
        await world.set_state("up")
        await world.until("select count(*) from notifications where fate = 'waiting'")

    await killed_at(world, "leave recorded/socket")
    await world.connection.execute(
        "update notifications set lease_until = now() - interval '1 s' where fate = 'claimed'"
    )
    async with world.delivering("two"):
        end = await telegram.wait_for(count=2)
        await world.until(SENT, lambda n: n == 2)

    assert "may repeat" in end.text
    assert end.reply_to == telegram.messages[0].message_id
    assert len(telegram.messages) == 2
    assert await world.notices() == [("fired", "sent"), ("resolved", "sent")]


async def test_a_deliverer_that_was_stopped_too_long_sends_nothing(
    world: World, telegram: BotApi
) -> None:
    """Stopped after recording its attempt, woken after its claim ran out: it keeps silent."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    async with world.evaluating():
        await world.log("charge failed")
        await world.until("select count(*) from notifications where fate = 'waiting'")

    # A claim of 26 s leaves 1 s between the claim and the latest moment to write the socket.
    process = await deliverer_process(world, "attempt recorded/socket=stop", lease_s=26.0)
    await world.until("select count(*) from notification_attempts")
    await asyncio.sleep(1.3)
    async with world.delivering("two"):
        await world.connection.execute(
            "update notifications set lease_until = now() - interval '1 s' where fate = 'claimed'"
        )
        await telegram.wait_for()
        await world.until(SENT)
        os.kill(process.pid, signal.SIGCONT)
        await world.until(
            "select count(*) from notification_attempts where error like '%stopped too long%'"
        )
    process.kill()
    await process.wait()

    assert len(telegram.messages) == 1
    assert await world.notices() == [("fired", "sent")]


async def test_stopping_waits_for_what_is_on_its_way(world: World, telegram: BotApi) -> None:
    """A deliverer that is asked to stop stores the outcome of what it was sending."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    async with world.evaluating():
        await world.log("charge failed")
        await world.until("select count(*) from notifications where fate = 'waiting'")

    async with world.delivering():
        await telegram.wait_for()

    assert await world.notices() == [("fired", "sent")]


async def test_the_loss_of_the_database_connection_stops_nothing(
    world: World, telegram: BotApi
) -> None:
    """Backends are terminated under evaluator and deliverer; both come back and go on."""
    rules = samples.match_on("w1") + samples.match_on("w2")
    await world.apply(rules=rules, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed")
        await telegram.wait_for()
        for _ in range(3):
            await world.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name in"
                " ('outrider evaluator', 'outrider delivery') and datname = current_database()"
            )
            await asyncio.sleep(0.05)
        await world.log("charge failed", worker="w2")
        await telegram.wait_for(count=2, within_s=20)
        await world.until(SENT, lambda n: n == 2)

    assert len({message.text for message in telegram.messages}) == 2
