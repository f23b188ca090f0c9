"""Telegram against a strict Bot API: what is sent, edited and offered to be pressed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.channels import buttons as buttons_of
from outrider_alerting.channels.outcome import Failed, Retry, Sent, Unknown
from outrider_alerting.channels.telegram_text import TEXT_LIMIT_UNITS, render_html, render_plain
from outrider_alerting.channels.text import units
from outrider_alerting.content import Fact
from tests.alerting.channels.notices import HOSTILE, content, line, message, telegram
from tests.servers import bot_markup
from tests.servers.bot_wire import Fault

if TYPE_CHECKING:
    from outrider_alerting.channels.telegram import TelegramChannel
    from tests.servers.bot_api import BotApi


async def test_a_firing_is_one_readable_message(api: BotApi, channel: TelegramChannel) -> None:
    """A notice arrives with title, facts, evidence, runbook and command, without link preview."""
    outcome = await channel.send(message())

    (sent,) = api.messages
    assert Sent(str(sent.message_id)) == outcome
    assert sent.link_preview is False
    assert sent.markup is not None
    assert 'href="https://wiki.example/payments?a=1&amp;b=2"' in sent.markup
    for wanted in ("11 errors in 5m on w1", "service payments", "charge failed", "alerts ack 12"):
        assert wanted in sent.text


async def test_a_resolve_answers_its_firing(api: BotApi, channel: TelegramChannel) -> None:
    """The resolve is a message of its own in reply to the firing's."""
    first = await channel.send(message())
    assert isinstance(first, Sent)

    await channel.send(message("resolved", firing_provider_id=first.provider_id))

    assert int(first.provider_id) == api.messages[1].reply_to


async def test_a_deleted_firing_does_not_stop_its_resolve(
    api: BotApi, channel: TelegramChannel
) -> None:
    """Where the firing's message is gone, the resolve comes without a reply."""
    outcome = await channel.send(message("resolved", firing_provider_id="999"))

    assert isinstance(outcome, Sent)
    assert api.messages[0].reply_to is None


async def test_a_message_is_made_to_read_otherwise(api: BotApi, channel: TelegramChannel) -> None:
    """An edit changes the words and sends nothing; the second time there is nothing to change."""
    first = await channel.send(message())
    assert isinstance(first, Sent)
    over = content(status="resolved", title="Over: 11 errors in 5m on w1")
    edit = message("", joins=first.provider_id, content=over)

    outcomes = [await channel.refresh(edit), await channel.refresh(edit)]

    (sent,) = api.messages
    assert sent.text.startswith("\N{WHITE HEAVY CHECK MARK} Over: 11 errors")
    assert len(api.edits) == 1
    assert outcomes == [first, first]


async def test_an_edit_of_what_is_gone_sends_nothing(api: BotApi, channel: TelegramChannel) -> None:
    """A deleted message, and one of a chat that moved, are left: no edit will ever reach them."""
    gone = await channel.refresh(message("", joins="999"))
    api.migrated[77] = -10077
    moved = await channel.refresh(message("", joins="1"))

    assert isinstance(gone, Failed) and "essage to edit not found" in gone.reason
    assert isinstance(moved, Failed) and "-10077" in moved.reason
    assert not api.messages


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Fault.TOO_MANY, Retry), (Fault.SERVER_ERROR, Unknown), (Fault.DROP_BEFORE, Unknown)],
)
async def test_an_edit_that_did_not_work_says_so(
    api: BotApi, channel: TelegramChannel, fault: Fault, kind: type
) -> None:
    """What may be tried again is told apart from what is done."""
    first = await channel.send(message())
    assert isinstance(first, Sent)
    api.edit_faults.append(fault)

    outcome = await channel.refresh(message("", joins=first.provider_id))

    assert isinstance(outcome, kind)


async def test_what_joins_edits_and_makes_no_sound(api: BotApi, channel: TelegramChannel) -> None:
    """A notice that joins another changes that one's message; it is called by its number."""
    first = await channel.send(message())
    assert isinstance(first, Sent)

    second = await channel.send(
        message(joins=first.provider_id, may_repeat=True, content=content(title="2 are wrong"))
    )

    (sent,) = api.messages
    assert Sent(first.provider_id) == second
    assert "2 are wrong" in sent.text
    assert "may repeat" not in sent.text


async def test_what_cannot_join_is_a_message(api: BotApi, channel: TelegramChannel) -> None:
    """Where the message to be edited was deleted, the notice is a message of its own."""
    outcome = await channel.send(message(joins="999"))

    assert isinstance(outcome, Sent)
    assert [str(sent.message_id) for sent in api.messages] == [outcome.provider_id]


async def test_a_topic_that_was_deleted_is_done_without(api: BotApi) -> None:
    """The message comes into the general topic, and the ledger says what to correct."""
    api.topics = {7}
    good, gone = telegram(api, thread_id=7), telegram(api, thread_id=8)

    outcomes = [await good.send(message()), await gone.send(message())]
    await good.close()
    await gone.close()

    assert [sent.thread_id for sent in api.messages] == [7, None]
    remarks = [outcome.remark for outcome in outcomes if isinstance(outcome, Sent)]
    assert remarks == ["", "topic 8 is gone: sent without it, correct `topic`"]


async def test_buttons_are_for_linked_users_and_prove_themselves(api: BotApi) -> None:
    """Three buttons of at most 64 bytes, whose data nobody without the token can make."""
    linked, nobody = telegram(api, users={7: "anna"}), telegram(api)
    for channel, buttons in ((linked, True), (linked, False), (nobody, True)):
        await channel.send(message(buttons=buttons))
    resolved = message("resolved", buttons=True, content=content(status="resolved"))
    await linked.send(resolved)
    await linked.close()
    await nobody.close()

    shown = [dict(sent.buttons) for sent in api.messages]
    assert list(shown[0]) == ["Acknowledge", "Silence 1h", "Details"]
    assert shown[1:] == [{}, {}, {}]
    data = shown[0]["Acknowledge"]
    assert buttons_of.read(api.token, 77, data) == ("acknowledge", 12, "12.814000000")
    assert buttons_of.read(api.token, 78, data) is None
    assert buttons_of.read("42:other", 77, data) is None


async def test_details_lead_to_the_alerts_page(api: BotApi) -> None:
    """Where the dashboard can be reached, Details is a link, and needs no listener."""
    made = telegram(api, users={7: "anna"}, dashboard_url="https://outrider.example.org/")
    for status in ("firing", "resolved"):
        await made.send(message(buttons=True, content=content(status=status)))
    await made.send(message(buttons=False))
    await made.close()

    page = "https://outrider.example.org/alerts/12"
    firing, resolved, unheard = api.messages
    assert [label for label, _ in firing.buttons] == ["Acknowledge", "Silence 1h", "Details"]
    assert dict(firing.buttons)["Details"] == page
    assert unheard.buttons == (("Details", page),)
    assert resolved.buttons == ()
    assert resolved.markup is not None and f'<a href="{page}">A-12</a>' in resolved.markup


async def test_a_page_that_telegram_takes_no_button_to_is_done_without(api: BotApi) -> None:
    """A dashboard on this host: the message arrives, its Details answers, the remark says why."""
    made = telegram(api, users={7: "anna"}, dashboard_url="http://localhost:4580")
    outcome = await made.send(message(buttons=True))
    await made.close()

    assert isinstance(outcome, Sent) and "no button to `dashboard_url`" in outcome.remark
    (sent,) = api.messages
    assert buttons_of.read(api.token, 77, dict(sent.buttons)["Details"]) is not None


@given(st.text(max_size=64), st.sampled_from(range(20)))
def test_forged_buttons_are_refused(text: str, place: int) -> None:
    """No text, and no data with one character changed, is taken for a button of ours."""
    data = buttons_of.button("42:t", 77, "silence", "12.814000000")
    place %= len(data)
    changed = data[:place] + chr(ord(data[place]) ^ 1) + data[place + 1 :]

    assert buttons_of.read("42:t", 77, text) is None
    assert buttons_of.read("42:t", 77, changed) is None
    assert buttons_of.read("42:t", 77, data) is not None


async def test_hostile_text_is_delivered(api: BotApi, channel: TelegramChannel) -> None:
    """Markup, control characters, emoji, RTL and 10 kB in every field arrive as readable text."""
    long = HOSTILE * 80
    hostile = content(
        [line(long, n) for n in range(10)],
        title=long,
        sentence=long,
        rule=long,
        facts=tuple(Fact(name=long, value=long) for _ in range(20)),
        command=long,
        runbook="https://wiki.example/?q=<\">&'" + "x" * 500,
    )

    outcome = await channel.send(message(content=hostile, may_repeat=True))

    assert isinstance(outcome, Sent)
    assert not outcome.remark
    (sent,) = api.messages
    assert units(sent.text) <= TEXT_LIMIT_UNITS
    assert "<b>&_*[]()~`>#+-=|{}.!</pre></code>" in sent.text
    assert not [c for c in sent.text if ord(c) < 32 and c != "\n"]
    assert "\u202e" not in sent.text


async def test_ten_long_lines_share_the_room(api: BotApi, channel: TelegramChannel) -> None:
    """Ten lines of 4 kB are each shortened; the runbook and a short line stay whole."""
    lines = [line(f"line {n} " + "x" * 4096, n) for n in range(9)]

    await channel.send(message(content=content([*lines, line("the short one")])))

    text = api.messages[0].text
    assert all(f"line {n} x" in text for n in range(9))
    assert "the short one" in text
    assert "Runbook" in text
    assert 3900 < units(text) <= TEXT_LIMIT_UNITS


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.text(max_size=5000), max_size=12),
    text=st.text(max_size=3000),
    omitted=st.integers(0, 10**15),
    may_repeat=st.booleans(),
)
def test_any_text_is_balanced_and_fits(
    lines: list[str], text: str, omitted: int, *, may_repeat: bool
) -> None:
    """Whatever the log says, the HTML parses strictly, fits, and reads like its plain form."""
    hostile = content(
        [line(t, n) for n, t in enumerate(lines)],
        title=text,
        sentence=text,
        facts=tuple(Fact(name=text, value=text) for _ in range(9)),
        evidence_omitted=omitted,
    )
    notice = message(content=hostile, may_repeat=may_repeat)

    plain, entities = bot_markup.parse(render_html(notice))

    assert render_plain(notice).strip() == plain
    assert units(plain) <= TEXT_LIMIT_UNITS
    assert entities <= bot_markup.ENTITIES_MAX


async def test_the_token_is_in_no_log(
    api: BotApi, channel: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG, neither success nor failure writes the token anywhere."""
    caplog.set_level(logging.DEBUG)
    api.faults.extend([Fault.SERVER_ERROR, Fault.HANG, Fault.DROP_BEFORE])

    for _ in range(4):
        await channel.send(message())

    assert api.token not in caplog.text
    assert api.token.partition(":")[2] not in caplog.text


async def test_a_marked_repeat_says_so(api: BotApi, channel: TelegramChannel) -> None:
    """A message that may have arrived before says that it may repeat."""
    await channel.send(message(may_repeat=True))

    assert "may repeat an earlier message" in api.messages[0].text


async def test_cancelling_leaves_nothing_behind(api: BotApi, channel: TelegramChannel) -> None:
    """A send that is cancelled ends at once; the channel works afterwards."""
    api.faults.append(Fault.HANG_BEFORE)
    task = asyncio.ensure_future(channel.send(message()))
    await asyncio.sleep(0.05)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await channel.send(message()), Sent)
