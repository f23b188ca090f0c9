"""Whom a channel does not reach: fallbacks, moved and waiting chats, escalation."""

from __future__ import annotations

from functools import partial
from operator import eq
from typing import TYPE_CHECKING

from tests.collector.alerts import samples
from tests.collector.alerts.world import WAITING
from tests.servers.bot_wire import Fault
from tests.servers.smtp import SmtpServer

if TYPE_CHECKING:
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi


async def test_what_a_channel_refuses_goes_to_its_fallback(world: World, telegram: BotApi) -> None:
    """Kicked out of the chat: within seconds the fallback has it, and later its resolve."""
    telegram.blocked.add(77)
    async with SmtpServer() as mail:
        letters = samples.mail(mail.port).split("[[route]]", maxsplit=1)[0]
        ops = samples.notify(telegram.url).replace(
            'type = "telegram"', 'type = "telegram"\nfallback = "mail"'
        )
        await world.apply(rules=samples.LIVENESS, notify=ops + letters)
        async with world.evaluating(), world.delivering():
            await world.set_state("dead")
            fired = await mail.wait_for(within_s=5)
            await world.until(WAITING, lambda n: n == 0)
            await world.set_state("up")
            resolved = await mail.wait_for(count=2)
            await world.until(WAITING, lambda n: n == 0)

    assert "Told here because it did not reach ops." in fired.part("plain")
    assert fired.message["Subject"] == resolved.message["Subject"]
    assert await world.notices("ops") == [("fired", "failed"), ("resolved", "suppressed")]
    assert await world.notices("mail") == [("fired", "sent"), ("resolved", "sent")]
    why = await world.value(
        "select why from notifications where channel = 'in-app' and notice = 'fired'"
    )
    assert "ops: failed: Forbidden" in why


async def test_a_fallback_names_all_that_a_channel_refused(world: World, telegram: BotApi) -> None:
    """Forty deaths at once in a chat that is gone: one letter, with ten of them and a count."""
    telegram.blocked.add(77)
    async with SmtpServer() as mail:
        letters = samples.mail(mail.port).split("[[route]]", maxsplit=1)[0]
        ops = samples.notify(telegram.url).replace(
            'type = "telegram"', 'type = "telegram"\nfallback = "mail"'
        )
        rules = samples.LIVENESS.replace("critical", "warning")
        await world.apply(rules=rules, notify=ops + letters)
        async with world.evaluating():
            for n in range(40):
                await world.set_state("dead", worker=f"w{n}")
            await world.until("select count(*) from alerts", partial(eq, 40))
            async with world.delivering():
                await world.until("select count(*) from notifications where channel = 'mail'"
                                  " and fate = 'sent'", partial(eq, 40), within_s=30)  # fmt: skip

    text = "\n".join(letter.part("plain") for letter in mail.letters)
    assert len(mail.letters) <= 2
    assert "in the list of alerts" in text
    assert "Told here because it did not reach ops." in text


async def test_a_moved_chat_is_remembered_by_all(world: World, telegram: BotApi) -> None:
    """Another deliverer, started later, sends to the new address without a detour."""
    telegram.migrated[77] = -10077
    rules = samples.match_on("w1") + samples.match_on("w2")
    await world.apply(rules=rules, notify=samples.notify(telegram.url))

    async with world.evaluating():
        async with world.delivering("one"):
            await world.log("charge failed", worker="w1")
            await telegram.wait_for()
            await world.until(WAITING, lambda n: n == 0)
        refused = len(telegram.refused)
        async with world.delivering("two"):
            await world.log("charge failed", worker="w2")
            await telegram.wait_for(count=2)
            await world.until(WAITING, lambda n: n == 0)

    assert (refused, len(telegram.refused)) == (1, 1)
    assert [sent.chat_id for sent in telegram.messages] == [-10077, -10077]
    assert await world.value("select alias from conversation_aliases") == "-10077"


async def test_a_chat_that_must_wait_keeps_its_order(world: World, telegram: BotApi) -> None:
    """429 for the first of three: after the pause they arrive in the order they were decided."""
    telegram.faults.append(Fault.TOO_MANY)
    rules = "".join(samples.match_on(f"w{n}") for n in (1, 2, 3))
    await world.apply(rules=rules, notify=samples.notify(telegram.url))
    async with world.evaluating():
        for n in (1, 2, 3):
            await world.log("charge failed", worker=f"w{n}")
            await world.until("select count(*) from alerts", partial(eq, n))

    async with world.delivering():
        await telegram.wait_for(count=3)
        await world.until(WAITING, lambda n: n == 0)

    told = [sent.text.splitlines()[0][-2:] for sent in telegram.messages]
    assert told == ["w1", "w2", "w3"]


async def test_escalation_goes_on_until_somebody_acknowledges(
    world: World, telegram: BotApi
) -> None:
    """Nobody acknowledges one alert: the next channel is told; of the other, nobody else is."""
    notify = (
        samples.notify(telegram.url)
        + samples.notify(telegram.url, 78)
        .replace('"ops"', '"boss"', 1)
        .split("[[route]]", maxsplit=1)[0]
    )
    notify = notify.replace(
        'channels = ["ops"]', 'channels = ["ops"]\nescalate = [{after = "1s", channels = ["boss"]}]'
    )
    rules = samples.match_on("w1") + samples.match_on("w2")
    rules = rules.replace('keep_firing_for = "1s"', 'keep_firing_for = "60s"')
    await world.apply(rules=rules, notify=notify)

    async with world.evaluating(), world.delivering():
        await world.log("charge failed", worker="w1")
        first = await world.until("select max(id) from alerts")
        await world.acknowledge(first)
        await world.log("charge failed", worker="w2")
        message = await telegram.wait_for(lambda sent: sent.chat_id == 78)
        await world.until(WAITING, lambda n: n == 0)

    assert "Nobody has acknowledged it." in message.text
    assert "w2" in message.text
    assert await world.notices("boss") == [("escalation:1", "sent")]
