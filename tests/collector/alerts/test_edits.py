"""Messages end as things are: edits are owed until they are made, whatever happens to them."""

from __future__ import annotations

import asyncio
from functools import partial
from operator import eq
from typing import TYPE_CHECKING

import pytest

from outrider_collector.alerts.delivery import LEASE_S, Deliverer, Settings
from outrider_collector.alerts.outlets import Outlets
from outrider_collector.store import outdated
from tests.collector.alerts import samples
from tests.collector.alerts.world import killed_at
from tests.servers.bot_wire import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi

OWED = "select count(*) from notifications where edits_owed > 0"
SENT = "select count(*) from notifications where fate = 'sent' and channel = 'ops'"


async def told(world: World, telegram: BotApi) -> int:
    """Let a worker's death be told; returns the alert."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    async with world.evaluating(), world.delivering():
        await world.set_state("dead")
        await world.until(SENT)
    alert: int = await world.value("select id from alerts")
    return alert


@pytest.mark.parametrize("fault", [Fault.TOO_MANY, Fault.SERVER_ERROR, Fault.DROP_AFTER])
async def test_an_edit_that_was_refused_is_made_up_for(
    world: World, telegram: BotApi, fault: Fault
) -> None:
    """429, 5xx and a lost answer: the message says who acknowledged a little later."""
    alert = await told(world, telegram)
    telegram.edit_faults.append(fault)
    await world.acknowledge(alert)

    async with world.delivering():
        await world.until(OWED, partial(eq, 0))

    (message,) = telegram.messages
    assert "Acknowledged by anna." in message.text


async def test_an_edit_lost_with_its_process_is_made_up_for(world: World, telegram: BotApi) -> None:
    """Killed between taking the edit and its socket: after the lease the next one makes it."""
    alert = await told(world, telegram)
    await world.acknowledge(alert)
    await killed_at(world, "edit taken/socket")

    async with world.delivering("two"):
        await asyncio.sleep(0.5)
        assert not telegram.edits, "during the lease it is another's"
        await world.connection.execute("update notifications set edit_at = now()")
        await world.until(OWED, partial(eq, 0))

    assert "Acknowledged by anna." in telegram.messages[0].text


@pytest.mark.parametrize("fault", [None, Fault.TOO_MANY, Fault.DROP_BEFORE])
async def test_a_firing_ends_as_over_and_offers_nothing(
    world: World, telegram: BotApi, fault: Fault | None
) -> None:
    """The resolve is a message; its firing reads as over in the end, also where that took two."""
    await told(world, telegram)
    if fault is not None:
        telegram.edit_faults.append(fault)

    async with world.evaluating(), world.delivering():
        await world.set_state("up")
        await world.until(SENT, partial(eq, 2))
        await world.until(OWED, partial(eq, 0))

    firing, resolve = telegram.messages
    assert firing.text.startswith("\N{WHITE HEAVY CHECK MARK} Over: ")
    assert resolve.reply_to == firing.message_id
    assert firing.buttons == resolve.buttons == ()


async def test_what_joins_is_shown_however_often_the_edit_is_lost(
    world: World, telegram: BotApi
) -> None:
    """An edit without an answer is repeated, unmarked: the first message names both in the end."""
    telegram.edit_faults.extend([Fault.DROP_BEFORE, Fault.DROP_BEFORE, Fault.DROP_AFTER])
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed", worker="w1")
        await telegram.wait_for()
        await world.until(SENT)
        await world.log("charge failed", worker="w2")
        await world.until("select count(*) from alerts", partial(eq, 2))
        await world.until(SENT, partial(eq, 2), within_s=30)

    (message,) = telegram.messages
    assert "a charge failed on w2" in message.text
    assert "may repeat" not in message.text


async def test_a_deleted_message_is_given_up_and_the_ledger_says_so(
    world: World, telegram: BotApi
) -> None:
    """Nothing can be edited any more: no endless tries, and a remark at the row."""
    alert = await told(world, telegram)
    telegram.messages.clear()
    await world.acknowledge(alert)

    async with world.delivering():
        await world.until(OWED, partial(eq, 0))

    why = await world.value("select why from notifications where channel = 'ops'")
    assert "its message still reads as it did" in why
    assert not telegram.messages


async def test_a_change_during_an_edit_is_not_lost(world: World, telegram: BotApi) -> None:
    """What is counted while an edit is on its way is owed afterwards, by another edit."""
    alert = await told(world, telegram)
    await outdated.mark(world.connection, [alert])
    (row,) = await outdated.due(world.connection, limit=10)
    (taken,) = await outdated.take(world.connection, [row.id], lease_s=40)
    assert not await outdated.due(world.connection, limit=10)
    await outdated.mark(world.connection, [alert])
    await outdated.settle(world.connection, [outdated.Edited(taken, reads_right=True)])

    assert await world.value(OWED) == 1
    assert [due.id for due in await outdated.due(world.connection, limit=10)] == [row.id]


async def test_who_was_stopped_over_its_lease_edits_nothing(
    world: World, telegram: BotApi, tmp_path: Path
) -> None:
    """Another has shown the acknowledgement meanwhile: the old text does not come back."""
    alert = await told(world, telegram)
    await outdated.mark(world.connection, [alert])
    now_s = [0.0]
    settings = Settings(world.url, "one")
    stopped = Deliverer(settings, Outlets(tmp_path), asyncio.Event(), clock=lambda: now_s[0])
    await stopped._follow_rules(world.connection)
    (row,) = await outdated.due(world.connection, limit=10)
    await stopped._edit(world.connection, [row.id])
    now_s[0] = LEASE_S + 1
    await world.connection.execute("update notifications set edit_at = now() - interval '1 s'")
    await world.acknowledge(alert)
    async with world.delivering("two"):
        await world.until(OWED, partial(eq, 0))
    await asyncio.gather(*stopped._tasks)
    await stopped._flush(world.connection)

    assert "Acknowledged by anna." in telegram.messages[0].text
    assert len(telegram.edits) == 1


@pytest.mark.parametrize("reads_right", [True, None, False])
async def test_what_another_has_taken_is_not_settled(
    world: World, telegram: BotApi, reads_right: bool | None
) -> None:
    """An outcome that is stored after its lease takes nothing off what the next one owes."""
    alert = await told(world, telegram)
    await outdated.mark(world.connection, [alert])
    (row,) = await outdated.due(world.connection, limit=10)
    (first,) = await outdated.take(world.connection, [row.id], lease_s=0)
    (second,) = await outdated.take(world.connection, [row.id], lease_s=40)
    await outdated.settle(world.connection, [outdated.Edited(first, reads_right)])

    assert await world.value(OWED) == 1
    assert not await outdated.due(world.connection, limit=10), "the second has it still"
    await outdated.settle(world.connection, [outdated.Edited(second, reads_right=True)])
    assert await world.value(OWED) == 0


async def test_an_edit_that_never_works_ends(world: World, telegram: BotApi) -> None:
    """After a day's tries it is given up; every try before is later than the one before it."""
    alert = await told(world, telegram)
    await outdated.mark(world.connection, [alert])
    waits = []
    for _ in range(outdated.TRIES_MAX):
        await world.connection.execute("update notifications set edit_at = now()")
        (row,) = await outdated.due(world.connection, limit=10)
        (taken,) = await outdated.take(world.connection, [row.id], lease_s=40)
        await outdated.settle(world.connection, [outdated.Edited(taken, reads_right=None)])
        waits.append(
            await world.value(
                "select extract(epoch from edit_at - now())::float8 from notifications"
                " where channel = 'ops'"
            )
        )

    assert await world.value(OWED) == 0
    assert [round(wait_s) for wait_s in waits[:3]] == [2, 4, 8]
    assert max(waits) <= 300
