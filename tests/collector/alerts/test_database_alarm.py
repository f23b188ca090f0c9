"""Nothing can be stored: told after half a minute, once, and in the ledger afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from outrider_collector.alerts.database_alarm import DatabaseAlarm
from outrider_collector.alerts.outlets import Outlets
from tests.collector.alerts import samples
from tests.servers.bot_wire import Fault

if TYPE_CHECKING:
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi
    from tests.servers.hook import Hook

NOWHERE = "postgresql://127.0.0.1:9/outrider?connect_timeout=1"
HOUR_US = 3_600_000_000
FULL = "no space left on device: free room on the database's disk"


class Watched:
    """An alarm whose clock is turned by hand, and whose commits fail or not."""

    def __init__(self, world: World, url: str = "", now_us: int = 0) -> None:
        # Turned by minutes, and never ahead of the database, which dates what is delivered.
        self.now_us = now_us or time.time_ns() // 1_000 - HOUR_US
        self.refused = ""
        self.commits = 0
        self.alarm = DatabaseAlarm(
            url or world.url,
            "collector-1",
            world.secrets_dir,
            Outlets(world.secrets_dir),
            lambda: self.refused,
            lambda: self.commits,
            clock=lambda: self.now_us,
            timer=lambda: self.now_us / 1e6,
        )

    async def __aenter__(self) -> Self:
        await self.alarm.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.alarm.close()

    def recovers(self) -> None:
        """Let commits succeed again."""
        self.refused = ""
        self.commits += 1

    async def look(self, *, after_s: float = 0.0) -> None:
        """Look once, so much later."""
        self.now_us += round(after_s * 1e6)
        await self.alarm.look()


async def test_a_database_that_refuses_is_told_after_half_a_minute_once(
    world: World, telegram: BotApi
) -> None:
    """A short refusal is told to nobody; a long one once, and its end in reply, over the ledger."""
    await world.apply(notify=samples.notify(telegram.url))
    async with Watched(world) as watched:
        await watched.look()
        watched.refused = FULL
        for _ in range(3):
            await watched.look(after_s=10)
        watched.recovers()
        await watched.look(after_s=5)
        assert telegram.messages == []

        watched.refused = FULL
        for _ in range(12):
            await watched.look(after_s=10)
        (told,) = telegram.messages
        assert "collector-1 cannot store anything: no space left on device" in told.text
        watched.recovers()
        await watched.look(after_s=10)
    async with world.delivering():
        over = await telegram.wait_for(count=2)
        await world.until(
            "select count(*) = 2 from notifications where channel = 'ops' and fate = 'sent'"
        )

    assert over.reply_to == told.message_id
    (alert,) = await world.rows("select * from alerts")
    assert (alert["rule"], alert["state"]) == ("outrider-database", "resolved")
    rows = await world.rows("select notice, channel, fate from notifications order by channel, id")
    assert [tuple(row.values()) for row in rows] == [
        ("fired", "in-app", "sent"),
        ("resolved", "in-app", "sent"),
        ("fired", "ops", "sent"),
        ("resolved", "ops", "sent"),
    ]


async def test_a_start_without_a_database_knows_the_channels_and_what_was_told(
    world: World, telegram: BotApi
) -> None:
    """The rule set of before names the channels; the next process tells nobody twice."""
    await world.apply(notify=samples.notify(telegram.url))
    async with Watched(world) as before:
        await before.look()
    async with Watched(world, NOWHERE) as first:
        await first.look()
        await first.look(after_s=40)
    async with Watched(world, NOWHERE, first.now_us) as second:
        await second.look(after_s=40)
    assert len(telegram.messages) == 1
    assert "127.0.0.1:9" in telegram.messages[0].text

    for _ in range(2):
        async with Watched(world, now_us=second.now_us) as back:
            back.recovers()
            await back.look(after_s=1)
    assert len(await world.rows("select * from alerts")) == 1


async def test_a_webhook_can_pair_the_end_with_what_was_told(world: World, hook: Hook) -> None:
    """Beginning and end have the same id up to the slash, and the same label."""
    await world.apply(notify=samples.hook(hook.port))
    async with Watched(world) as watched:
        await watched.look()
        watched.refused = FULL
        await watched.look()
        await watched.look(after_s=31)
        watched.recovers()
        await watched.look(after_s=1)
    async with world.delivering():
        await world.until("select count(*) = 2 from notifications where channel = 'hook'")
        await world.until("select count(*) = 0 from notifications where fate <> 'sent'")

    began, ended = hook.bodies
    assert (began["notice"], ended["notice"]) == ("fired", "resolved")
    assert began["id"].split("/")[0] == ended["id"].split("/")[0]
    assert began["labels"]["incident"] == ended["labels"]["incident"]


async def test_a_channel_that_fails_is_tried_again(world: World, telegram: BotApi) -> None:
    """What was surely not sent is tried ten seconds later; the ledger counts the tries."""
    await world.apply(notify=samples.notify(telegram.url))
    async with Watched(world) as watched:
        await watched.look()
        telegram.faults.append(Fault.TOO_MANY)
        watched.refused = FULL
        await watched.look()
        await watched.look(after_s=31)
        assert telegram.messages == []
        await watched.look(after_s=1)
        assert telegram.messages == []
        await watched.look(after_s=30)
        assert len(telegram.messages) == 1
        watched.recovers()
        await watched.look(after_s=1)
    (row,) = await world.rows(
        "select attempts, fate from notifications where channel = 'ops' and notice = 'fired'"
    )
    assert (row["attempts"], row["fate"]) == (2, "sent")


async def test_a_collector_that_was_just_started_does_not_call_it_over(
    world: World, telegram: BotApi
) -> None:
    """Nobody complains yet: only a commit, or half a minute without a refusal, is an end."""
    await world.apply(notify=samples.notify(telegram.url))
    async with Watched(world) as watched:
        watched.refused = FULL
        await watched.look()
        await watched.look(after_s=31)
    async with Watched(world, now_us=watched.now_us) as restarted:
        await restarted.look()
        await restarted.look(after_s=29)
        assert await world.rows("select * from alerts") == []
        await restarted.look(after_s=2)
        assert len(await world.rows("select * from alerts")) == 1
    assert len(telegram.messages) == 1


async def test_rules_that_this_version_cannot_read_are_no_outage_and_end_nothing(
    world: World, telegram: BotApi
) -> None:
    """What was told waits for rules that can be read, and is entered then."""
    await world.apply(notify=samples.notify(telegram.url))
    async with Watched(world) as watched:
        await watched.look()
        watched.refused = FULL
        await watched.look()
        await watched.look(after_s=31)
        assert len(telegram.messages) == 1
        version = await world.apply(notify=samples.notify(telegram.url, 78))
        needs = "update rule_sets set minimum_engine = %s where version = %s"
        await world.connection.execute(needs, (1_000_000, version))
        watched.recovers()
        await watched.look(after_s=1)
    async with Watched(world, now_us=watched.now_us) as restarted:
        restarted.recovers()
        await restarted.look()
        assert await world.rows("select * from alerts") == []
        await world.connection.execute(needs, (1, version))
        await restarted.look(after_s=1)

    (alert,) = await world.rows("select rule, state from alerts")
    assert tuple(alert.values()) == ("outrider-database", "resolved")
    assert len(telegram.messages) == 1
