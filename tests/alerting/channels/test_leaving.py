"""Every channel asks before the first byte that tells somebody, and not before it is connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from outrider_alerting.channels.email import EmailChannel, EmailSettings
from outrider_alerting.channels.leaving import StaysError
from outrider_alerting.channels.null import NullChannel
from outrider_alerting.channels.outcome import Retry, Sent
from outrider_alerting.channels.telegram import TelegramChannel, TelegramSettings
from outrider_alerting.channels.webhook import WebhookChannel, WebhookSettings
from tests.alerting.channels.notices import message
from tests.servers.bot_api import TOKEN, BotApi
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.smtp import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from outrider_alerting.channels.channel import Channel


@dataclass(slots=True)
class Line:
    """A channel, and how much the other side of it was told."""

    channel: Channel
    told: Callable[[], int]


def _telegram(base_url: str) -> TelegramChannel:
    return TelegramChannel(TelegramSettings("ops", TOKEN, 77, base_url))


def _email(port: int) -> EmailChannel:
    return EmailChannel(
        EmailSettings("mail", "127.0.0.1", port, "o@example.org", ("a@example.org",), "none")
    )


def _webhook(port: int) -> WebhookChannel:
    return WebhookChannel(WebhookSettings("hook", f"http://127.0.0.1:{port}/"))


@pytest_asyncio.fixture(params=["telegram", "email", "webhook", "null"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    """Run the other side, and make the channel."""
    requests: list[Request] = []

    async def take(posted: Request) -> Reply:
        requests.append(posted)
        return Reply(204)

    async with BotApi(rates=False) as api, SmtpServer() as mail:
        server = HttpServer(take)
        await server.start()
        lines = {
            "telegram": lambda: Line(_telegram(api.url), lambda: len(api.messages)),
            "email": lambda: Line(_email(mail.port), lambda: len(mail.letters)),
            "webhook": lambda: Line(_webhook(server.port), lambda: len(requests)),
            "null": lambda: Line(NullChannel(), lambda: 0),
        }
        made = lines[request.param]()
        yield made
        await made.channel.close()
        await server.stop()


async def test_a_channel_asks_before_anything_leaves(line: Line) -> None:
    """When it asks nobody was told; what it sends afterwards arrives, over an open line as well."""
    told_when_asked: list[int] = []

    async def leave() -> None:
        told_when_asked.append(line.told())

    outcomes = [await line.channel.send(message(), leave) for _ in range(2)]

    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert told_when_asked in ([0, 1], [0, 0])
    assert line.told() == sum(told_when_asked) * 2


async def test_what_must_not_leave_stays(line: Line) -> None:
    """Refused, it is surely not sent, the reason is kept, and the channel goes on."""

    async def leave() -> None:
        raise StaysError("its claim was taken back")

    outcome = await line.channel.send(message(), leave)

    assert outcome == Retry("its claim was taken back")
    assert line.told() == 0
    assert isinstance(await line.channel.send(message()), Sent)


@pytest.mark.parametrize("kind", ["telegram", "email", "webhook"])
async def test_nobody_asks_without_a_connection(kind: str, unused_tcp_port: int) -> None:
    """Nothing listens there: the question whether it may leave does not come up."""
    asked: list[str] = []

    async def leave() -> None:
        asked.append(kind)

    makers: dict[str, Callable[[], Channel]] = {
        "telegram": lambda: _telegram(f"http://127.0.0.1:{unused_tcp_port}"),
        "email": lambda: _email(unused_tcp_port),
        "webhook": lambda: _webhook(unused_tcp_port),
    }
    channel = makers[kind]()
    outcome = await channel.send(message(), leave)
    await channel.close()

    assert isinstance(outcome, Retry)
    assert not asked
