"""What the event loop tells the disk thread, beside the notices of the delivery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.account import Account
    from outrider_agent.configuration import AgentConfig
    from outrider_agent.control import Question
    from outrider_agent.streams import Place, Stream


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A session began. ``orphans``: streams Postgres has open that the delivery does not know."""

    orphans: tuple[tuple[Stream, Place], ...] = ()
    store_regressed: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """The collector has stored these streams."""

    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """What the collector wants."""

    flush_interval_s: float = 0.1
    urgent_flush_interval_s: float = 0.01
    urgent_severity: int = 17
    urgent_filters: tuple[str, ...] = ()
    compress: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """Database time minus this host's time, microseconds."""

    offset_us: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The feed position under which something was last acknowledged."""

    feed_number: int
    feed_nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reload:
    """Go by another configuration from now on."""

    agent: AgentConfig


@dataclass(frozen=True, slots=True)
class Tell:
    """Give an account; ``answer`` is called in the disk thread."""

    question: Question
    answer: Callable[[Account], object]


@dataclass(frozen=True, slots=True)
class Stop:
    """Hand over what is pending and end."""
