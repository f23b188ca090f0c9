"""Buttons under messages: who may press them, and that each press counts once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest_asyncio

from outrider_collector.alerts.buttons import Buttons
from tests.collector.alerts import samples
from tests.servers.bot_wire import Sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi

LISTENING = "select count(*) from leases where name = 'buttons telegram:42' and holder <> ''"


def linked(url: str) -> str:
    """Return a channel in which user 7 is anna."""
    return samples.notify(url).replace("chat_id", "users = { anna = 7 }\nchat_id")


@contextlib.asynccontextmanager
async def listening(world: World, holder: str = "one") -> AsyncIterator[Buttons]:
    """Run a listener meanwhile."""
    stop = asyncio.Event()
    buttons = Buttons(world.url, holder, world.secrets_dir, wait_s=1)
    task = asyncio.create_task(buttons.run(stop))
    try:
        yield buttons
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


@pytest_asyncio.fixture
async def firing(world: World, telegram: BotApi) -> AsyncIterator[Sent]:
    """An alert that fires, its message with buttons, everything running."""
    await world.apply(rules=samples.LIVENESS, notify=linked(telegram.url))
    async with listening(world):
        await world.until(LISTENING)
        async with world.evaluating(), world.delivering():
            await world.set_state("dead", "exit code 1")
            sent = await telegram.wait_for()
            await world.until(
                "select count(*) from notifications where fate = 'sent' and channel = 'ops'"
            )
            yield sent


async def answered(telegram: BotApi, count: int = 1) -> str:
    """Return the words of the last answer to a press."""
    await telegram.wait_until(lambda: len(telegram.answers) >= count)
    return str(telegram.answers[count - 1]["text"])


async def test_a_linked_user_acknowledges(world: World, telegram: BotApi, firing: Sent) -> None:
    """The alert bears the name, the message says it, and a second press changes nothing."""
    telegram.press(firing, "Acknowledge")
    first = await answered(telegram)
    await telegram.wait_until(lambda: bool(telegram.edits))
    telegram.press(firing, "Acknowledge")
    second = await answered(telegram, 2)

    alert = await world.value("select id from alerts")
    assert first == f"A-{alert} acknowledged by anna."
    assert second == f"A-{alert} was acknowledged by anna before."
    assert await world.value("select acknowledged_by from alerts") == "anna"
    assert "Acknowledged by anna." in telegram.messages[0].text
    assert [label for label, _ in telegram.messages[0].buttons] == ["Silence 1h", "Details"]


async def test_who_acknowledges_elsewhere_changes_the_message_too(
    world: World, telegram: BotApi, firing: Sent
) -> None:
    """`outrider alerts ack`: every message that told of the alert says it, and offers the rest."""
    await world.acknowledge(await world.value("select id from alerts"))
    await telegram.wait_until(lambda: bool(telegram.edits))

    (message,) = telegram.messages
    assert message.message_id == firing.message_id
    assert "Acknowledged by anna." in message.text
    assert [label for label, _ in message.buttons] == ["Silence 1h", "Details"]
    await world.until(
        "select count(*) from notifications where edits_owed > 0", lambda owed: owed == 0
    )


async def test_strangers_and_forgers_change_nothing(
    world: World, telegram: BotApi, firing: Sent
) -> None:
    """Who is not linked, data of another's making, another message's data: told so, no act."""
    data = dict(firing.buttons)["Acknowledge"]
    telegram.press(firing, "Acknowledge", user_id=8)
    stranger = await answered(telegram)
    telegram.send_press(firing, data[:-1] + ("A" if data[-1] != "A" else "B"))
    forged = await answered(telegram, 2)
    telegram.send_press(
        Sent(message_id=9999, chat_id=77, text="", arrived_at=0, reply_to=None, markup=None), data
    )
    elsewhere = await answered(telegram, 3)

    assert "add your number 8 to `users` of channel ops" in stranger
    assert forged == "This button is none of ours."
    assert elsewhere == "This button's message is not known any more."
    assert await world.value("select acknowledged_by from alerts") is None


async def test_a_button_under_what_is_over(world: World, telegram: BotApi, firing: Sent) -> None:
    """After the end there is nothing to acknowledge, and the message offers nothing to press."""
    await world.set_state("up")
    await telegram.wait_for(count=2)
    await telegram.wait_until(lambda: bool(telegram.edits))
    telegram.press(firing, "Acknowledge")

    assert "is over: nothing to acknowledge" in await answered(telegram)
    assert [sent.buttons for sent in telegram.messages] == [(), ()]


async def test_silence_and_details(world: World, telegram: BotApi, firing: Sent) -> None:
    """Silence 1h hits this alert alone, for an hour; Details says how it is in 200 characters."""
    telegram.press(firing, "Silence 1h")
    silenced = await answered(telegram)
    telegram.press(firing, "Details")
    details = await answered(telegram, 2)

    (row,) = await world.rows("select * from silences")
    assert (row["created_by"], row["comment"]) == ("anna", "pressed in Telegram")
    assert 3590 < (row["ends_at"] - row["starts_at"]).total_seconds() <= 3600
    assert 'worker:"w1"' in row["filter"] and 'rule:"worker-gone"' in row["filter"]
    assert f"outrider silences end {row['id']}" in silenced
    assert "firing since" in details and "not acknowledged" in details


async def test_details_show_the_newest_line(world: World, telegram: BotApi) -> None:
    """An alert about records: its newest line, harmless and cut to what Telegram shows."""
    await world.apply(rules=samples.MATCH, notify=linked(telegram.url))
    async with listening(world):
        await world.until(LISTENING)
        async with world.evaluating(), world.delivering():
            await world.log("charge failed: \x1b[31m" + "x" * 500)
            sent = await telegram.wait_for()
            await world.until(
                "select count(*) from notifications where fate = 'sent' and channel = 'ops'"
            )
            telegram.press(sent, "Details")
            details = await answered(telegram)

    assert "not acknowledged.\ncharge failed: \ufffd[31mxxx" in details
    assert len(details) == 200 and details.endswith("\N{HORIZONTAL ELLIPSIS}")


async def test_a_press_told_twice_counts_once(world: World, telegram: BotApi) -> None:
    """A listener that ends before it confirmed a press leaves it to the next one: one silence."""
    await world.apply(rules=samples.LIVENESS, notify=linked(telegram.url))
    async with world.evaluating(), listening(world, "one"):
        await world.until(LISTENING)
        async with world.delivering():
            await world.set_state("dead")
            sent = await telegram.wait_for()
            await world.until(
                "select count(*) from notifications where fate = 'sent' and channel = 'ops'"
            )
        telegram.press(sent, "Silence 1h")
        update = telegram.updates[-1]
        await answered(telegram)
    # As if it had been killed between the act and the poll that confirms it.
    await world.connection.execute("delete from button_offsets")
    telegram.updates = [update]
    async with listening(world, "two"):
        await answered(telegram, 2)

    assert await world.value("select count(*) from silences") == 1


async def test_a_bot_that_another_holds_has_no_buttons(world: World, telegram: BotApi) -> None:
    """Where a webhook gets the bot's updates, messages come without buttons, and we say so."""
    telegram.webhook = True
    await world.apply(rules=samples.LIVENESS, notify=linked(telegram.url))

    async with listening(world) as buttons, world.evaluating(), world.delivering():
        async with asyncio.timeout(10):
            while not buttons.health().get("telegram:42", "").startswith("taken: "):
                await asyncio.sleep(0.02)
        await world.set_state("dead")
        sent = await telegram.wait_for()

    assert sent.buttons == ()


async def test_one_of_two_listens(world: World, telegram: BotApi) -> None:
    """Two collectors: the bot is polled by one, and by the other when that one ends."""
    await world.apply(rules=samples.LIVENESS, notify=linked(telegram.url))

    async with listening(world, "two") as second:
        await world.until(LISTENING)
        async with listening(world, "one") as first:
            async with asyncio.timeout(10):
                while first.health() != {"telegram:42": "waiting"}:
                    await asyncio.sleep(0.02)
            assert second.health() == {"telegram:42": "listening"}

    assert not telegram.refused
