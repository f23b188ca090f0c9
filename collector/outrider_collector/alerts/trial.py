"""``outrider notify test``: one real message through a channel, outside the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outrider.command import DONE, FAILED
from outrider.configuration import ConfigError, suggest
from outrider.errors import Fault, Reason
from outrider_alerting.channels.build import build
from outrider_alerting.channels.channel import ChannelError, Message
from outrider_alerting.channels.outcome import Failed, Outcome, Retry, Sent
from outrider_alerting.content import Content, Fact
from outrider_collector.alerts.times import to_us
from outrider_collector.store import rules
from outrider_collector.store.reading import health

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_alerting.rules import Channel
    from outrider_collector.config import Configuration


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the message."""

    channel: str
    outcome: Outcome
    took_ms: int

    @property
    def exit_code(self) -> int:
        """0 when it was sent."""
        return DONE if isinstance(self.outcome, Sent) else FAILED

    @property
    def text(self) -> str:
        """Say it to a person."""
        outcome = self.outcome
        if isinstance(outcome, Sent):
            remark = f" ({outcome.remark})" if outcome.remark else ""
            number = f", it calls it {outcome.provider_id}" if outcome.provider_id else ""
            return f"{self.channel}: sent in {self.took_ms} ms{number}{remark}"
        words = {Retry: "not sent, trying again can help", Failed: "refused"}
        said = words.get(type(outcome), "nobody can tell whether it arrived")
        return f"{self.channel}: {said}: {outcome.reason}"

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        outcome = self.outcome
        sent = isinstance(outcome, Sent)
        return {
            "channel": self.channel,
            "outcome": type(outcome).__name__.lower(),
            "provider_id": outcome.provider_id if isinstance(outcome, Sent) else None,
            "reason": outcome.remark if isinstance(outcome, Sent) else outcome.reason,
            "took_ms": self.took_ms if sent else None,
        }


async def trial(connection: AsyncConnection, config: Configuration, name: str, actor: str) -> Trial:
    """Send a test message through a channel of the active set. Raises NOT_FOUND, ConfigError."""
    channel = await _channel(connection, name)
    try:
        outlet = build(channel, config.data_dir / "collector")
    except ChannelError as error:
        raise ConfigError(str(error)) from error
    now_us = to_us(await health.now(connection))
    began = time.monotonic()
    try:
        outcome = await outlet.channel.send(_message(name, actor, config.collector_name, now_us))
    finally:
        await outlet.channel.close()
    return Trial(name, outcome, round((time.monotonic() - began) * 1000))


async def _channel(connection: AsyncConnection, name: str) -> Channel:
    active = await rules.active(connection)
    known = [channel.name for channel in active.rule_set.channels] if active else []
    channel = active.rule_set.channel(name) if active else None
    if channel is None:
        near = suggest(name, known)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(known) or 'none'}"
        raise Fault(
            Reason.NOT_FOUND, detail=f"the active rule set has no channel '{name[:50]}': {hint}"
        )
    return channel


def _message(channel: str, actor: str, collector: str, now_us: int) -> Message:
    content = Content(
        alert="test",
        status="test",
        priority="info",
        subject=f"Outrider: test of channel {channel}",
        title=f"Test of channel {channel}",
        sentence="Nothing is wrong: somebody tried whether messages arrive here.",
        facts=(Fact(name="Sent by", value=actor), Fact(name="Collector", value=collector)),
        at_us=now_us,
    )
    return Message(
        notification=0,
        alert=0,
        episode=f"test.{now_us}",
        notice="fired",
        content=content,
        created_us=now_us,
    )
