"""A deliverer that ends before anything left has told nobody, and uses up no repeat."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from outrider_alerting.channels.leaving import StaysError
from outrider_collector.alerts.leaves import Leave, Leaves
from outrider_collector.store.connect import connect
from tests.collector.alerts import samples
from tests.collector.alerts.world import deliverer_process
from tests.servers.smtp import SmtpServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi

BEFORE = "attempt recorded/socket"
AFTER = "leave recorded/socket"
OPS = "select count(*) from notifications where channel = 'ops' and fate = '{}'"
EXPIRE = "update notifications set lease_until = now() - interval '1 s' where fate = 'claimed'"


async def _fire(world: World) -> None:
    async with world.evaluating():
        await world.log("charge failed")
        await world.until("select count(*) from notifications where fate = 'waiting'")


async def _killed_at(world: World, failpoint: str) -> None:
    """Let one deliverer end there, and its claim run out."""
    process = await deliverer_process(world, f"{failpoint}=kill")
    assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGKILL
    await world.connection.execute(EXPIRE)


async def _outcomes(world: World) -> list[str]:
    rows = await world.rows(
        "select outcome from notification_attempts a join notifications n on n.id = a.notification"
        " where channel = 'ops' order by a.id"
    )
    return [row["outcome"] for row in rows]


@pytest.mark.parametrize(
    ("failpoints", "outcomes"),
    [
        ((BEFORE, BEFORE), ["retry", "retry", "sent"]),
        ((BEFORE, AFTER), ["retry", "unknown", "sent"]),
        ((AFTER, BEFORE), ["unknown", "retry", "sent"]),
    ],
)
async def test_killed_twice_somebody_is_told(
    world: World, telegram: BotApi, failpoints: tuple[str, str], outcomes: list[str]
) -> None:
    """Two deliverers end over one message: it is told once, marked only if it may be a repeat."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    await _fire(world)

    for failpoint in failpoints:
        await _killed_at(world, failpoint)
    async with world.delivering("last"):
        await telegram.wait_for()
        await world.until(OPS.format("sent"))

    (message,) = telegram.messages
    assert ("may repeat" in message.text) == (AFTER in failpoints)
    assert await _outcomes(world) == outcomes


async def test_killed_twice_at_the_very_socket_others_are_told(
    world: World, telegram: BotApi
) -> None:
    """Nobody can know that nothing left: the fate is unknown, the fallback and the centre tell."""
    async with SmtpServer() as mail:
        notify = samples.notify(telegram.url).replace(
            'type = "telegram"', 'type = "telegram"\nfallback = "mail"'
        )
        await world.apply(
            rules=samples.MATCH, notify=notify + samples.mail(mail.port).split("[[route]]")[0]
        )
        await _fire(world)
        for _ in range(2):
            await _killed_at(world, AFTER)
        async with world.evaluating(), world.delivering("last"):
            await world.until(OPS.format("unknown"))
            await world.until(
                "select count(*) from notifications where channel = 'mail' and fate = 'sent'"
            )

    assert not telegram.messages
    assert len(mail.letters) == 1
    why = await world.value("select why from notifications where channel_type = 'in-app'")
    assert why.startswith("ops: unknown")


async def test_a_claim_that_was_taken_back_does_not_leave(world: World, telegram: BotApi) -> None:
    """Stopped with time left by its own clock, woken when another has sent: it keeps silent."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    await _fire(world)
    process = await deliverer_process(world, f"{BEFORE}=stop", lease_s=60.0)
    try:
        await world.until("select count(*) from notification_attempts", within_s=20.0)
        await world.connection.execute(EXPIRE)
        async with world.delivering("two"):
            await telegram.wait_for()
            await world.until(OPS.format("sent"))
            os.kill(process.pid, signal.SIGCONT)
            await world.until(
                "select count(*) from notification_attempts where error like '%taken back%'"
            )
    finally:
        process.kill()
        await process.wait()

    assert len(telegram.messages) == 1
    assert await world.notices() == [("fired", "sent")]


async def test_without_a_database_nothing_leaves(world: World) -> None:
    """Who waits when the connection goes stays, and so does who comes before there is another."""
    leaves = Leaves(asyncio.Event())
    with pytest.raises(StaysError, match="database"):
        await leaves.wait([1])
    leaves.open()
    waiting = asyncio.create_task(leaves.wait([1]))
    await asyncio.sleep(0)
    connection = await connect(world.url, application_name="outrider test")
    await connection.close()
    with pytest.raises(Exception, match="closed"):
        await leaves.mark(connection, "one")
    leaves.close()
    with pytest.raises(StaysError, match="database"):
        await waiting


async def test_who_was_stopped_while_it_was_marked_stays(world: World) -> None:
    """Marked, but too late by the monotonic clock: nothing leaves."""
    await world.apply(rules=samples.MATCH, notify=samples.notify("http://127.0.0.1:1"))
    await _fire(world)
    await world.connection.execute("update notifications set fate = 'claimed', claimed_by = 'one',"
        " lease_until = now() + interval '1 h' where channel = 'ops'")  # fmt: skip
    attempt = await world.value(
        "insert into notification_attempts (notification, may_have_left)"
        " select id, false from notifications where channel = 'ops' returning id"
    )
    leaves = Leaves(asyncio.Event())
    leaves.open()
    late = Leave(leaves, [attempt], clock=lambda: 11.0, latest=10.0)
    asked = asyncio.ensure_future(late())
    await asyncio.sleep(0)
    await leaves.mark(world.connection, "one")

    with pytest.raises(StaysError, match="stopped too long"):
        await asked
    assert late.state == "kept"


async def test_a_channel_is_not_blamed_for_what_stayed(
    world: World, telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes when a message is to leave: it goes later, and its channel is well."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    wait = Leaves.wait
    refused: list[Sequence[int]] = []

    async def away_at_first(self: Leaves, attempts: Sequence[int]) -> None:
        if not refused:
            refused.append(attempts)
            raise StaysError("the database was away")
        await wait(self, attempts)

    monkeypatch.setattr(Leaves, "wait", away_at_first)
    async with world.evaluating(), world.delivering() as deliverer:
        await world.log("charge failed")
        await world.until("select count(*) from notification_attempts where outcome = 'retry'")
        assert deliverer.health()["ops"]["state"] == "unused"
        await telegram.wait_for()
        await world.until(OPS.format("sent"))

    assert len(telegram.messages) == 1
    assert "may repeat" not in telegram.messages[0].text
    assert deliverer.health()["ops"]["state"] == "ok"
