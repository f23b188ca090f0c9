"""The waterline: volume stands above a hairline, problems hang below it on their own scale. Pure.

Three errors among forty thousand lines stay visible because the two sides never share a scale.
The same form serves the histogram, the chart of the overview and the sparkline of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_dashboard.charts.scale import ceiling, merged, number

if TYPE_CHECKING:
    from collections.abc import Sequence

BAR_UNITS = 10
"""Width of one bar in chart units; the page stretches it."""

_JOINT = 0.75
"""Between error and the warn that hangs under it, in pixels of height."""

_LEAST = 1.5
"""A bar of a count that is not zero is never lower: three errors must be seen."""


@dataclass(frozen=True)
class Counts:
    """Counts of one span of time: volume (info and below), its debug part, and problems."""

    volume: int = 0
    debug: int = 0
    warn: int = 0
    error: int = 0


@dataclass(frozen=True)
class Waterline:
    """Path data of a waterline chart. ``line`` is the y of the hairline, all in chart units."""

    width: float
    height: float
    line: float
    top: float
    """The value at the upper edge."""
    bottom: float
    """The value at the lower edge."""
    volume: str
    volume_edge: str
    debug: str
    debug_edge: str
    warn: str
    error: str


def bar_chart(counts: Sequence[Counts], above: float, below: float, bars: int = 0) -> Waterline:
    """Draw counts as bars: ``above`` and ``below`` are the heights of the two sides in pixels.

    With ``bars``, neighbours are summed until about that many remain.
    """
    volume, debug, warn, error = _sides(counts, bars)
    top = ceiling(max(map(sum, zip(volume, debug, strict=True)), default=0))
    bottom = ceiling(max(map(sum, zip(warn, error, strict=True)), default=0))
    line = above + 0.5
    hang = line + 1
    down = _Side(hang, below - 1, bottom)
    up = above / top
    return Waterline(
        width=len(volume) * BAR_UNITS or BAR_UNITS,
        height=above + below + 1,
        line=line,
        top=top,
        bottom=bottom,
        volume=_standing([v + d for v, d in zip(volume, debug, strict=True)], above, up),
        volume_edge="",
        debug="",
        debug_edge="",
        error=_hanging([(down.y, down.size(e)) for e in error]),
        warn=_hanging(
            [
                (down.y + (down.size(e) + _JOINT if e else 0), down.size(w))
                for w, e in zip(warn, error, strict=True)
            ]
        ),
    )


def area_chart(counts: Sequence[Counts], above: float, below: float, bars: int = 0) -> Waterline:
    """Draw volume as two areas (all of it, and its debug part above it), problems as bars."""
    volume, debug, _, _ = _sides(counts, bars)
    total = [v + d for v, d in zip(volume, debug, strict=True)]
    base = bar_chart(counts, above, below, bars)
    up = above / base.top
    with_debug = any(debug)
    return Waterline(
        width=base.width,
        height=base.height,
        line=base.line,
        top=base.top,
        bottom=base.bottom,
        volume=_area(volume, above, up),
        volume_edge=_edge(volume, above, up),
        debug=_area(total, above, up) if with_debug else "",
        debug_edge=_edge(total, above, up) if with_debug else "",
        warn=base.warn,
        error=base.error,
    )


@dataclass(frozen=True)
class _Side:
    """The lower side: where it begins, how deep it is, and the count at its edge."""

    y: float
    depth: float
    bottom: float

    def size(self, value: int) -> float:
        return max(_LEAST, value / self.bottom * self.depth) if value else 0.0


def _sides(
    counts: Sequence[Counts], bars: int
) -> tuple[list[int], list[int], list[int], list[int]]:
    return (
        merged([c.volume for c in counts], bars),
        merged([c.debug for c in counts], bars),
        merged([c.warn for c in counts], bars),
        merged([c.error for c in counts], bars),
    )


def _standing(values: Sequence[int], above: float, up: float) -> str:
    parts = []
    for i, value in enumerate(values):
        if value:
            height = max(1.0, value * up)
            parts.append(f"M{i * BAR_UNITS} {number(above)}v-{number(height)}h{BAR_UNITS}")
            parts.append(f"v{number(height)}z")
    return "".join(parts)


def _hanging(bars: Sequence[tuple[float, float]]) -> str:
    return "".join(
        f"M{i * BAR_UNITS} {number(y)}v{number(size)}h{BAR_UNITS}v-{number(size)}z"
        for i, (y, size) in enumerate(bars)
        if size
    )


def _points(values: Sequence[int], above: float, up: float) -> list[str]:
    middle = BAR_UNITS / 2
    return [
        f"{number(i * BAR_UNITS + middle)} {number(above - value * up)}"
        for i, value in enumerate(values)
    ]


def _edge(values: Sequence[int], above: float, up: float) -> str:
    points = _points(values, above, up)
    if not points:
        return ""
    first, last = points[0].split(" ")[1], points[-1].split(" ")[1]
    right = len(values) * BAR_UNITS
    return f"M0 {first}L" + "L".join(points) + f"L{right} {last}"


def _area(values: Sequence[int], above: float, up: float) -> str:
    edge = _edge(values, above, up)
    right = len(values) * BAR_UNITS
    return f"{edge}L{right} {number(above)}L0 {number(above)}Z" if edge else ""
