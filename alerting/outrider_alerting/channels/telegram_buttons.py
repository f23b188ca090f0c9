"""The buttons pressed under a bot's messages, as Telegram tells of them.

One bot has one listener: Telegram refuses a second one, and any while a webhook is set
(:class:`Taken`). An update is told again until a poll names a greater offset, so whoever acts upon
one first and polls on then loses none.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from telegram.error import Conflict, InvalidToken, TelegramError

from outrider_alerting.channels.telegram import bot, request

if TYPE_CHECKING:
    from telegram import Update

ANSWER_CHARACTERS: Final = 200
"""What Telegram shows of an answer."""
_ANSWER_MARGIN_S = 10.0


class Taken(Exception):  # noqa: N818  a state of the bot, not a mistake of ours
    """Another program, or a webhook, gets this bot's updates."""


class Unreachable(Exception):  # noqa: N818  it passes, or a person corrects the token
    """The Bot API does not answer, or not to this token; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Press:
    """One press of a button; ``data`` is as it came and proves nothing yet."""

    id: str
    user: int
    chat: int
    message: str
    data: str


class Listener:
    """Polls for the presses of one bot."""

    def __init__(self, token: str, base_url: str, *, wait_s: int = 20) -> None:
        self._token = token
        self._wait_s = wait_s
        self._request = request(wait_s + _ANSWER_MARGIN_S)
        self._bot = bot(token, base_url, self._request)

    async def poll(self, offset: int, *, at_once: bool = False) -> tuple[list[Press], int]:
        """Return the presses from an update's number on, and the number to ask for next.

        Raises Taken or Unreachable.
        """
        try:
            updates = await self._bot.get_updates(
                offset=offset,
                timeout=0 if at_once else self._wait_s,
                read_timeout=self._wait_s + _ANSWER_MARGIN_S,
                allowed_updates=["callback_query"],
            )
        except Conflict as error:
            raise Taken(error.message) from error
        except InvalidToken as error:
            raise Unreachable("the token is wrong or revoked") from error
        except TelegramError as error:
            said = f"{type(error).__name__}: {error.message}".replace(self._token, "<token>")
            raise Unreachable(said[:300]) from error
        after = max((update.update_id + 1 for update in updates), default=offset)
        return [press for update in updates if (press := _press(update))], after

    async def answer(self, press: Press, text: str, *, window: bool) -> None:
        """Tell who pressed what came of it; Telegram forgets presses that are minutes old."""
        with contextlib.suppress(TelegramError):
            await self._bot.answer_callback_query(
                press.id, text[:ANSWER_CHARACTERS], show_alert=window
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._request.shutdown()


def _press(update: Update) -> Press | None:
    query = update.callback_query
    if query is None or query.message is None or query.data is None:
        return None
    return Press(
        id=query.id,
        user=query.from_user.id,
        chat=query.message.chat.id,
        message=str(query.message.message_id),
        data=query.data,
    )
