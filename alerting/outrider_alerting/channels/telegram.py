"""Telegram: one bot, one chat, one message a notice.

A resolve answers its firing. What each failure means was measured against python-telegram-bot 22:

=====================================  =============================  ==========================
server                                 exception (cause)              outcome
=====================================  =============================  ==========================
429                                    RetryAfter                     not sent, hold
400 with migrate_to_chat_id            ChatMigrated                   not sent, once more there
403                                    Forbidden                      failed, channel broken
401, 404                               InvalidToken                   failed, channel broken
400 can't parse                        BadRequest                     once more as plain text
400                                    BadRequest                     failed
5xx                                    NetworkError (none)            unknown
no connection, no place in the pool    NetworkError or TimedOut       not sent
                                       (ConnectError, ConnectTimeout,
                                       PoolTimeout)
no answer, connection lost             TimedOut or NetworkError       unknown
                                       (ReadTimeout, RemoteProtocol..)
=====================================  =============================  ==========================

BadRequest and TimedOut are subclasses of NetworkError, so the order of the handlers matters. The
Bot API has no key for a message and no list of what was sent: what is unknown stays unknown.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from telegram import Bot, LinkPreviewOptions, ReplyParameters
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)
from telegram.request import HTTPXRequest

from outrider_alerting.channels.channel import SEND_TIMEOUT_S
from outrider_alerting.channels.outcome import Failed, Hold, Outcome, Retry, Sent, Unknown
from outrider_alerting.channels.telegram_text import render_html, render_plain

if TYPE_CHECKING:
    import ssl

    from outrider_alerting.channels.channel import Message

# Asks for times as timedelta; without it the library warns of its own default at every 429.
os.environ.setdefault("PTB_TIMEDELTA", "1")
# They log request addresses, and a bot's address holds its token.
for _name in ("httpx", "httpcore", "telegram"):
    logging.getLogger(_name).setLevel(logging.WARNING)

DEFAULT_BASE_URL = "https://api.telegram.org"
# The connection was never made, or none was free: not a byte has left.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Telegram says these of a chat that no attempt will reach.
_BROKEN = ("chat not found", "not enough rights", "have no rights", "group chat was deactivated")


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """Whom to tell, and as which bot."""

    name: str
    token: str
    chat_id: int
    base_url: str = DEFAULT_BASE_URL
    # Topic of a group; None: the general one.
    thread_id: int | None = None

    @property
    def account(self) -> str:
        """The bot's number, which is the public half of its token."""
        return "telegram:" + self.token.partition(":")[0]

    def __repr__(self) -> str:
        """Show everything but the token."""
        return f"TelegramSettings({self.name!r}, {self.account}, chat_id={self.chat_id})"


class TelegramChannel:
    """See the module's page."""

    def __init__(self, settings: TelegramSettings, *, read_timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._chat_id = settings.chat_id
        self._request = HTTPXRequest(
            connection_pool_size=8,
            connect_timeout=5.0,
            read_timeout=read_timeout_s,
            write_timeout=5.0,
            pool_timeout=2.0,
            httpx_kwargs={"verify": _trusted()},
        )
        self._bot = Bot(
            settings.token,
            base_url=settings.base_url.rstrip("/") + "/bot",
            request=self._request,
            get_updates_request=self._request,
        )

    async def send(self, message: Message) -> Outcome:
        """Try once; see :class:`outrider_alerting.channels.channel.Channel`."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await self._send(message)
        except TimeoutError:
            return Unknown(f"no answer within {SEND_TIMEOUT_S:g} s")

    async def close(self) -> None:
        """Close the connections to the Bot API."""
        await self._request.shutdown()

    async def _send(self, message: Message) -> Outcome:
        """Send, at most once more to the chat's new address and once more without markup."""
        remarks: list[str] = []
        html = True
        for _ in range(3):
            try:
                number = await self._post(message, html=html)
            except ChatMigrated as error:
                self._chat_id = error.new_chat_id
                remarks.append(f"the chat is now {error.new_chat_id}: set chat_id to it")
            except BadRequest as error:
                if not (html and "can't parse" in error.message.lower()):
                    return self._refused(error)
                html = False
                remarks.append("Telegram refused the formatting; sent as plain text")
            except TelegramError as error:
                return self._failed(error)
            else:
                return Sent(str(number), remark="; ".join(remarks))
        return Failed("the chat moves from address to address", channel_broken=True)

    async def _post(self, message: Message, *, html: bool) -> int:
        reply = None
        if message.firing_provider_id is not None and message.firing_provider_id.isdecimal():
            # Deleted by somebody, or left behind by a migration: the resolve is still owed.
            reply = ReplyParameters(
                int(message.firing_provider_id), allow_sending_without_reply=True
            )
        sent = await self._bot.send_message(
            self._chat_id,
            render_html(message) if html else render_plain(message),
            parse_mode="HTML" if html else None,
            reply_parameters=reply,
            link_preview_options=LinkPreviewOptions(is_disabled=True),
            message_thread_id=self._settings.thread_id,
        )
        return sent.message_id

    def _refused(self, error: BadRequest) -> Outcome:
        text = self._scrubbed(error)
        broken = any(words in text.lower() for words in _BROKEN)
        if "chat not found" in text.lower():
            text += ": correct `chat_id` (a group's is negative), and add the bot to the chat"
        return Failed(text, channel_broken=broken)

    def _failed(self, error: TelegramError) -> Outcome:
        text = self._scrubbed(error)
        match error:
            case RetryAfter():
                return Retry(text, after_s=_seconds(error.retry_after), hold=Hold.CONVERSATION)
            case Forbidden():
                return Failed(
                    f"{text}: the bot must be in the chat: start it there, or add it to the group",
                    channel_broken=True,
                )
            case InvalidToken():
                return Failed(
                    f"{text}: the token in `bot_token_file` is wrong or revoked, or `base_url` is "
                    "wrong: @BotFather shows the token",
                    channel_broken=True,
                )
            case NetworkError() if isinstance(error.__cause__, _NOT_SENT):
                place = self._settings.base_url
                return Retry(f"{text}: check that this host reaches {place}")
            case _:
                return Unknown(text)

    def _scrubbed(self, error: TelegramError) -> str:
        text = f"{type(error).__name__}: {error.message}"
        return text.replace(self._settings.token, "<token>")[:500]


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    # Reading the certificates takes some 30 ms: once for all channels, not before a first message.
    return httpx.create_ssl_context()


def _seconds(delay: int | timedelta) -> float:
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
