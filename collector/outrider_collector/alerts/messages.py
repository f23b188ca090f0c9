"""From rows of the outbox to the message that a channel is given. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from outrider.instants import to_us
from outrider_alerting import outage, telling
from outrider_alerting.channels.channel import Message
from outrider_alerting.content import Content, Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store import outbox
    from outrider_collector.store.shown import Part, Shown

_NAME: Final = re.compile(r"A-\d+")
_TOLD_ONE_BY_ONE: Final = frozenset(("webhook",))
"""Types of channels that give all parts of a message that have words."""


def message_of(claim: outbox.Claim, *, buttons: bool = False) -> Message:
    """Make the message of a claim. Raises msgspec.ValidationError for words of another version."""
    own = told(claim.parts)
    joined = told(claim.joined.parts) if claim.joined else []
    before = claim.joined.total if claim.joined else 0
    content = own[0].content
    if len(claim.parts) + before > 1:
        # Whether the alert is over by now is for its own notice to tell.
        all_of_it = [*joined, *own] if joined else [Told(content=part.content) for part in own]
        content = telling.together(all_of_it, before + len(claim.parts))
    thread = None
    if claim.firing is not None:
        shown = told(claim.firing.parts)
        thread = episode(claim.firing)
        content = msgspec.structs.replace(content, subject=shown[0].content.subject)
    return Message(
        notification=claim.id,
        alert=claim.alert or 0,
        # Told before it was an alert, an outage has a name of its own.
        episode=outage.episode(content.labels)
        or episode(claim)
        or f"n.{claim.id}.{to_us(claim.created_at) // 1_000_000}",
        notice=claim.notice,
        content=content,
        created_us=to_us(claim.created_at),
        firing_provider_id=claim.firing_provider_id,
        may_repeat=claim.unknown > 0,
        delivered=frozenset(claim.delivered),
        parts=tuple(part.content for part in own),
        total=len(claim.parts),
        joins=claim.joins,
        thread=thread,
        address=claim.address,
        buttons=buttons,
    )


def named(claim: outbox.Claim) -> frozenset[int] | None:
    """Return the alerts that the message of a claim names; None where it tells of one."""
    if len(claim.parts) + (claim.joined.total if claim.joined else 0) <= 1:
        return None
    message = message_of(claim)
    names = {message.content.alert, *(fact.name for fact in message.content.facts)}
    if claim.channel_type in _TOLD_ONE_BY_ONE:
        names.update(part.alert for part in message.parts)
    return frozenset(int(name[2:]) for name in names if _NAME.fullmatch(name))


def told(parts: Sequence[Part]) -> list[Told]:
    """Return parts of a message as the words of today. Raises msgspec.ValidationError."""
    return [
        Told(
            content=msgspec.convert(part.content, Content),
            over=part.over,
            acknowledged=part.acknowledged,
        )
        for part in parts
        if part.content is not None
    ]


def episode(of: outbox.Claim | Shown) -> str | None:
    """Name the episode for ever; None where it is no alert's."""
    if of.episode_started_at is None:
        return None
    return f"{of.alert}.{to_us(of.episode_started_at) // 1_000_000}"
