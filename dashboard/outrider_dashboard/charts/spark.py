"""Small charts: the tile's sparkline of an hour, and the curve of one gauge. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_dashboard.charts.scale import ceiling, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_dashboard.charts.waterline import Counts

SPARK_WIDTH = 72
_LINE = 13.5
_DEPTH = 5.5


@dataclass(frozen=True)
class Spark:
    """A tile's waterline, 72 x 20: area, its edge, problems below, what is not known as hatch."""

    area: str
    edge: str
    warn: str
    error: str
    unknown_x: float | None
    """Where the hatch begins, or None: everything is known."""
    end_x: float | None
    """Where the worker ended, or None."""


def tile_spark(
    counts: Sequence[Counts], unknown_from: float | None = None, ended_at: float | None = None
) -> Spark:
    """Draw one worker's hour; ``unknown_from`` and ``ended_at`` are shares of the hour, 0 to 1.

    The height is relative to the worker's own maximum, flattened so that a steady worker is a
    steady line and not a mountain range.
    """
    known = counts
    if counts and unknown_from is not None:
        known = counts[: max(1, int(len(counts) * unknown_from))]
    elif counts and ended_at is not None:
        known = counts[: max(1, round(len(counts) * ended_at))]
    step = SPARK_WIDTH / max(1, len(counts))
    volume = [c.volume + c.debug for c in known]
    top = max(volume, default=0)
    heights = [10.0 * (0.15 + 0.85 * v / top) if v else 0.0 for v in volume] if top else []
    points = [f"{number(i * step)} {number(_LINE - h)}" for i, h in enumerate(heights)]
    edge = "M" + "L".join(points) if points else ""
    last = number((len(points) - 1) * step)
    worst = max((max(c.warn + c.error, 1) for c in counts), default=1)
    return Spark(
        area=f"{edge}L{last} {_LINE}L0 {_LINE}Z" if edge else "",
        edge=edge,
        warn=_drops([c.warn for c in known], [c.error for c in known], worst, step, errors=False),
        error=_drops([c.warn for c in known], [c.error for c in known], worst, step, errors=True),
        unknown_x=None if unknown_from is None else round(unknown_from * SPARK_WIDTH, 2),
        end_x=None if ended_at is None else round(min(ended_at, 0.985) * SPARK_WIDTH, 2),
    )


def _drops(
    warn: Sequence[int], error: Sequence[int], worst: int, step: float, *, errors: bool
) -> str:
    """Hang one mark for each span with problems, red if any of them is an error."""
    parts = []
    for i, (w, e) in enumerate(zip(warn, error, strict=True)):
        if w + e and bool(e) == errors:
            size = max(2.5, (w + e) / worst * _DEPTH)
            x = min(i * step, SPARK_WIDTH - 1.5)
            parts.append(f"M{number(x)} 15h1.5v{number(size)}h-1.5z")
    return "".join(parts)


@dataclass(frozen=True)
class Curve:
    """One gauge over time: segments, because what was not measured is not drawn as a line."""

    area: str
    edge: str
    limit_y: float | None
    """Where the limit lies, or None: it has none."""
    top: float


def curve(
    points: Sequence[tuple[float, float | None]],
    width: float,
    height: float,
    limit: float | None = None,
    top: float | None = None,
) -> Curve:
    """Draw (share of the range 0 .. 1, value or None) as a curve of ``width`` x ``height``."""
    values = [v for _, v in points if v is not None]
    highest = max([*values, limit or 0.0, 1e-9])
    scale = top if top is not None else (ceiling(highest) if highest >= 1 else highest * 1.1)
    area, edge = [], []
    for run in _runs(points):
        line = [
            f"{number(x * width)} {number(height - min(v, scale) / scale * height)}" for x, v in run
        ]
        edge.append("M" + "L".join(line))
        left, right = number(run[0][0] * width), number(run[-1][0] * width)
        area.append(f"M{left} {number(height)}L" + "L".join(line) + f"L{right} {number(height)}Z")
    limit_y = None if limit is None else round(height - min(limit, scale) / scale * height, 2)
    return Curve("".join(area), "".join(edge), limit_y, scale)


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = []
    open_run = False
    for x, value in points:
        if value is None:
            open_run = False
        elif open_run:
            runs[-1].append((x, value))
        else:
            runs.append([(x, value)])
            open_run = True
    return runs
