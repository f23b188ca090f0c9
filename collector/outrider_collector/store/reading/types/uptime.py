"""How long components were up: days, shares and what is left of a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import date


class Day(NamedTuple):
    """How long a component was what on one day (UTC); the five add up to what of it is over."""

    day: date
    up_ms: int
    degraded_ms: int
    """Degraded or lagging."""
    down_ms: int
    """Down, expired, silent or dead."""
    maintenance_ms: int
    """Announced: counted neither for nor against it."""
    unmeasured_ms: int
    """Nobody watched, or nothing was known of it."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """One component's days and what follows from them."""

    kind: str
    component: str
    days: tuple[Day, ...]
    """The last 90, oldest first; the last is today."""
    target: float
    """Wanted share of time up, 0 to 1."""
    share_up: float | None
    """Of the measured time of all days outside of maintenance, 0 to 1; None: not measured."""
    budget_left: float
    """Of the time that the target allows not to be up in 30 days, 0 (spent) to 1."""
