"""Delivery from the outbox to a strict Bot API: one fate each, at most one marked repeat."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from outrider_alerting.channels import telegram as telegram_channel
from tests.collector.alerts import samples
from tests.collector.alerts.world import SENT, WAITING
from tests.servers.bot_api import BotApi
from tests.servers.bot_wire import Fault
from tests.servers.smtp import SmtpServer

if TYPE_CHECKING:
    from tests.collector.alerts.world import World


async def test_a_line_reaches_telegram(world: World, telegram: BotApi) -> None:
    """From a committed line to a message with its evidence, and the ledger knows its number."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed: card <b>expired</b>")
        message = await telegram.wait_for()
        await world.until(SENT)

    assert "card <b>expired</b>" in message.text
    (row,) = await world.rows("select * from notifications where channel = 'ops'")
    assert str(message.message_id) == row["provider_id"]
    assert row["attempts"] == 1
    (attempt,) = await world.rows("select * from notification_attempts")
    assert attempt["outcome"] == "sent"
    assert attempt["finished_at"] >= attempt["started_at"]


async def test_a_resolve_reaches_who_got_the_firing_over_a_silence(
    world: World, telegram: BotApi
) -> None:
    """The firing was told; a silence added after it does not hold the resolve back."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.set_state("dead", "exit code 1")
        fired = await telegram.wait_for()
        await world.until(SENT)
        await world.silence("rule:worker-gone")
        await world.set_state("up")
        resolved = await telegram.wait_for(count=2)

    assert fired.message_id == resolved.reply_to
    assert await world.notices() == [("fired", "sent"), ("resolved", "sent")]


async def test_a_firing_that_is_over_before_it_left_is_one_message(
    world: World, telegram: BotApi
) -> None:
    """Fired and resolved while nobody delivered: one message tells both, one fate each."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    async with world.evaluating():
        await world.set_state("dead")
        await world.until("select count(*) from alerts")
        await world.set_state("up")
        await world.until("select count(*) from alerts where state = 'resolved'")

    async with world.delivering():
        await telegram.wait_for()
        await world.until(SENT)

    assert len(telegram.messages) == 1
    assert await world.notices() == [("fired", "superseded"), ("resolved", "sent")]


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.SERVER_ERROR])
async def test_an_unknown_outcome_is_repeated_once_and_marked(
    world: World, telegram: BotApi, fault: Fault
) -> None:
    """No clear answer: one more message, which says that it may repeat."""
    telegram.faults.append(fault)
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed")
        repeat = await telegram.wait_for(lambda m: "may repeat" in m.text)
        await world.until(SENT)

    assert repeat is telegram.messages[-1]
    attempts = await world.rows("select outcome from notification_attempts order by id")
    assert [row["outcome"] for row in attempts] == ["unknown", "sent"]


async def test_a_second_unknown_outcome_ends_it(world: World, telegram: BotApi) -> None:
    """After the repeat nothing more is sent: the fate is unknown, and the in-app row says so."""
    telegram.faults.extend([Fault.DROP_AFTER, Fault.DROP_AFTER])
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed")
        await world.until("select count(*) from notifications where fate = 'unknown'")
        await asyncio.sleep(0.3)

    assert len(telegram.messages) == 2
    why = await world.value("select why from notifications where channel = 'in-app'")
    assert why.startswith("ops: unknown")


async def test_too_many_requests_are_waited_out(world: World, telegram: BotApi) -> None:
    """429: the message waits as long as told and is sent once."""
    telegram.faults.append(Fault.TOO_MANY)
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed")
        message = await telegram.wait_for()
        await world.until(SENT)

    (first, second) = await world.rows("select * from notification_attempts order by id")
    assert (first["outcome"], second["outcome"]) == ("retry", "sent")
    assert (second["started_at"] - first["finished_at"]).total_seconds() >= 1.0
    assert "may repeat" not in message.text


async def test_a_blocked_bot_is_a_failure_that_the_centre_tells(
    world: World, telegram: BotApi
) -> None:
    """403: failed at once, the in-app row says so, and a resolve is not sent after it."""
    telegram.blocked.add(77)
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering() as deliverer:
        await world.set_state("dead")
        await world.until("select count(*) from notifications where fate = 'failed'")
        await world.set_state("up")
        await world.until("select count(*) from alerts where state = 'resolved'")
        assert deliverer.health()["ops"]["state"] == "broken"

    assert await world.notices() == [("fired", "failed"), ("resolved", "suppressed")]
    why = await world.value(
        "select why from notifications where channel = 'in-app' and notice = 'fired'"
    )
    assert "blocked" in why
    assert not telegram.messages
    assert await world.value("select count(*) from notification_attempts") == 1


async def test_a_resolve_behind_a_firing_that_fails_is_dropped(
    world: World, telegram: BotApi
) -> None:
    """The firing is on its way when the alert resolves, and then fails: no resolve is sent."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    gate = asyncio.Event()
    original = telegram_channel.TelegramChannel._post

    async def slow(*arguments: object, **options: object) -> int:
        await gate.wait()
        telegram.blocked.add(77)
        return await original(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telegram_channel.TelegramChannel, "_post", slow)
        async with world.evaluating(), world.delivering():
            await world.set_state("dead")
            await world.until("select count(*) from notifications where fate = 'claimed'")
            await world.set_state("up")
            await world.until(
                "select count(*) from notifications where notice = 'resolved' and channel = 'ops'"
            )
            gate.set()
            await world.until(
                "select count(*) from notifications where channel = 'ops' and fate = 'superseded'"
            )

    assert await world.notices() == [("fired", "failed"), ("resolved", "superseded")]


async def test_a_missing_token_is_waited_for(world: World, telegram: BotApi) -> None:
    """A secret that is put in place later needs no restart."""
    token = world.secrets_dir / "telegram.token"
    text = token.read_text()
    token.unlink()
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed")
        await world.until("select count(*) from notification_attempts where outcome = 'retry'")
        token.write_text(text)
        await telegram.wait_for()
        await world.until(SENT)

    error = await world.value("select error from notification_attempts order by id limit 1")
    assert "cannot read bot_token_file" in error


async def test_after_an_outage_of_the_network_nothing_stale_is_shouted(
    world: World, unused_tcp_port: int
) -> None:
    """Who still is dead is told with since when; who came and went is told as over, in one."""
    notify = samples.notify(f"http://127.0.0.1:{unused_tcp_port}")
    await world.apply(rules=samples.LIVENESS, notify=notify)
    tried = "select count(*) from notifications where channel = 'ops' and attempts > 0"
    async with world.evaluating(), world.delivering():
        await world.set_state("dead", worker="w1")
        await world.until(tried)
        await world.set_state("dead", worker="w2")
        await world.until("select count(*) from alerts where state = 'firing'", lambda n: n == 2)
        await world.set_state("up", worker="w1")
        await world.until("select count(*) from alerts where state = 'resolved'")
        telegram = BotApi(rates=False)
        await telegram.start(unused_tcp_port)
        try:
            await world.until(WAITING, lambda n: n == 0, within_s=20.0)
        finally:
            await telegram.stop()

    over, dead = sorted((m.text for m in telegram.versions), key=lambda text: "w2 is dead" in text)
    assert "Fired at" in over and "resolved at" in over
    assert "Dead since" in dead
    fates = await world.rows(
        "select labels->>'worker' as worker, notice, fate from notifications n"
        " join alerts a on a.id = n.alert where channel = 'ops' order by 1, n.id"
    )
    assert [tuple(row.values()) for row in fates] == [
        ("w1", "fired", "superseded"), ("w1", "resolved", "sent"), ("w2", "fired", "sent"),
    ]  # fmt: skip


async def test_every_alert_has_one_fate_for_each_destination(
    world: World, telegram: BotApi
) -> None:
    """Under faults of every kind no row is left waiting, claimed or doubled."""
    telegram.faults.extend(
        [Fault.SERVER_ERROR, Fault.TOO_MANY, Fault.CANNOT_PARSE, Fault.DROP_BEFORE]
    )
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        for n in range(4):
            await world.log("charge failed", worker=f"w{n}")
        await world.until("select count(*) from notifications", lambda n: n == 8)
        await world.until(
            "select count(*) from notifications where fate in ('waiting', 'claimed')",
            lambda n: n == 0,
            within_s=30,
        )

    doubled = await world.rows(
        "select alert, notice, channel from notifications group by 1, 2, 3 having count(*) > 1"
    )
    assert not doubled
    assert await world.value("select count(*) from notifications where notice = 'fired'") == 8


async def test_a_chat_full_of_messages_delays_no_other(world: World, telegram: BotApi) -> None:
    """Six hundred rows for a chat that is told to wait: mail goes out at once."""
    async with SmtpServer() as mail:
        await world.apply(
            rules=samples.LIVENESS,
            # Routes stand in the order of their files.
            chat=samples.notify(telegram.url).replace("[[route]]", "[[route]]\ncontinue = true"),
            mail=samples.mail(mail.port),
        )
        async with world.evaluating():
            await world.set_state("dead")
            await world.until("select count(*) from notifications", lambda n: n == 3)
        await world.connection.execute(
            "insert into notifications (alert, notice, channel, channel_type, conversation,"
            " priority, fate, content)"
            " select alert, 'raised:' || n, channel, channel_type, conversation, priority, fate,"
            " content from notifications, generate_series(1, 600) n where channel = 'ops'"
        )
        await world.connection.execute(
            "update notifications set id = id + 10000 where channel = 'mail'"
        )
        async with world.delivering():
            letter = await mail.wait_for()
            await world.until(
                "select count(*) from notifications where channel = 'mail' and fate = 'sent'"
            )

    assert letter.recipients == ("anna@example.org",)
    assert "w1" in letter.part("plain")


async def test_a_channel_that_does_not_answer_delays_no_other(
    world: World, telegram: BotApi
) -> None:
    """A Bot API that takes the request and says nothing: the letter goes out meanwhile."""
    telegram.faults.append(Fault.HANG_BEFORE)
    async with SmtpServer() as mail:
        await world.apply(
            rules=samples.LIVENESS,
            chat=samples.notify(telegram.url).replace("[[route]]", "[[route]]\ncontinue = true"),
            mail=samples.mail(mail.port),
        )
        async with world.evaluating(), world.delivering():
            await world.set_state("dead")
            await telegram.wait_until(lambda: not telegram.faults)
            await mail.wait_for()
            asked = "select fate from notifications where channel = 'ops'"
            assert await world.value(asked) == "claimed"


async def test_a_greylisted_recipient_gets_the_letter_alone(world: World) -> None:
    """Who has the letter does not get it again; the ledger remembers over attempts."""
    async with SmtpServer() as mail:
        mail.refuse["ben@example.org"] = "451 4.7.1 later"
        await world.apply(
            rules=samples.LIVENESS,
            mail=samples.mail(mail.port, "anna@example.org", "ben@example.org"),
        )
        async with world.evaluating(), world.delivering():
            await world.set_state("dead")
            await mail.wait_for()
            await world.until("select count(*) from notification_attempts where outcome = 'retry'")
            mail.refuse.clear()
            await mail.wait_for(count=2)
            await world.until(
                "select count(*) from notifications where channel = 'mail' and fate = 'sent'"
            )

    assert [x.recipients for x in mail.letters] == [("anna@example.org",), ("ben@example.org",)]
    delivered = await world.value("select delivered from notifications where channel = 'mail'")
    assert delivered == ["anna@example.org", "ben@example.org"]
