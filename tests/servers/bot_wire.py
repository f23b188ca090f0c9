"""What goes over the wire between a bot and :class:`tests.servers.bot_api.BotApi`.

Requests are forms with JSON inside some fields, answers are JSON documents, a refusal is an answer
with the code and the words of Telegram's own.
"""

from __future__ import annotations

import enum
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from .http import Reply

if TYPE_CHECKING:
    from .http import Request


class Fault(enum.Enum):
    """What goes wrong with one sendMessage, or one editMessageText."""

    SERVER_ERROR = "server error"
    HANG = "hang"  # accepted, never answered
    HANG_BEFORE = "hang before"  # neither accepted nor answered
    DROP_AFTER = "drop after"  # accepted, connection closed without an answer
    DROP_BEFORE = "drop before"  # not accepted, connection closed without an answer
    CANNOT_PARSE = "cannot parse"  # refuses HTML as if it could not read it
    CANNOT_PARSE_AT_ALL = "cannot parse at all"  # plain text too
    TOO_MANY = "too many"  # 429 whatever the rate


@dataclass(frozen=True, slots=True)
class Sent:
    """One message as a reader of the chat sees it. `arrived_at` is Unix time in seconds."""

    message_id: int
    chat_id: int
    text: str
    arrived_at: float
    reply_to: int | None
    markup: str | None
    buttons: tuple[tuple[str, str], ...] = ()
    link_preview: bool = True
    thread_id: int | None = None
    silent: bool = False


class Refused(Exception):  # noqa: N818  Telegram's answer, not an error of this server
    """An answer that is not 200, as the Bot API words it."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.reply = answer(
            code,
            {
                "ok": False,
                "error_code": code,
                "description": description,
                **({"parameters": parameters} if parameters else {}),
            },
        )


@dataclass(slots=True)
class Rate:
    """At most `limit` messages in any `period_s`, with a tolerance for jitter on the way."""

    limit: int
    period_s: float
    times: deque[float] = field(default_factory=deque)

    def wait_s(self, now: float) -> float:
        """Seconds until one more is allowed, 0 when it is now."""
        while self.times and self.times[0] <= now - self.period_s:
            self.times.popleft()
        if len(self.times) < self.limit:
            return 0.0
        return self.times[-self.limit] + self.period_s - now


def answer(code: int, document: dict[str, Any]) -> Reply:
    """Make an answer of a JSON document."""
    return Reply(code, json.dumps(document).encode())


def form(request: Request) -> dict[str, Any]:
    """Form fields, or JSON; nested objects come as JSON inside a field."""
    if request.content_type.startswith("application/json"):
        return dict(json.loads(request.body or b"{}"))
    try:
        text = request.body.decode("utf-8", "strict")
        fields: dict[str, Any] = dict(
            parse_qsl(text, keep_blank_values=True, errors="strict", strict_parsing=bool(text))
        )
    except ValueError as error:
        raise Refused(400, "Bad Request: strings must be encoded in UTF-8") from error
    for name in ("reply_parameters", "reply_markup", "link_preview_options"):
        if name in fields:
            fields[name] = json.loads(fields[name])
    return fields


def buttons(markup: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Read an inline keyboard as pairs of text and callback data or address.

    Refuses what is too long, and addresses that only this host or network could reach.
    """
    keys = [key for row in (markup or {}).get("inline_keyboard", []) for key in row]
    if len(keys) > 100 or any(len(key.get("callback_data", "").encode()) > 64 for key in keys):
        raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
    for key in keys:
        if "url" in key and "." not in (urlsplit(key["url"]).hostname or ""):
            words = f"inline keyboard button URL '{key['url']}' is invalid: Wrong HTTP URL"
            raise Refused(400, f"Bad Request: {words}")
    return tuple((key["text"], key.get("url") or key.get("callback_data", "")) for key in keys)


def shown(sent: Sent) -> dict[str, Any]:
    """Put a message as the Bot API shows it."""
    kind = "supergroup" if sent.chat_id < 0 else "private"
    return {
        "message_id": sent.message_id,
        "date": int(sent.arrived_at),
        "chat": {"id": sent.chat_id, "type": kind},
        "text": sent.text,
    }
