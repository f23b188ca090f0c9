"""What is known of an exchange's public endpoints: the shape of a preset, see :mod:`.loading`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.exchanges.answers import Unit
    from outrider.exchanges.modes import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Something that is asked by GET, and how an answer is recognised that is none."""

    url: str
    """Whole, or a path below the preset's ``base_url``."""
    ok: tuple[tuple[str, Any], ...] = ()
    """Paths into the answer, and the values that must be there."""
    has: tuple[str, ...] = ()
    """Paths that must lead to something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Where the exchange tells its time, and how far off a request's time may be."""

    endpoint: Endpoint
    at: str
    unit: Unit
    resolution_ms: float
    """The step in which it tells its time."""
    every_s: float
    ahead_ms: float | None
    """Requests whose time is further ahead are refused; None: times do not matter there."""
    behind_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Where the exchange tells its status, and what its words mean."""

    endpoint: Endpoint
    at: str
    """The word; with ``list``, inside of each entry."""
    words: Mapping[str, Mode]
    every_s: float
    list: str = ""
    """A list of announcements, of which the worst counts; an empty one says that all is well."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Entries count only if the word (or one of the list) at each path is one of these."""
    partly: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Entries like these concern a part of the exchange: at worst it is DEGRADED."""
    title: str = ""
    begin: str = ""
    end: str = ""
    unit: Unit = "ms"
    """Of ``begin`` and ``end``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """How the exchange says that there were too many requests."""

    status: frozenset[int] = frozenset((418, 429))
    texts: tuple[str, ...] = ()
    """... or by these texts in an answer that is not what it should be."""
    wait_s: float = 60.0
    """How long to wait where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """The header that tells how much of its limit this address has used."""

    header: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """All that is known of one exchange."""

    name: str
    base_url: str
    reach: tuple[Endpoint, ...]
    time: Time | None = None
    announced: Announced | None = None
    throttled: Throttled = Throttled()
    weight: Weight | None = None

    def endpoints(self) -> list[Endpoint]:
        """Return everything that is asked."""
        more = [part.endpoint for part in (self.announced, self.time) if part is not None]
        return [*self.reach, *more]

    def url(self, endpoint: Endpoint) -> str:
        """Return the whole URL of an endpoint."""
        is_path = endpoint.url.startswith("/")
        return self.base_url.rstrip("/") + endpoint.url if is_path else endpoint.url

    def elsewhere(self, base_url: str = "", announced_url: str = "") -> Preset:
        """Return the same exchange at another address, or with its status read at another one."""
        announced = self.announced
        if announced is not None and announced_url:
            endpoint = replace(announced.endpoint, url=announced_url)
            announced = replace(announced, endpoint=endpoint)
        return replace(self, base_url=base_url or self.base_url, announced=announced)
