"""A strict Bot API on loopback: it refuses what Telegram refuses and remembers what arrived when.

In a test::

    async with BotApi() as telegram:
        ...  # the channel's base_url is telegram.url, its token telegram.token
        message = await telegram.wait_for(lambda m: "payments" in m.text)

As a program, for demonstrations and benchmarks, one JSON line a message::

    python -m tests.servers.bot_api --port 8081

Refused like there: a wrong token (401, malformed 404), text that is empty or over 4,096 UTF-16
units after parsing, HTML that is not balanced, callback data over 64 bytes, replies to messages
that do not exist, unknown chats when `chats` is given, and more than the rates (429 with
retry_after; an edit counts as a message). `faults` holds what goes wrong with the next messages,
`edit_faults` with the next edits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict, deque
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Self

from .bot_markup import ENTITIES_MAX, TEXT_LIMIT_UNITS, MarkupError, parse, units
from .bot_wire import Fault, Rate, Refused, Sent, answer, buttons, form, shown
from .http import HttpServer, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_CHARACTERS = 200
TOKEN = "42:loopback-token-of-the-test-bot"


class BotApi:
    """The server and everything it was told; see the module's page."""

    def __init__(
        self, *, token: str = TOKEN, rates: bool = True, chats: set[int] | None = None
    ) -> None:
        self.token = token
        self.messages: list[Sent] = []
        self.edits: list[Sent] = []
        # All that people could ever read: what was sent and what it was edited to, in order.
        self.versions: list[Sent] = []
        self.answers: list[dict[str, Any]] = []
        self.refused: list[tuple[int, str]] = []
        self.faults: deque[Fault] = deque()
        self.edit_faults: deque[Fault] = deque()
        self.retry_after_s = 1
        self.rates = rates
        self.chats = chats
        self.blocked: set[int] = set()
        self.migrated: dict[int, int] = {}
        self.updates: list[dict[str, Any]] = []
        # Topics that exist, where a group has some; None: any is good.
        self.topics: set[int] | None = None
        self.webhook = False
        self.polls = 0
        self.on_message: Callable[[Sent], None] | None = None
        self._ids = 0
        # Telegram lets short bursts into a private chat; a sender must not lean on it.
        self._chat_rates: dict[int, Rate] = defaultdict(lambda: Rate(2, 1.8))
        self._group_rates: dict[int, Rate] = defaultdict(lambda: Rate(20, 59.0))
        self._bot_rate = Rate(30, 0.95)
        self._news = asyncio.Event()
        self._server = HttpServer(self._handle)

    @property
    def url(self) -> str:
        """Root of the API, what a channel's `base_url` is."""
        return f"http://127.0.0.1:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; 0 takes a free port."""
        await self._server.start(port)

    async def stop(self) -> None:
        """End every connection."""
        await self._server.stop()

    async def wait_for(
        self,
        wanted: Callable[[Sent], bool] = lambda _: True,
        *,
        count: int = 1,
        within_s: float = 10,
    ) -> Sent:
        """Return the `count`-th message that is wanted; TimeoutError says what arrived instead."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = [message for message in self.messages if wanted(message)]
                    if len(found) >= count:
                        return found[count - 1]
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            seen = [message.text[:80] for message in self.messages]
            raise TimeoutError(f"not within {within_s} s; arrived: {seen}") from error

    def press(self, message: Sent, label: str, *, user_id: int = 7) -> None:
        """Press the button of that label: the next getUpdates tells of it."""
        self.send_press(message, dict(message.buttons)[label], user_id=user_id)

    def send_press(self, message: Sent, data: str, *, user_id: int = 7) -> None:
        """Tell of a press with any data, as a forger would."""
        self._ids += 1
        self.updates.append(
            {
                "update_id": self._ids,
                "callback_query": {
                    "id": str(self._ids),
                    "from": {"id": user_id, "is_bot": False, "first_name": "U"},
                    "chat_instance": "1",
                    "data": data,
                    "message": shown(message),
                },
            }
        )
        self._news.set()

    async def _handle(self, request: Request) -> Reply:
        try:
            return await self._answer(request)
        except Refused as refused:
            self.refused.append((refused.reply.status or 0, str(refused)))
            return refused.reply

    async def _answer(self, request: Request) -> Reply:
        prefix = f"/bot{self.token}/"
        if not request.path.startswith(prefix):
            if request.path.startswith("/bot") and ":" in request.path:
                raise Refused(401, "Unauthorized")
            raise Refused(404, "Not Found")
        fields = form(request)
        result: Any = True
        match request.path.removeprefix(prefix).lower():
            case "sendmessage":
                return await self._behave(self.faults, fields, self._send)
            case "getme":
                result = {"id": 42, "is_bot": True, "first_name": "O", "username": "o_bot"}
            case "editmessagetext":
                return await self._behave(self.edit_faults, fields, self._edit)
            case "answercallbackquery":
                result = self._answer_press(fields)
            case "getupdates":
                result = await self._poll(fields)
            case _:
                raise Refused(404, "Not Found")
        return answer(200, {"ok": True, "result": result})

    async def _behave(
        self,
        faults: deque[Fault],
        parameters: dict[str, Any],
        act: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> Reply:
        """Do it, unless the next fault is in the way."""
        fault = faults.popleft() if faults else None
        self._news.set()
        match fault:
            case Fault.SERVER_ERROR:
                raise Refused(502, "Bad Gateway")
            case Fault.DROP_BEFORE:
                return Reply(None)
            case Fault.HANG_BEFORE:
                await asyncio.Event().wait()
            case Fault.TOO_MANY:
                raise Refused(
                    429,
                    f"Too Many Requests: retry after {self.retry_after_s}",
                    retry_after=self.retry_after_s,
                )
            case Fault.CANNOT_PARSE if not parameters.get("parse_mode"):
                pass
            case Fault.CANNOT_PARSE | Fault.CANNOT_PARSE_AT_ALL:
                raise Refused(400, "Bad Request: can't parse entities: Unsupported start tag")
        result = act(parameters)
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.DROP_AFTER:
            return Reply(None)
        return answer(200, {"ok": True, "result": result})

    def _send(self, parameters: dict[str, Any]) -> dict[str, Any]:
        message = self._read(parameters, self._next_id())
        self._hold_to_rates(message.chat_id)
        self.messages.append(message)
        self.versions.append(message)
        self._news.set()
        if self.on_message is not None:
            self.on_message(message)
        return shown(message)

    def _edit(self, parameters: dict[str, Any]) -> dict[str, Any]:
        number = int(parameters.get("message_id", 0))
        edited = self._read(parameters, number)
        self._hold_to_rates(edited.chat_id)
        for place, message in enumerate(self.messages):
            if (message.message_id, message.chat_id) == (number, edited.chat_id):
                # An edit changes text and buttons; where a message is stays.
                edited = replace(
                    edited, reply_to=message.reply_to, thread_id=message.thread_id,
                    arrived_at=message.arrived_at,
                )  # fmt: skip
                if message.text == edited.text and message.buttons == edited.buttons:
                    raise Refused(
                        400,
                        "Bad Request: message is not modified: specified new message content and "
                        "reply markup are exactly the same",
                    )
                self.messages[place] = edited
                self.edits.append(edited)
                self.versions.append(edited)
                self._news.set()
                return shown(edited)
        raise Refused(400, "Bad Request: message to edit not found")

    def _read(self, parameters: dict[str, Any], number: int) -> Sent:
        chat = self._chat(parameters)
        text, mode = str(parameters.get("text", "")), parameters.get("parse_mode")
        if mode not in (None, "HTML"):
            raise Refused(400, "Bad Request: unsupported parse_mode")
        try:
            plain, entities = parse(text) if mode else (text.strip(), 0)
        except MarkupError as error:
            raise Refused(400, f"Bad Request: {error}") from error
        if not plain:
            raise Refused(400, "Bad Request: message text is empty")
        if units(plain) > TEXT_LIMIT_UNITS or entities > ENTITIES_MAX:
            raise Refused(400, "Bad Request: message is too long")
        thread = parameters.get("message_thread_id")
        if thread and self.topics is not None and int(thread) not in self.topics:
            raise Refused(400, "Bad Request: message thread not found")
        return Sent(
            message_id=number,
            chat_id=chat,
            text=plain,
            arrived_at=time.time(),
            reply_to=self._reply_to(parameters, chat),
            markup=text if mode else None,
            buttons=buttons(parameters.get("reply_markup")),
            link_preview=not (parameters.get("link_preview_options") or {}).get("is_disabled"),
            thread_id=int(thread) if thread else None,
            silent=bool(parameters.get("disable_notification")),
        )

    def _chat(self, parameters: dict[str, Any]) -> int:
        try:
            chat = int(parameters["chat_id"])
        except (KeyError, ValueError) as error:
            raise Refused(400, "Bad Request: chat_id is empty") from error
        if chat in self.blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if chat in self.migrated:
            raise Refused(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=self.migrated[chat],
            )
        if self.chats is not None and chat not in self.chats:
            raise Refused(400, "Bad Request: chat not found")
        return chat

    def _reply_to(self, parameters: dict[str, Any], chat: int) -> int | None:
        reply = parameters.get("reply_parameters")
        if not reply:
            return None
        number = int(reply["message_id"])
        if any((m.message_id, m.chat_id) == (number, chat) for m in self.messages):
            return number
        if reply.get("allow_sending_without_reply"):
            return None
        raise Refused(400, "Bad Request: message to be replied not found")

    def _hold_to_rates(self, chat: int) -> None:
        if not self.rates:
            return
        now = time.monotonic()
        rates = [self._bot_rate, self._chat_rates[chat]]
        if chat < 0:
            rates.append(self._group_rates[chat])
        wait_s = max(rate.wait_s(now) for rate in rates)
        if wait_s > 0:
            seconds = int(wait_s) + 1
            raise Refused(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        for rate in rates:
            rate.times.append(now)

    def _answer_press(self, parameters: dict[str, Any]) -> bool:
        if len(str(parameters.get("text", ""))) > ANSWER_CHARACTERS:
            raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        self.answers.append(parameters)
        self._news.set()
        return True

    async def _poll(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        if self.webhook:
            raise Refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook"
                " to delete the webhook first",
            )
        # The newest poll is served, the one before it is told to go.
        self.polls += 1
        self._news.set()
        return await self._get_updates(parameters, self.polls)

    async def wait_until(self, wanted: Callable[[], bool], *, within_s: float = 10) -> None:
        """Wait until something that was told makes it so: an edit, an answer to a press."""
        async with asyncio.timeout(within_s):
            while not wanted():
                self._news.clear()
                await self._news.wait()

    async def _get_updates(self, parameters: dict[str, Any], number: int) -> list[dict[str, Any]]:
        offset = int(parameters.get("offset", 0))
        deadline = time.monotonic() + min(int(parameters.get("timeout", 0)), 50)
        while True:
            if number != self.polls:
                raise Refused(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one "
                    "bot instance is running",
                )
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
            left_s = deadline - time.monotonic()
            if self.updates or left_s <= 0:
                return self.updates[:100]
            self._news.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            except TimeoutError:
                return []

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


async def _main(port: int, *, rates: bool) -> None:
    server = BotApi(rates=rates)
    server.on_message = lambda sent: print(json.dumps(asdict(sent)), flush=True)
    await server.start(port)
    print(json.dumps({"url": server.url, "token": server.token}), file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a strict Bot API on loopback")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--no-rates", action="store_true", help="never answer 429")
    options = parser.parse_args()
    try:
        asyncio.run(_main(options.port, rates=not options.no_rates))
    except KeyboardInterrupt:
        sys.exit(130)
