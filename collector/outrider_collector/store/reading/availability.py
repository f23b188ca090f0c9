"""The arithmetic of uptime: pure.

* The *share up* is time up over time measured. Maintenance and what nobody measured are left out
  of both.
* The *budget* of a target is the time that it allows not to be up: 99.9 % of 30 days leaves 43
  minutes. Degraded time is spent as down time is. The 30 days are always whole, also for a
  component that is younger: its first minute down does not spend everything.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from outrider_collector.store.reading.types.uptime import Day, Uptime

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS: Final = 90
BUDGET_DAYS: Final = 30
DAY_MS: Final = 86_400_000

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``[health]`` of the configuration."""

    target: Percent = 99.9
    """Wanted percentage of time up, of every component that ``targets`` does not name."""
    targets: dict[str, Percent] = {}
    """By kind ("exchange") or kind and name with wildcards ("worker/payments/*"); first match."""

    def of(self, kind: str, component: str) -> float:
        """Return a component's target as a share, 0 to 1."""
        name = f"{kind}/{component}"
        for pattern, percent in self.targets.items():
            if pattern == kind or fnmatchcase(name, pattern):
                return percent / 100
        return self.target / 100


def share_up(days: Sequence[Day]) -> float | None:
    """Return the share of the measured time outside of maintenance, 0 to 1; None: no such time."""
    up_ms = sum(day.up_ms for day in days)
    measured_ms = up_ms + _not_up_ms(days)
    return up_ms / measured_ms if measured_ms else None


def budget_left(days: Sequence[Day], target: float) -> float:
    """Return how much is left of what ``target`` allows in the last 30 days: 1 all, 0 nothing."""
    spent_ms = _not_up_ms(days[-BUDGET_DAYS:])
    allowed_ms = (1 - target) * BUDGET_DAYS * DAY_MS
    if not spent_ms:
        return 1.0
    return max(0.0, 1 - spent_ms / allowed_ms) if allowed_ms > 0 else 0.0


def uptime(kind: str, component: str, days: Sequence[Day], target: float) -> Uptime:
    """Put a component's days and what follows from them together."""
    left = budget_left(days, target)
    return Uptime(kind, component, tuple(days), target, share_up(days), left)


def seen_from_all(places: Sequence[Sequence[Day]]) -> list[Day]:
    """Return the days of what several places look at, each place counting the same.

    An hour in which one of three does not reach it is twenty minutes down. All have the same days.
    """
    n = len(places)
    return [
        Day(same[0].day, *(sum(values) // n for values in zip(*(d[1:] for d in same), strict=True)))
        for same in zip(*places, strict=True)
    ]


def _not_up_ms(days: Sequence[Day]) -> int:
    return sum(day.degraded_ms + day.down_ms for day in days)
