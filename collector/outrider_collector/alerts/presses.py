"""What comes of a pressed button: whether it may, the act, and the words of the answer.

A press counts when its data carries our proof, its message told of the alert it names, and who
pressed is among the channel's ``users``: acts then bear that name. Everybody else is told so and
nothing happens. A button under a message that tells of several alerts acts upon all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider.errors import Fault, Reason
from outrider.filter.syntax import quoted
from outrider_alerting.channels import buttons
from outrider_alerting.channels.telegram_buttons import ANSWER_CHARACTERS
from outrider_alerting.channels.text import clip, one_line, units
from outrider_collector.store import acts, health, pressed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import AsyncConnection

    from outrider_alerting.channels.telegram import TelegramSettings
    from outrider_alerting.channels.telegram_buttons import Press
    from outrider_collector.store.pressed import ToldAlert

SILENCE_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown to who pressed; in a window of its own where it has to be read."""

    text: str
    window: bool = False


async def react(
    connection: AsyncConnection, channels: Sequence[TelegramSettings], press: Press
) -> Answer:
    """Do what a press asks for, if it may; the bot's token is the same for all the channels."""
    said = buttons.read(channels[0].token, press.chat, press.data)
    if said is None:
        return Answer("This button is none of ours.", window=True)
    found = await _told(connection, channels, press, said.alert)
    if found is None:
        return Answer("This button's message is not known any more.", window=True)
    channel, alerts = found
    actor = channel.users.get(press.user)
    if actor is None:
        return Answer(
            f"You are not linked: add your number {press.user} to `users` of channel "
            f"{channel.name}, then 'outrider rules apply'.",
            window=True,
        )
    act = _ACTS[said.action]
    return await act(connection, alerts, actor, f"button {channel.account} {press.id}")


async def _told(
    connection: AsyncConnection,
    channels: Sequence[TelegramSettings],
    press: Press,
    alert: int,
) -> tuple[TelegramSettings, list[ToldAlert]] | None:
    """Find the channel whose message this is, and the alerts it told of."""
    moved = await pressed.addresses(connection)
    for channel in channels:
        chat = moved.get(f"telegram:{channel.chat_id}", str(channel.chat_id))
        if str(press.chat) not in {chat, str(channel.chat_id)}:
            continue
        alerts = await pressed.told_by(connection, channel.name, press.message, alert)
        if alerts:
            return channel, alerts
    return None


async def _acknowledge(
    connection: AsyncConnection, alerts: Sequence[ToldAlert], actor: str, origin: str
) -> Answer:
    del origin  # who acknowledged first did; a second time changes nothing
    done: list[int] = []
    by = ""
    for alert in alerts:
        if alert.state == "resolved":
            continue
        try:
            act = await acts.acknowledge(connection, alert.id, actor)
        except Fault as fault:
            if fault.reason is not Reason.CONFLICT:
                raise
            continue  # it ended meanwhile
        by = act.actor
        if act.changed:
            done.append(alert.id)
    if done:
        return Answer(f"{_names(done)} acknowledged by {actor}.")
    if by:
        return Answer(f"{_names([a.id for a in alerts])} was acknowledged by {by} before.")
    return Answer(f"{_names([a.id for a in alerts])} is over: nothing to acknowledge.", window=True)


async def _silence(
    connection: AsyncConnection, alerts: Sequence[ToldAlert], actor: str, origin: str
) -> Answer:
    now = await health.clock(connection)
    ends_at = now + SILENCE_FOR
    done = await acts.add_silence(
        connection,
        filter_text=filter_of(alerts),
        starts_at=None,
        ends_at=ends_at,
        actor=actor,
        comment="pressed in Telegram",
        origin=origin,
    )
    return Answer(
        f"{_names([a.id for a in alerts])} silenced until {ends_at:%H:%M} UTC. To take it back: "
        f"outrider silences end {done.silence}",
        window=True,
    )


async def _details(
    connection: AsyncConnection, alerts: Sequence[ToldAlert], actor: str, origin: str
) -> Answer:
    del connection, actor, origin
    first = alerts[0]
    by = f"acknowledged by {first.acknowledged_by}" if first.acknowledged_by else "not acknowledged"
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    text = (
        f"A-{first.id}{more}: {first.state} since {first.started_at:%d %b %H:%M:%S} UTC, "
        f"{first.priority}, {by}."
    )
    if first.newest_line:
        room = ANSWER_CHARACTERS - units(text) - 1
        return Answer(f"{text}\n{clip(one_line(first.newest_line), room)}", window=True)
    return Answer(f"{text} outrider alerts show A-{first.id}", window=True)


_ACTS: Final[dict[buttons.Action, Callable[..., Awaitable[Answer]]]] = {
    "acknowledge": _acknowledge,
    "silence": _silence,
    "details": _details,
}


def filter_of(alerts: Sequence[ToldAlert]) -> str:
    """Return a filter on labels that hits exactly these alerts, or their rules if it were long."""
    each = [
        " ".join(
            f"{name}:{quoted(value)}"
            for name, value in sorted(alert.labels.items())
            if name not in {"kind", "priority", "state"}
        )
        for alert in alerts
    ]
    text = each[0] if len(each) == 1 else " OR ".join(f"({one})" for one in each)
    if len(text.encode()) <= acts.FILTER_BYTES_MAX:
        return text
    chosen = ""
    for name in sorted({alert.rule for alert in alerts}):
        more = f"{chosen} OR rule:{quoted(name)}" if chosen else f"rule:{quoted(name)}"
        if len(more.encode()) > acts.FILTER_BYTES_MAX:
            break
        chosen = more
    return chosen


def _names(alerts: Sequence[int]) -> str:
    more = f" and {len(alerts) - 3} more" if len(alerts) > 3 else ""
    return ", ".join(f"A-{alert}" for alert in alerts[:3]) + more
