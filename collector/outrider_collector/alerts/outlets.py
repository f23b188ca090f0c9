"""The channels of the active rule set, built when first needed, and how each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outrider_alerting.channels.build import Outlet, build
from outrider_alerting.channels.channel import ChannelError
from outrider_alerting.channels.limiter import Limits
from outrider_alerting.channels.null import NullChannel
from outrider_alerting.channels.outcome import Failed, Outcome, Retry, Sent
from outrider_collector.store import canary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outrider_alerting.rules import Channel, RuleSet


BROKEN_KEPT: Final = 8
"""Outlets that broke and are not closed yet."""


class Outlets:
    """Outlets by channel name.

    ``make`` builds one from its configuration and the directory of secrets.
    """

    def __init__(self, secrets_dir: Path, make: Callable[[Channel, Path], Outlet] = build) -> None:
        self._secrets_dir = secrets_dir
        self._make = make
        self._configs: dict[str, Channel] = {}
        self._outlets: dict[str, Outlet] = {}
        self._broken: list[Outlet] = []
        self._health: dict[str, dict[str, Any]] = {}

    async def use(self, rule_set: RuleSet) -> None:
        """Take over a rule set; outlets whose channel changed, went or broke are closed."""
        await self._close_broken()
        configs = {channel.name: channel for channel in rule_set.channels}
        for name in list(self._outlets):
            if configs.get(name) != self._configs.get(name):
                await self._outlets.pop(name).channel.close()
        self._configs = configs
        self._health = {name: h for name, h in self._health.items() if name in configs}

    def get(self, name: str) -> Outlet | Outcome:
        """Return the outlet, or the outcome of an attempt to use it as things stand."""
        if (outlet := self._outlets.get(name)) is not None:
            return outlet
        if name == canary.CHANNEL:
            outlet = self._outlets[name] = Outlet(NullChannel(), name, Limits())
            return outlet
        config = self._configs.get(name)
        if config is None:
            return Failed(f"channel {name} is no longer in the rule set: apply rules that have it")
        try:
            outlet = self._outlets[name] = self._make(config, self._secrets_dir)
        except ChannelError as error:
            # A person can put it right: nothing was sent, and the next attempt looks again.
            return Retry(str(error))
        return outlet

    def limits(self, name: str) -> tuple[str, Limits]:
        """Return the account a channel sends under, and its limits."""
        outlet = self.get(name)
        if isinstance(outlet, Outlet):
            return outlet.sender, outlet.limits
        return f"channel:{name}", Limits()

    async def note(self, name: str, outcome: Outcome) -> None:
        """Remember how the channel did last."""
        if name not in self._configs:
            return
        if isinstance(outcome, Sent):
            self._health[name] = {"state": "ok", "error": outcome.remark or None}
            return
        broken = isinstance(outcome, Failed) and outcome.channel_broken
        if broken and name in self._outlets:
            # A wrong token or password is put right in its file: the next attempt reads it anew.
            self._broken.append(self._outlets.pop(name))
            # Not at once: other messages may still be on their way through it.
            if len(self._broken) > BROKEN_KEPT:
                await self._broken.pop(0).channel.close()
        self._health[name] = {
            "state": "broken" if broken else "failing",
            "error": outcome.reason,
        }

    def health(self) -> dict[str, dict[str, Any]]:
        """Return each channel's state: ok, failing, broken or unused; for the status row."""
        unused = {"state": "unused", "error": None}
        return {name: dict(self._health.get(name, unused)) for name in self._configs}

    async def close(self) -> None:
        """Close every outlet."""
        await self._close_broken()
        for name in list(self._outlets):
            await self._outlets.pop(name).channel.close()

    async def _close_broken(self) -> None:
        while self._broken:
            await self._broken.pop().channel.close()
