"""Where an alert goes: the routes' channels, and who holds it back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from outrider.filter import Filter, FilterError, parse
from outrider_alerting.rules import IN_APP, TelegramChannel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outrider_alerting.policy import Silence
    from outrider_alerting.rules import Channel, RuleSet


class Destination(NamedTuple):
    """A channel as the ledger names it."""

    channel: str
    channel_type: str
    conversation: str
    """Messages of one conversation stay in order, across alerts and channels."""


CENTRE = Destination(IN_APP, IN_APP, IN_APP)
"""The notification centre: it has every alert, and at once."""


def destination(channel: Channel) -> Destination:
    """Return a channel's destination."""
    if isinstance(channel, TelegramChannel):
        return Destination(channel.name, channel.type, f"telegram:{channel.chat_id}")
    return Destination(channel.name, channel.type, f"{channel.type}:{channel.name}")


def destinations(rule_set: RuleSet, labels: Mapping[str, str]) -> list[Destination]:
    """Return where an alert with these labels goes, the notification centre first."""
    names: dict[str, None] = {}
    for route in rule_set.routes:
        if route.match is None or route.match.match_labels(labels):
            names |= dict.fromkeys(route.channels)
            if not route.continue_:
                break
    channels = (rule_set.channel(name) for name in names)
    return [CENTRE, *(destination(channel) for channel in channels if channel is not None)]


def silencing(silences: Iterable[Silence], labels: Mapping[str, str], now_us: int) -> list[Silence]:
    """Return the silences that hold an alert with these labels back now, oldest first."""
    found = [
        silence
        for silence in silences
        if silence.starts_us <= now_us < silence.ends_us
        and (silence.ended_us is None or now_us < silence.ended_us)
        and _matches(silence.filter, labels)
    ]
    return sorted(found, key=lambda silence: silence.id)


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    asked = _parsed(text)
    return asked is not None and asked.match_labels(labels)


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> Filter | None:
    try:
        return parse(text, labels=True)
    except FilterError:
        # Checked when the silence was made; if it cannot be read any more, nothing is held back.
        return None
