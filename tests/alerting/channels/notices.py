"""Messages for channel tests, and channels that speak to a Bot API on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_alerting.channels.channel import Message
from outrider_alerting.channels.telegram import TelegramChannel, TelegramSettings
from outrider_alerting.content import Content, EvidenceLine, Fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.bot_api import BotApi

HOSTILE = (
    "<b>&_*[]()~`>#+-=|{}.!</pre></code> \U0001f4a5\U0001f468\u200d\U0001f4bb \x00\x1b[31m "
    "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd \ud800 \r\nBcc: all@example.org"
    " &lt;i&gt; <a href='x'>"
)
NOW_US = 814_000_000_000_000


def line(message: str, number: int = 1) -> EvidenceLine:
    """Make a line of evidence."""
    return EvidenceLine(
        at_us=NOW_US + number,
        severity="ERROR",
        service="payments",
        worker="w1",
        message=message,
        stream=1,
        stream_offset=number,
    )


def content(evidence: Sequence[EvidenceLine] = (), **changes: Any) -> Content:
    """Make the content of a firing notice."""
    fields: dict[str, Any] = {
        "alert": "A-12",
        "status": "firing",
        "priority": "critical",
        "subject": "11 errors in 5m on w1 [A-12]",
        "title": "11 errors in 5m on w1",
        "sentence": "11 records match in 5m, above 10, since 14:03:22 UTC",
        "facts": (Fact(name="service", value="payments"), Fact(name="worker", value="w1")),
        "evidence": tuple(evidence),
        "runbook": "https://wiki.example/payments?a=1&b=2",
        "command": "outrider alerts ack 12",
        "rule": "payment-errors",
        "at_us": NOW_US,
    }
    return Content(**(fields | changes))


def message(notice: str = "fired", **changes: Any) -> Message:
    """Make the message of a notice; `content` is a field like the others."""
    fields: dict[str, Any] = {
        "notification": 1,
        "alert": 12,
        "episode": "12.814000000",
        "notice": notice,
        "content": content([line("charge failed: timed out")]),
        "created_us": NOW_US,
    }
    return Message(**(fields | changes))


def telegram(api: BotApi, **changes: object) -> TelegramChannel:
    """Make a channel with a short read time-out."""
    fields: dict[str, Any] = {
        "name": "ops",
        "token": api.token,
        "chat_id": 77,
        "base_url": api.url,
    }
    return TelegramChannel(TelegramSettings(**(fields | changes)), read_timeout_s=0.3)
