"""What delivery needs of a channel, and what a channel is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from outrider_alerting.channels.leaving import at_once

if TYPE_CHECKING:
    from outrider_alerting.channels.leaving import Leave
    from outrider_alerting.channels.outcome import Outcome
    from outrider_alerting.content import Content

SEND_TIMEOUT_S = 25.0
"""No `send` takes longer, whatever its sockets do. Claims must outlive it."""


class ChannelError(ValueError):
    """A channel cannot be used as it is configured; the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """One notice for one destination."""

    # Row of the ledger; the same at every attempt.
    notification: int
    alert: int
    # Names the episode for ever, also beside another database's alert of the same number.
    episode: str
    # fired, raised:n, ..., resolved.
    notice: str
    content: Content
    # When the notice was decided, microseconds since 2000.
    created_us: int
    # What this destination called the firing; None where it never had one.
    firing_provider_id: str | None = None
    # An earlier attempt may have arrived: say so.
    may_repeat: bool = False
    # Recipients that have it from an earlier attempt.
    delivered: frozenset[str] = frozenset()
    # What `content` puts together: the beginning of `total` contents; empty: it is one by itself.
    parts: tuple[Content, ...] = ()
    total: int = 1
    # The message that is to be edited, so that it tells this too; None: a message of its own.
    joins: str | None = None
    # Episode that the firing's message was about, where that is another: threads hang on it.
    thread: str | None = None
    # What the destination is called since it moved; None: as the channel has it.
    address: str | None = None
    # Somebody reads the buttons of this sender.
    buttons: bool = False


class Channel(Protocol):
    """A way to tell somebody."""

    async def send(self, message: Message, leave: Leave = at_once) -> Outcome:
        """Try once, within SEND_TIMEOUT_S, and say what is known; raises nothing but cancellation.

        Awaits ``leave`` right before the first byte that may tell somebody: what it refuses stays.
        An exception all the same is a bug; delivery takes it for an unknown outcome.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Editable(Channel, Protocol):
    """A channel whose messages can be made to read otherwise: ``routing.EDITABLE`` has its type."""

    async def refresh(self, message: Message) -> Outcome:
        """Try once to let the message that ``joins`` names read like this one; sends none."""
        ...
