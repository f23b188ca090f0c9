"""The chart of an episode: what it saw, what it did, whom it told, on one time axis. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from outrider_dashboard.charts.lanes import Interval, intervals
from outrider_dashboard.charts.scale import Tick, TimeScale
from outrider_dashboard.charts.spark import curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WIDTH, HEIGHT = 668, 96
_HEADROOM = 1.34
"""So much of the highest value is drawn: the chart's name has room above the highest label."""
_LEAST_SPAN = timedelta(minutes=2)
_LABEL_HEIGHT = 13.0
_MARK_PERCENT = 3.0
"""Width of a mark and its margin, of the chart at its narrowest."""
_LATE_PERCENT = 70.0
"""From here on there is no room beside a mark for its label, in the chart at its narrowest."""


@dataclass(frozen=True)
class Told:
    """Something that was told to somebody, or an acknowledgement."""

    percent: float
    glyph: str
    label: str

    @property
    def is_late(self) -> bool:
        """Whether its label stands below it, because beside it the chart ends."""
        return bool(self.label) and self.percent > _LATE_PERCENT


@dataclass(frozen=True)
class Threshold:
    """A dashed line: where the rule fires or ends."""

    y: float
    label: str
    fires: bool
    label_y: float
    """Where the label stands: moved apart from its neighbour where both are close."""


@dataclass(frozen=True)
class Episode:
    """Geometry of the chart; ``area`` is empty where the values are not known."""

    area: str
    edge: str
    thresholds: tuple[Threshold, ...]
    states: tuple[Interval, ...]
    told: tuple[Told, ...]
    ticks: tuple[Tick, ...]
    few_ticks: tuple[Tick, ...]
    grid: tuple[float, ...]


def span(started: datetime, ended: datetime | None, now: datetime) -> TimeScale:
    """Return the axis: the episode with a third of its length before it."""
    end = ended or now
    length = max(end - started, _LEAST_SPAN)
    after = length / 8 if ended else timedelta(0)
    return TimeScale(started - length / 3, min(now, end + after))


def windowed(counts: Sequence[int], window: int) -> list[int]:
    """Return, for each count, the sum of it and those before it: a window of ``window`` counts."""
    out = []
    running = 0
    for i, count in enumerate(counts):
        running += count
        if i >= window:
            running -= counts[i - window]
        out.append(running)
    return out


def draw(
    scale: TimeScale,
    *,
    values: Sequence[tuple[datetime, float]],
    thresholds: Sequence[tuple[float, str, bool]],
    changes: Sequence[tuple[datetime, str]],
    told: Sequence[tuple[datetime, str, str]],
    write: Callable[[datetime], str],
) -> Episode:
    """Draw an episode. ``thresholds``: value, label, whether it fires there."""
    highest = max([v for _, v in values] + [v for v, _, _ in thresholds] + [1.0])
    top = highest * _HEADROOM
    points = [(scale.percent(at) / 100, value) for at, value in values]
    shape = curve(points, WIDTH, HEIGHT, None, top) if len(points) > 1 else None
    return Episode(
        area=shape.area if shape else "",
        edge=shape.edge if shape else "",
        thresholds=_thresholds(thresholds, top) if shape else (),
        states=intervals(changes, scale, "inactive"),
        told=_apart(
            Told(scale.percent(at), glyph, label)
            for at, glyph, label in told
            if scale.start <= at <= scale.end
        ),
        ticks=scale.ticks(6, write),
        few_ticks=scale.ticks(2, write),
        grid=tuple(round(100 * i / 6, 3) for i in range(7)),
    )


def _apart(marks: Iterable[Told]) -> tuple[Told, ...]:
    """Keep marks from covering each other: equal ones become one with their number."""
    out: list[Told] = []
    counts: list[int] = []
    for mark in sorted(marks, key=lambda one: one.percent):
        if not out or mark.percent - out[-1].percent >= _MARK_PERCENT:
            out.append(mark)
            counts.append(1)
        elif mark.glyph == out[-1].glyph and not mark.label:
            counts[-1] += 1
            out[-1] = replace(out[-1], label=f"{counts[-1]} times")
        else:
            out.append(replace(mark, percent=round(out[-1].percent + _MARK_PERCENT, 3)))
            counts.append(1)
    latest = 100.0 - _MARK_PERCENT / 2
    for place in reversed(range(len(out))):
        if out[place].percent <= latest:
            break
        out[place] = replace(out[place], percent=round(latest, 3))
        latest -= _MARK_PERCENT
    return tuple(out)


def _thresholds(thresholds: Sequence[tuple[float, str, bool]], top: float) -> tuple[Threshold, ...]:
    out: list[Threshold] = []
    lowest = -_LABEL_HEIGHT
    for value, label, fires in sorted(thresholds, reverse=True):
        y = round(HEIGHT * (1 - value / top), 2)
        lowest = max(y, lowest + _LABEL_HEIGHT)
        out.append(Threshold(y, label, fires, lowest))
    overhang = max(0.0, out[-1].label_y - HEIGHT) if out else 0.0
    return tuple(replace(t, label_y=round(t.label_y - overhang, 2)) for t in out)
