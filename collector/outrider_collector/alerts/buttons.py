"""Buttons under Telegram messages: who pressed what, whether they may, and what comes of it.

One collector listens to a bot, by lease. What a press asks for is committed before the next poll
confirms it to Telegram, and each act is told apart by the press's own number, so that a crash in
between repeats nothing. Buttons are under new messages only while somebody listens: not where a
webhook or another program gets the bot's updates.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from outrider.errors import Fault
from outrider.retry import Backoff
from outrider_alerting import rules as rule_sets
from outrider_alerting.channels.build import telegram_settings
from outrider_alerting.channels.channel import ChannelError
from outrider_alerting.channels.telegram_buttons import Listener, Press, Taken, Unreachable
from outrider_collector.alerts.presses import react
from outrider_collector.store import leases, pressed, rules
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import AsyncConnection

    from outrider_alerting.channels.telegram import TelegramSettings
    from outrider_alerting.rules import RuleSet

_log = logging.getLogger(__name__)

LEASE_S: Final = 45.0
_RULES_EVERY_S = 2.0
_TAKEN_WAIT_S = 60.0
_IDLE_WAIT_S = 3.0


class Buttons:
    """Listens to every bot of the active rule set that has linked users."""

    def __init__(
        self, database_url: str, holder: str, secrets_dir: Path, *, wait_s: int = 20
    ) -> None:
        self._url = database_url
        self._holder = holder
        self._secrets_dir = secrets_dir
        self._wait_s = wait_s
        self._states: dict[str, str] = {}

    def health(self) -> dict[str, str]:
        """Return how it is with each bot: listening, waiting, taken or why not."""
        return dict(self._states)

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``; the database and Telegram may come and go meanwhile."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            try:
                await self._follow(stop, backoff)
            except Fault as fault:
                wait_s = backoff.next()
                _log.warning("buttons wait %.1f s: %s", wait_s, fault)
                await first_of(wait_s, stop)

    async def _follow(self, stop: asyncio.Event, backoff: Backoff) -> None:
        """Have a listener for each bot of the active set, as long as it is the active one."""
        async with await connect(self._url, application_name="outrider buttons") as connection:
            with driver_errors(self._url):
                while not stop.is_set():
                    active = await rules.active(connection)
                    bots = self._bots(active.rule_set) if active else {}
                    version = active.version if active else None
                    changed = asyncio.Event()
                    tasks = [
                        asyncio.create_task(self._listen(account, channels, changed, stop))
                        for account, channels in bots.items()
                    ]
                    try:
                        while not stop.is_set():
                            await first_of(_RULES_EVERY_S, stop)
                            if await rules.active_version(connection) != version:
                                break
                            backoff.reset()
                    finally:
                        changed.set()
                        for task in tasks:
                            task.cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)

    def _bots(self, rule_set: RuleSet) -> dict[str, list[TelegramSettings]]:
        """Return the channels with linked users, by bot; one without its secret is left out."""
        found: dict[str, list[TelegramSettings]] = {}
        self._states = {}
        for channel in rule_set.channels:
            if isinstance(channel, rule_sets.TelegramChannel) and channel.users:
                try:
                    settings = telegram_settings(channel, self._secrets_dir)
                except ChannelError as error:
                    self._states[channel.name] = str(error)
                else:
                    found.setdefault(settings.account, []).append(settings)
        return found

    async def _listen(
        self,
        account: str,
        channels: list[TelegramSettings],
        changed: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        """Listen to one bot whenever this process has its lease."""
        backoff = Backoff(1.0, 30.0)
        while not (stop.is_set() or changed.is_set()):
            wait_s = _IDLE_WAIT_S
            try:
                async with await connect(
                    self._url, application_name="outrider buttons"
                ) as connection:
                    with driver_errors(self._url):
                        await self._hold(connection, account, channels)
            except Taken as taken:
                self._states[account] = f"taken: {taken}"
                wait_s = _TAKEN_WAIT_S
            except (Fault, Unreachable) as error:
                self._states[account] = str(error)
                wait_s = backoff.next()
            await first_of(wait_s, changed, stop)

    async def _hold(
        self, connection: AsyncConnection, account: str, channels: list[TelegramSettings]
    ) -> None:
        """Take the lease, if it is free, and listen until it is lost."""
        name = pressed.LEASE_PREFIX + account
        lease = await leases.take(connection, name, self._holder, LEASE_S)
        if lease is None:
            self._states[account] = "waiting"
            return
        first = channels[0]
        listener = Listener(first.token, first.base_url, wait_s=self._wait_s)
        try:
            offset = await pressed.offset(connection, account)
            presses, after = await listener.poll(offset, at_once=True)
            self._states[account] = "listening"
            while True:
                for press in presses:
                    await self._react(connection, listener, channels, press)
                if after != offset:
                    await pressed.store_offset(connection, account, after)
                    offset = after
                if not await leases.renew(connection, lease, LEASE_S):
                    return
                presses, after = await listener.poll(offset)
        finally:
            await listener.close()
            with contextlib.suppress(Fault), driver_errors():
                await leases.release(connection, lease)

    async def _react(
        self,
        connection: AsyncConnection,
        listener: Listener,
        channels: list[TelegramSettings],
        press: Press,
    ) -> None:
        answer = await react(connection, channels, press)
        await listener.answer(press, answer.text, window=answer.window)
