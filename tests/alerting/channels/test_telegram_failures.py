"""What each failure of Telegram means: the table of the channel, against a strict Bot API."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from outrider_alerting.channels import telegram as telegram_channel
from outrider_alerting.channels.outcome import Failed, Hold, Retry, Sent, Unknown
from outrider_alerting.channels.telegram_buttons import Listener, Taken, Unreachable
from tests.alerting.channels.notices import message, telegram
from tests.servers.bot_wire import Fault

if TYPE_CHECKING:
    from outrider_alerting.channels.telegram import TelegramChannel
    from tests.servers.bot_api import BotApi


async def test_too_many_requests_hold_the_chat(api: BotApi, channel: TelegramChannel) -> None:
    """429 is surely not sent; the server's delay comes back with a hold on the conversation."""
    api.faults.append(Fault.TOO_MANY)
    api.retry_after_s = 35

    outcome = await channel.send(message())

    assert isinstance(outcome, Retry)
    assert (outcome.after_s, outcome.hold) == (35.0, Hold.CONVERSATION)


async def test_a_migrated_chat_is_remembered(api: BotApi, channel: TelegramChannel) -> None:
    """A chat that became a supergroup gets the message at once, and the next without a detour."""
    api.migrated[77] = -100_77

    first, second = await channel.send(message()), await channel.send(message())

    assert isinstance(first, Sent) and "-10077" in first.remark
    assert isinstance(second, Sent) and not second.remark
    assert [first.moved_to, second.moved_to] == ["-10077", "-10077"]
    assert [sent.chat_id for sent in api.messages] == [-100_77, -100_77]
    assert len(api.refused) == 1


async def test_a_remembered_address_needs_no_detour(api: BotApi, channel: TelegramChannel) -> None:
    """A channel that was built anew is told where the chat is by now."""
    api.migrated[77] = -100_77

    outcome = await channel.send(message(address="-10077"))

    assert isinstance(outcome, Sent)
    assert not api.refused


async def test_a_blocked_bot_fails_for_good(api: BotApi, channel: TelegramChannel) -> None:
    """403 breaks the channel and is never tried again."""
    api.blocked.add(77)

    outcome = await channel.send(message())

    assert isinstance(outcome, Failed) and outcome.channel_broken


@pytest.mark.parametrize("changes", [{"token": "42:wrong"}, {"base_url": "{url}/elsewhere"}])
async def test_a_wrong_token_or_address_fails_for_good(
    api: BotApi, changes: dict[str, str]
) -> None:
    """401 and 404 break the channel, and neither token nor secret is in the reason."""
    wrong = telegram(api, **{k: v.format(url=api.url) for k, v in changes.items()})

    outcome = await wrong.send(message())
    await wrong.close()

    assert isinstance(outcome, Failed) and outcome.channel_broken
    assert "`bot_token_file`" in outcome.reason and "`base_url`" in outcome.reason
    assert "42:wrong" not in outcome.reason


async def test_an_unknown_chat_fails_for_good(api: BotApi, channel: TelegramChannel) -> None:
    """400 "chat not found" breaks the channel."""
    api.chats = {1}

    outcome = await channel.send(message())

    assert isinstance(outcome, Failed) and outcome.channel_broken


async def test_refused_formatting_is_sent_as_plain_text(
    api: BotApi, channel: TelegramChannel
) -> None:
    """400 "can't parse" is tried once more without markup, and the remark says so."""
    api.faults.append(Fault.CANNOT_PARSE)

    outcome = await channel.send(message())

    assert isinstance(outcome, Sent) and "plain text" in outcome.remark
    assert api.messages[0].markup is None


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        (Fault.SERVER_ERROR, 0),
        (Fault.HANG, 1),
        (Fault.HANG_BEFORE, 0),
        (Fault.DROP_AFTER, 1),
        (Fault.DROP_BEFORE, 0),
    ],
)
async def test_no_clear_answer_is_unknown(
    api: BotApi, channel: TelegramChannel, fault: Fault, arrived: int
) -> None:
    """5xx, a time-out and a lost connection are unknown, whether or not the message arrived."""
    api.faults.append(fault)

    outcome = await channel.send(message())

    assert isinstance(outcome, Unknown)
    assert arrived == len(api.messages)


async def test_formatting_is_left_out_once(api: BotApi, channel: TelegramChannel) -> None:
    """Plain text that is refused as well is a failure of this message, not of the channel."""
    api.faults.extend([Fault.CANNOT_PARSE, Fault.CANNOT_PARSE_AT_ALL])

    outcome = await channel.send(message())

    assert isinstance(outcome, Failed) and not outcome.channel_broken
    assert len(api.refused) == 2


async def test_no_place_in_the_pool_is_surely_not_sent(
    api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All connections wait for answers: what finds none free is tried again, not marked."""
    monkeypatch.setattr(telegram_channel, "CONNECTIONS", 1)
    monkeypatch.setattr(telegram_channel, "POOL_TIMEOUT_S", 0.05)
    made = telegram(api)
    api.faults.append(Fault.HANG_BEFORE)
    busy = asyncio.create_task(made.send(message()))
    await api.wait_until(lambda: not api.faults)

    outcome = await made.send(message())

    assert isinstance(outcome, Retry) and "check that this host reaches" in outcome.reason
    assert isinstance(await busy, Unknown)
    await made.close()


async def test_a_host_that_does_not_answer_is_surely_not_sent(
    api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer to the connection itself: nothing can have arrived."""
    monkeypatch.setattr(telegram_channel, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as deaf, socket.socket() as first:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # The one place of its queue is taken, so the kernel answers nobody else.
        first.connect(deaf.getsockname())
        made = telegram(api, base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        outcome = await made.send(message())
        await made.close()

    assert isinstance(outcome, Retry) and "TimedOut" in outcome.reason


async def test_a_second_listener_is_told_that_the_bot_is_taken(api: BotApi) -> None:
    """409: the older poll of two is told to go, and any while a webhook is set."""
    first, second = (Listener(api.token, api.url, wait_s=5) for _ in range(2))
    older = asyncio.create_task(first.poll(0))
    await api.wait_until(lambda: api.polls == 1)
    assert await second.poll(0, at_once=True) == ([], 0)
    with pytest.raises(Taken, match="terminated by other getUpdates"):
        await older
    api.webhook = True
    with pytest.raises(Taken, match="webhook"):
        await second.poll(0)
    await first.close()
    await second.close()


@pytest.mark.parametrize("changes", [{"token": "42:wrong"}, {"url": "/elsewhere"}])
async def test_a_listener_with_a_wrong_token_or_address_says_so(
    api: BotApi, changes: dict[str, str]
) -> None:
    """401 and 404 are waited out, and no text holds the token."""
    listener = Listener(changes.get("token", api.token), api.url + changes.get("url", ""))
    with pytest.raises(Unreachable) as told:
        await listener.poll(0, at_once=True)
    await listener.close()

    assert "wrong or revoked" in str(told.value) and "42:" not in str(told.value)


async def test_a_refused_connection_is_surely_not_sent(unused_tcp_port: int, api: BotApi) -> None:
    """Nobody listens: surely not sent, freely tried again."""
    lonely = telegram(api, base_url=f"http://127.0.0.1:{unused_tcp_port}")

    outcome = await lonely.send(message())
    await lonely.close()

    assert isinstance(outcome, Retry)
    assert outcome.after_s == 0.0
