"""The uptime bar: ninety days, one bar each; below the line hang the minutes not up. Pure.

What stands says that the day was measured and went well, what hangs is logarithmic: one minute is
seen, and a whole day is not a hundred times as much to look at. A day of which more than half was
not measured (of today: all of it) is a hatched outline, one with an announced closing a grey stub.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_dashboard.charts.scale import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import Day

BAR, GAP = 5, 2
ABOVE, BELOW = 16, 12
HEIGHT = ABOVE + BELOW
_STUB = 4
_LEAST = 2.0
"""What happened is never lower: one minute of ninety days must be seen."""
_CLOSED_MS = 600_000
"""A day with less of an announced closing is drawn as any other."""
_MINUTE_MS = 60_000
_DAY_MINUTES = 1440


@dataclass(frozen=True)
class Bars:
    """Path data of one bar of days, in units that the page stretches."""

    width: int
    up: str
    closed: str
    unmeasured: str
    degraded: str
    down: str


def bars(days: Sequence[Day]) -> Bars:
    """Draw days, oldest first."""
    up, closed, unmeasured, degraded, down = [], [], [], [], []
    for place, day in enumerate(days):
        x = place * (BAR + GAP)
        measured_ms = day.up_ms + day.degraded_ms + day.down_ms + day.maintenance_ms
        # Of today, the last, a minute is enough: that is how things are now.
        enough_ms = day.unmeasured_ms if place < len(days) - 1 else 1
        if measured_ms < enough_ms:
            unmeasured.append(_box(x, 0, ABOVE))
        elif day.maintenance_ms >= _CLOSED_MS:
            closed.append(_box(x, ABOVE - _STUB, _STUB))
        elif day.up_ms:
            up.append(_box(x, 0, ABOVE))
        down_size, degraded_size = hanging(day.down_ms, day.degraded_ms)
        if down_size:
            down.append(_box(x, ABOVE + 1, down_size))
        if degraded_size:
            degraded.append(_box(x, ABOVE + 1 + down_size, degraded_size))
    return Bars(
        width=max(1, len(days) * (BAR + GAP) - GAP),
        up="".join(up),
        closed="".join(closed),
        unmeasured="".join(unmeasured),
        degraded="".join(degraded),
        down="".join(down),
    )


def hanging(down_ms: int, degraded_ms: int) -> tuple[float, float]:
    """Return how far down and degraded hang; together as far as their sum alone would."""
    total_ms = down_ms + degraded_ms
    if not total_ms:
        return 0.0, 0.0
    size = (BELOW - 1) * math.log1p(total_ms / _MINUTE_MS) / math.log1p(_DAY_MINUTES)
    if not (down_ms and degraded_ms):
        size = min(float(BELOW - 1), max(_LEAST, size))
        return (size, 0.0) if down_ms else (0.0, size)
    size = min(float(BELOW - 1), max(2 * _LEAST, size))
    down = min(size - _LEAST, max(_LEAST, size * down_ms / total_ms))
    return down, size - down


def _box(x: float, y: float, height: float) -> str:
    return f"M{number(x)} {number(y)}h{BAR}v{number(height)}h-{BAR}z"
