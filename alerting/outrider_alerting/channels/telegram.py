"""Telegram: one bot, one chat, one message a notice.

A resolve answers its firing, whose message is edited afterwards: what is over must not look as if
it were not. A notice that joins another edits that one's message, which makes no sound. What each
failure means was measured against python-telegram-bot 22:

=====================================  =============================  ==========================
server                                 exception (cause)              outcome
=====================================  =============================  ==========================
429                                    RetryAfter                     not sent, hold
400 with migrate_to_chat_id            ChatMigrated                   not sent, once more there
403                                    Forbidden                      failed, channel broken
401, 404                               InvalidToken                   failed, channel broken
400 can't parse                        BadRequest                     once more as plain text
400 thread not found                   BadRequest                     once more without its topic
400 address of a button refused         BadRequest                     once more without that button
400 message to edit not found          BadRequest                     a message of its own instead
400 message is not modified            BadRequest                     sent: it reads as it should
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
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    ReplyParameters,
)
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

from outrider_alerting.channels.buttons import LABELS, button
from outrider_alerting.channels.channel import SEND_TIMEOUT_S
from outrider_alerting.channels.leaving import StaysError, at_once, before_first_byte
from outrider_alerting.channels.outcome import Failed, Hold, Outcome, Retry, Sent, Unknown
from outrider_alerting.channels.telegram_text import render_html, render_plain
from outrider_alerting.content import OPEN, page

if TYPE_CHECKING:
    import ssl

    from outrider_alerting.channels.buttons import Action
    from outrider_alerting.channels.channel import Message
    from outrider_alerting.channels.leaving import Leave

# Asks for times as timedelta; without it the library warns of its own default at every 429.
os.environ.setdefault("PTB_TIMEDELTA", "1")
# They log request addresses, and a bot's address holds its token.
for _name in ("httpx", "httpcore", "telegram"):
    logging.getLogger(_name).setLevel(logging.WARNING)

DEFAULT_BASE_URL = "https://api.telegram.org"
CONNECTIONS = 8
"""Messages of a channel that can be on their way at a time."""
CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 2.0
# The connection was never made, or none was free: not a byte has left.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
# Of the message that this task sends: the library passes nothing on to its requests.
_leave: ContextVar[Leave] = ContextVar("leave", default=at_once)
# Markup, link, topic, edited message and an address each: then the message as such is refused.
_DETOURS_MAX = 6
_NOT_MODIFIED = "message is not modified"
_NOT_EDITABLE = ("message to edit not found", "message can't be edited")
# It wants addresses that anybody could reach.
_BAD_LINK = ("button_url_invalid", "button url")
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
    # Telegram's user id to the name under which that person acts; nobody: no buttons.
    users: dict[int, str] = field(default_factory=dict)
    # Where its readers find the dashboard.
    dashboard_url: str | None = None

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
        self._request = request(read_timeout_s)
        self._bot = bot(settings.token, settings.base_url, self._request)

    async def send(self, message: Message, leave: Leave = at_once) -> Outcome:
        """Try once; see :class:`outrider_alerting.channels.channel.Channel`."""
        before = _leave.set(leave)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await self._send(message, only_edits=False)
        except TimeoutError:
            return Unknown(f"no answer within {SEND_TIMEOUT_S:g} s")
        finally:
            _leave.reset(before)

    async def refresh(self, message: Message) -> Outcome:
        """Edit, and send nothing; see :class:`outrider_alerting.channels.channel.Editable`."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await self._send(message, only_edits=True)
        except TimeoutError:
            return Unknown(f"no answer within {SEND_TIMEOUT_S:g} s")

    async def close(self) -> None:
        """Close the connections to the Bot API."""
        await self._request.shutdown()

    async def _send(self, message: Message, *, only_edits: bool) -> Outcome:
        """Send, with whatever in the way can be done without: see the module's page."""
        if message.address is not None:
            self._chat_id = int(message.address)
        attempt = _Attempt(self._chat_id, message, self._settings.thread_id, only_edits=only_edits)
        for _ in range(_DETOURS_MAX):
            try:
                number = await self._post(attempt)
            except ChatMigrated as error:
                self._chat_id = error.new_chat_id
                attempt.moved(error.new_chat_id)
                if only_edits:
                    return Failed(f"the chat moved to {error.new_chat_id} without its messages")
            except BadRequest as error:
                if _NOT_MODIFIED in error.message.lower():
                    number = attempt.joins or 0
                elif attempt.can_do_without(error.message.lower()):
                    continue
                else:
                    return self._refused(error)
                return Sent(str(number))
            except TelegramError as error:
                return self._failed(error)
            else:
                moved_to = str(attempt.chat) if attempt.chat != self._settings.chat_id else ""
                return Sent(str(number), remark="; ".join(attempt.remarks), moved_to=moved_to)
        return Failed("the chat moves from address to address", channel_broken=True)

    async def _post(self, attempt: _Attempt) -> int:
        message = attempt.message
        if attempt.joins is not None:
            # An edit that came twice reads as if it had come once.
            message = replace(message, may_repeat=False)
        address = page(message.content, self._settings.dashboard_url)
        text = render_html(message, page=address) if attempt.html else render_plain(message)
        mode = "HTML" if attempt.html else None
        keyboard = self._keyboard(attempt.chat, message, address if attempt.link else None)
        if attempt.joins is not None:
            await self._bot.edit_message_text(
                text,
                attempt.chat,
                attempt.joins,
                parse_mode=mode,
                reply_markup=keyboard,
                link_preview_options=_NO_PREVIEW,
            )
            return attempt.joins
        reply = None
        if attempt.firing is not None:
            # Deleted by somebody, or left behind by a migration: the resolve is still owed.
            reply = ReplyParameters(attempt.firing, allow_sending_without_reply=True)
        sent = await self._bot.send_message(
            attempt.chat,
            text,
            parse_mode=mode,
            reply_parameters=reply,
            reply_markup=keyboard,
            link_preview_options=_NO_PREVIEW,
            message_thread_id=attempt.thread,
        )
        return sent.message_id

    def _keyboard(
        self, chat: int, message: Message, address: str | None
    ) -> InlineKeyboardMarkup | None:
        """Make the buttons of what still holds; those that somebody has to read where one does."""
        content = message.content
        if content.status not in OPEN:
            return None
        token = self._settings.token
        actions: list[Action] = []
        if message.buttons and self._settings.users:
            actions = ["silence"] if content.acknowledged else ["acknowledge", "silence"]
            if address is None:
                actions.append("details")
        keys = [
            InlineKeyboardButton(
                LABELS[action], callback_data=button(token, chat, action, message.episode)
            )
            for action in actions
        ]
        if address is not None:
            keys.append(InlineKeyboardButton(LABELS["details"], url=address))
        return InlineKeyboardMarkup.from_row(keys) if keys else None

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
            case NetworkError() if isinstance(error.__cause__, StaysError):
                return Retry(str(error.__cause__))
            case NetworkError() if isinstance(error.__cause__, _NOT_SENT):
                place = self._settings.base_url
                return Retry(f"{text}: check that this host reaches {place}")
            case _:
                return Unknown(text)

    def _scrubbed(self, error: TelegramError) -> str:
        kind = type(error).__name__
        text = error.message if error.message.startswith(kind) else f"{kind}: {error.message}"
        return text.replace(self._settings.token, "<token>")[:500]


@dataclass(slots=True)
class _Attempt:
    """One message on its way, and what it has learned to do without."""

    chat: int
    message: Message
    thread: int | None
    # Nothing is sent where the message to be edited is gone.
    only_edits: bool = False
    html: bool = True
    # A button leads to the alert's page.
    link: bool = True
    remarks: list[str] = field(default_factory=list)
    # The firing's message, and the one to be edited instead of a message of its own.
    firing: int | None = field(init=False)
    joins: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.firing = _number(self.message.firing_provider_id)
        self.joins = _number(self.message.joins)

    @property
    def _may_become_a_message(self) -> bool:
        return self.joins is not None and not self.only_edits

    def moved(self, chat: int) -> None:
        # Numbers of messages do not move with the chat.
        self.chat, self.joins = chat, None
        self.remarks.append(f"the chat is now {chat}: set `chat_id` to it")

    def can_do_without(self, refusal: str) -> bool:
        """Leave out what was refused; False when nothing is left to leave out."""
        if self.html and "can't parse" in refusal:
            self.html = False
            self.remarks.append("Telegram refused the formatting; sent as plain text")
        elif self.link and any(words in refusal for words in _BAD_LINK):
            self.link = False
            self.remarks.append("Telegram takes no button to `dashboard_url`: sent without it")
        elif self.thread is not None and "thread not found" in refusal:
            self.remarks.append(f"topic {self.thread} is gone: sent without it, correct `topic`")
            self.thread = None
        elif self._may_become_a_message and any(words in refusal for words in _NOT_EDITABLE):
            self.joins = None
        else:
            return False
        return True


async def _ask_before_first_byte(request: httpx.Request) -> None:
    request.extensions["trace"] = before_first_byte(_leave.get())


def request(read_timeout_s: float) -> HTTPXRequest:
    """Make connections to a Bot API."""
    return HTTPXRequest(
        connection_pool_size=CONNECTIONS,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        write_timeout=5.0,
        pool_timeout=POOL_TIMEOUT_S,
        httpx_kwargs={"verify": _trusted(), "event_hooks": {"request": [_ask_before_first_byte]}},
    )


def bot(token: str, base_url: str, over: HTTPXRequest) -> Bot:
    """Make a bot over these connections."""
    return Bot(
        token, base_url=base_url.rstrip("/") + "/bot", request=over, get_updates_request=over
    )


def _number(provider_id: str | None) -> int | None:
    return int(provider_id) if provider_id is not None and provider_id.isdecimal() else None


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    # Reading the certificates takes some 30 ms: once for all channels, not before a first message.
    return httpx.create_ssl_context()


def _seconds(delay: int | timedelta) -> float:
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
