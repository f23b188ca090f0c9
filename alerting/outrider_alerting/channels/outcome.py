"""What became of one attempt to tell somebody.

There are four outcomes, because a timeout is not a failure: the message may be in the reader's
hand. A channel never tries again by itself; it says what it knows, and delivery decides.

* :class:`Sent`: the other side has it.
* :class:`Retry`: surely not sent; a later attempt can succeed.
* :class:`Failed`: surely not sent, and no attempt will ever succeed as things stand.
* :class:`Unknown`: it may have been sent. One marked repeat is allowed, no more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Hold(enum.Enum):
    """Who else has to wait when a channel asks for time."""

    NOBODY = "nobody"
    CONVERSATION = "conversation"
    SENDER = "sender"  # all that goes out under the same account


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side accepted it."""

    # What the other side calls it: a message id, a queue id.
    provider_id: str
    # Recipients of the message that now have it, where there are several.
    delivered: tuple[str, ...] = ()
    # What a person should know although it was sent: a refused recipient, lost formatting.
    remark: str = ""
    # What the other side calls the destination since it moved.
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Surely not sent to those that are not in `delivered`; try again after `after_s`."""

    reason: str
    # Least seconds to wait, as the other side demands; 0: the sender's own backoff decides.
    after_s: float = 0.0
    hold: Hold = Hold.NOBODY
    # Recipients that have it by now and must not get it again.
    delivered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Surely not sent, and never will be."""

    reason: str
    # True: the channel itself is broken (revoked token, kicked out), not this message.
    channel_broken: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell whether it was sent."""

    reason: str
    delivered: tuple[str, ...] = ()


Outcome = Sent | Retry | Failed | Unknown
