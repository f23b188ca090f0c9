"""Many alerts, few messages: joining, digests, threads, on real Postgres."""

from __future__ import annotations

import re
from functools import partial
from operator import eq
from typing import TYPE_CHECKING

import psycopg

from tests.collector.alerts import samples
from tests.collector.alerts.world import WAITING
from tests.servers.smtp import SmtpServer

if TYPE_CHECKING:
    from tests.collector.alerts.world import World
    from tests.servers.bot_api import BotApi
    from tests.servers.hook import Hook


async def three_die(world: World) -> None:
    """Let one worker after the other be dead, each an alert."""
    for n in (1, 2, 3):
        await world.set_state("dead", worker=f"w{n}")
        await world.until("select count(*) from alerts", partial(eq, n))


async def test_followers_join_the_first_by_edit(world: World, telegram: BotApi) -> None:
    """The first of a rule speaks at once; two more within half a minute edit its message."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.log("charge failed", worker="w1")
        first = await telegram.wait_for()
        await world.log("charge failed", worker="w2")
        await world.log("charge failed", worker="w3")
        await telegram.wait_until(lambda: "and 2 more" in telegram.messages[0].text)
        await world.until(WAITING, lambda n: n == 0)

    (message,) = telegram.messages
    assert "a charge failed on w2" in message.text and "a charge failed on w3" in message.text
    told = await world.rows(
        "select distinct provider_id, fate from notifications where channel = 'ops'"
    )
    assert told == [{"provider_id": str(first.message_id), "fate": "sent"}]


async def test_a_death_comes_with_the_last_words(world: World, telegram: BotApi) -> None:
    """The newest three lines of the worker that died, in their order; none of its neighbours."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    await world.log(*(f"line {n}" for n in range(9)), worker="w1", level="info")
    await world.log("not mine", worker="w2")

    async with world.evaluating(), world.delivering():
        await world.set_state("dead", "killed by SIGKILL", worker="w1")
        sent = await telegram.wait_for()
        await world.until(WAITING, lambda n: n == 0)
        await world.set_state("dead", worker="w3")
        await telegram.wait_until(lambda: "w3 is dead" in telegram.messages[0].text)

    shown = [line.split("w1 ")[-1] for line in sent.text.splitlines() if "INFO" in line]
    assert shown == ["line 6", "line 7", "line 8"]
    assert "not mine" not in sent.text


async def test_a_death_waits_for_no_last_words(world: World, telegram: BotApi) -> None:
    """Where the blocks cannot be read in a moment, the alert comes without."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))
    await world.log("line", worker="w1", level="info")

    async with (
        world.evaluating(),
        world.delivering(),
        await psycopg.AsyncConnection.connect(world.url) as busy,
    ):
        await busy.execute("lock table blocks_fresh in access exclusive mode")
        await world.set_state("dead", "killed by SIGKILL", worker="w1")
        sent = await telegram.wait_for()

    assert "w1 is dead" in sent.text and "INFO" not in sent.text


async def test_what_is_over_takes_no_more_in(world: World, telegram: BotApi) -> None:
    """After the first was told to be over, the next of its rule speaks: an edit makes no sound."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))

    async with world.evaluating(), world.delivering():
        await world.set_state("dead", worker="w1")
        await telegram.wait_for()
        await world.set_state("up", worker="w1")
        await telegram.wait_for(count=2)
        await world.set_state("dead", worker="w2")
        await telegram.wait_for(lambda sent: "w2 is dead" in sent.text)
        await world.until(WAITING, lambda n: n == 0)

    assert len(telegram.messages) == 3
    assert not any("w2" in sent.text for sent in telegram.messages[:2])


async def test_ends_of_what_one_message_told_are_one_message(
    world: World, telegram: BotApi
) -> None:
    """Two alerts that share a message end together: one answer to it, and it reads as over."""
    await world.apply(rules=samples.LIVENESS, notify=samples.notify(telegram.url))

    async with world.evaluating():
        await world.set_state("dead", worker="w1")
        await world.set_state("dead", worker="w2")
        await world.until("select count(*) from alerts", lambda n: n == 2)
        async with world.delivering():
            await telegram.wait_until(
                lambda: any("and 1 more" in sent.text for sent in telegram.messages)
            )
            await world.until(WAITING, lambda n: n == 0)
        await world.set_state("up", worker="w1")
        await world.set_state("up", worker="w2")
        await world.until("select count(*) from alerts where state = 'resolved'", lambda n: n == 2)
    async with world.delivering():
        await telegram.wait_for(count=2)
        await world.until(WAITING, lambda n: n == 0)
        await world.until(
            "select count(*) from notifications where edits_owed > 0", lambda n: n == 0
        )

    firing, resolve = telegram.messages
    assert resolve.reply_to == firing.message_id
    assert "w1 is up again, and 1 more" in resolve.text
    assert firing.text.startswith("\N{WHITE HEAVY CHECK MARK} Over: ")
    assert await world.notices() == [("fired", "sent")] * 2 + [("resolved", "sent")] * 2


async def test_a_letter_cannot_be_edited_so_followers_come_as_one(world: World) -> None:
    """By mail the first goes at once, the others wait until half a minute after it."""
    async with SmtpServer() as mail:
        await world.apply(rules=samples.MATCH, notify=samples.mail(mail.port))
        async with world.evaluating(), world.delivering():
            await world.log("charge failed", worker="w1")
            await mail.wait_for()
            for n in range(2, 5):
                await world.log("charge failed", worker=f"w{n}")
            await world.until("select count(*) from alerts", lambda n: n == 4)
            wait = await world.value(
                "select min(not_before - created_at) from notifications"
                " where channel = 'mail' and fate = 'waiting'"
            )
            assert len(mail.letters) == 1
            await world.connection.execute(
                "update notifications set not_before = now() where channel = 'mail'"
            )
            letter = await mail.wait_for(count=2)
            await world.until(WAITING, lambda n: n == 0)

    assert 25 < wait.total_seconds() <= 30
    assert len(mail.letters) == 2
    assert "a charge failed on w2, and 2 more" in letter.part("plain")


async def test_a_storm_is_one_message_and_critical_ones_overtake(
    world: World, telegram: BotApi
) -> None:
    """Forty rules fire while nobody delivers: the critical one first, the rest in one message."""
    rules = "".join(
        samples.match_on(f"w{n}").replace('"critical"', '"warning"') for n in range(40)
    ) + samples.match_on("w40")
    await world.apply(rules=rules, notify=samples.notify(telegram.url))
    async with world.evaluating():
        for n in range(41):
            await world.log("charge failed", worker=f"w{n}")
        await world.until("select count(*) from alerts", lambda n: n == 41)

    async with world.delivering():
        await telegram.wait_for(count=2)
        await world.until(WAITING, lambda n: n == 0)

    critical, storm = telegram.messages
    assert "a charge failed on w40" in critical.text
    assert "a charge failed on w0, and 39 more" in storm.text
    assert "More: 29 in the list of alerts" in storm.text
    assert await world.notices() == [("fired", "sent")] * 41
    await who_was_sent_is_named(world, telegram)
    (lead,) = await world.rows(
        "select min(alert) as id from notifications where channel = 'ops' and priority = 'warning'"
    )
    assert await world.rows(
        "select why, count(*)::int as rows from notifications"
        " where channel = 'ops' and why is not null group by why"
    ) == [{"why": f"only counted in the message of A-{lead['id']} when it was sent, not named",
           "rows": 29}]  # fmt: skip


async def test_whom_an_edit_would_only_count_speaks(world: World, telegram: BotApi) -> None:
    """The message of a rule is full: what comes at once is counted, the next one is heard."""
    await world.apply(rules=samples.MATCH, notify=samples.notify(telegram.url))
    async with world.evaluating(), world.delivering():
        for n in range(12):
            await world.log("charge failed", worker=f"w{n}")
        await world.until(WAITING, lambda n: n == 0)
        await world.until("select count(*) from alerts", partial(eq, 12))
        await world.until(WAITING, lambda n: n == 0)
        assert len(telegram.messages) == 1
        await world.connection.execute(
            "update notifications set created_at = created_at - interval '10 seconds'"
        )
        await world.log("charge failed", worker="w12")
        heard = await telegram.wait_for(count=2)
        await world.until(WAITING, lambda n: n == 0)

    assert "a charge failed on w12" in heard.text
    await who_was_sent_is_named(world, telegram)
    counted = (
        "select count(*) from notifications where channel = 'ops' and why like 'only counted%'"
    )
    assert await world.value(counted) == 1


async def who_was_sent_is_named(world: World, telegram: BotApi) -> None:
    """Whoever the ledger says was sent stands in a version of its message, or was only counted."""
    rows = await world.rows(
        "select alert, provider_id, why from notifications where channel = 'ops' and fate = 'sent'"
    )
    for row in rows:
        texts = [v.text for v in telegram.versions if str(v.message_id) == row["provider_id"]]
        is_named = any(re.search(rf"\bA-{row['alert']}\b", text) for text in texts)
        assert is_named or "only counted" in (row["why"] or ""), row


async def test_a_digest_by_mail_ends_in_its_own_thread(world: World) -> None:
    """Followers told in one letter end in one letter of the same subject, in the same thread."""
    async with SmtpServer() as mail:
        await world.apply(rules=samples.LIVENESS, notify=samples.mail(mail.port))
        async with world.evaluating(), world.delivering():
            for n in (1, 2, 3):
                await world.set_state("dead", worker=f"w{n}")
            await mail.wait_for()
            await world.until("select count(*) from alerts", lambda n: n == 3)
            await world.connection.execute(
                "update notifications set not_before = now() where channel = 'mail'"
            )
            digest = await mail.wait_for(count=2)
            await world.until(WAITING, lambda n: n == 0)
            await world.set_state("up", worker="w3")
            end = await mail.wait_for(count=3)
            await world.until(WAITING, lambda n: n == 0)

    assert digest.message["Subject"] == end.message["Subject"]
    assert digest.message["Message-ID"] == end.message["References"]
    assert "w3 is up again" in end.part("plain")


async def test_an_end_by_mail_refers_to_the_letter_that_told_its_firing(world: World) -> None:
    """Also where the server says the same of every letter: ends of two letters are two letters."""
    async with SmtpServer() as mail:
        mail.accepted = "250 OK"
        await world.apply(rules=samples.LIVENESS, notify=samples.mail(mail.port))
        async with world.evaluating():
            await three_die(world)
            await world.connection.execute("update notifications set not_before = now()")
            async with world.delivering():
                await world.until(WAITING, lambda n: n == 0)
            for n in (1, 2, 3):
                await world.set_state("up", worker=f"w{n}")
            await world.until(
                "select count(*) from alerts where state = 'resolved'", partial(eq, 3)
            )
            await world.connection.execute("update notifications set not_before = now()")
            async with world.delivering():
                await world.until(WAITING, lambda n: n == 0)

    assert len(mail.letters) == 4
    letters = {letter.message["Message-ID"]: letter for letter in mail.letters[:2]}
    for end in mail.letters[2:]:
        told = letters.pop(end.message["In-Reply-To"])
        assert told.message["Subject"] == end.message["Subject"]
        for worker in ("w1", "w2", "w3"):
            assert (worker in told.part("plain")) == (worker in end.part("plain"))


async def test_a_webhook_gets_every_alert_of_a_message(world: World, hook: Hook) -> None:
    """What joins is posted as one document that lists each alert with its labels."""
    await world.apply(rules=samples.LIVENESS, notify=samples.hook(hook.port))
    async with world.evaluating():
        await three_die(world)
    await world.connection.execute("update notifications set not_before = now()")
    async with world.delivering():
        await world.until(WAITING, lambda n: n == 0)

    first, second = hook.bodies
    assert first["labels"] == {
        "rule": "worker-gone", "kind": "liveness", "priority": "critical",
        "service": "payments", "worker": "w1", "host": "host-1", "state": "dead",
    }  # fmt: skip
    others = second["together_with"]
    assert isinstance(others, list)
    assert [other["labels"]["worker"] for other in others] == ["w3"]
