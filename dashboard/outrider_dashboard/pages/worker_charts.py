"""The small charts of one worker's hour: gauges this process sampled, lines the store counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider_dashboard import numbers, timing
from outrider_dashboard.charts.scale import Tick, TimeScale
from outrider_dashboard.charts.spark import Curve, curve
from outrider_dashboard.pages.worker_facts import ended_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from outrider_collector.store.reading.activity import ActivityWindow
    from outrider_collector.store.reading.types import Worker
    from outrider_dashboard.sampler import GaugeHistory, Series

HOUR = timedelta(hours=1)
WIDTH, HEIGHT = 294, 64
_NEAR_LIMIT = 0.9


@dataclass(frozen=True)
class SmallChart:
    """One chart: its name, the value now, a note, the curve and where nothing is known."""

    title: str
    now: str
    note: str
    tone: str
    curve: Curve | None
    unknown_to: float
    """Percent of the width from the left that nobody measured."""
    unknown_from: float | None
    """Percent from which on nothing is known."""
    ended: float | None
    """Percent at which the worker ended."""
    ticks: tuple[Tick, ...]


def small_charts(
    worker: Worker,
    gauges: GaugeHistory,
    activity: ActivityWindow | None,
    clock: timing.Clock,
    first_seen: datetime | None = None,
) -> list[SmallChart]:
    """Draw CPU, RSS, progress where the worker tells it (else lines), and backlog."""
    limit = worker.gauges.rss_limit_bytes or None
    rss = worker.gauges.rss_bytes
    near = bool(limit and rss and rss >= limit * _NEAR_LIMIT)
    drawn = _Drawing(worker, gauges, clock, first_seen)
    out = [
        drawn.chart("CPU", "cpu", numbers.percent, lambda _: "of one core"),
        drawn.chart(
            "RSS", "rss", numbers.memory_size,
            lambda s: (
                f"limit {numbers.memory_size(limit)}" if limit else _peak(s, numbers.memory_size)
            ),
            limit=limit, tone="bad" if near else "",
        ),
    ]  # fmt: skip
    if worker.gauges.progress_done is not None:
        out.append(drawn.chart("Progress", "progress", _per_minute, _usual))
    elif activity is not None:
        out.append(drawn.lines(activity))
    out.append(
        drawn.chart(
            "Backlog", "backlog", numbers.file_size, lambda s: _peak(s, numbers.file_size),
            now=worker.gauges.backlog_bytes,
        )
    )  # fmt: skip
    return out


def memory_hour(worker: Worker, gauges: GaugeHistory) -> tuple[Curve | None, float]:
    """Draw the memory of a worker's hour small, with its limit, and up to which x nobody measured.

    The drawing is 200 x 20.
    """
    series = gauges.of(worker.name, "rss")
    if series is None:
        return None, 200.0
    points = series.points()
    known = next((x for x, v in points if v is not None), 1.0)
    return curve(points, 200, 20, worker.gauges.rss_limit_bytes or None), round(200 * known, 1)


def _per_minute(value: float) -> str:
    return f"{numbers.measure(round(value, 1))}/min"


def _usual(series: Series) -> str:
    return f"usual {numbers.measure(round(series.usual or 0, 1))}"


def _peak(series: Series, write: Callable[[float], str]) -> str:
    return f"peak {write(series.peak or 0)}"


class _Drawing:
    """Draws one worker's charts over the same hour."""

    def __init__(
        self,
        worker: Worker,
        gauges: GaugeHistory,
        clock: timing.Clock,
        first_seen: datetime | None,
    ) -> None:
        self._worker = worker
        self._gauges = gauges
        self._scale = TimeScale(clock.now - HOUR, clock.now)
        self._ticks = self._scale.ticks(2, clock.axis)
        lived_s = (first_seen - self._scale.start).total_seconds() if first_seen else 0.0
        self._lived_from = min(1.0, max(0.0, lived_s / HOUR.total_seconds()))
        ended = ended_at(worker)
        self._ended = self._scale.percent(ended) if worker.state == "dead" else None
        silent = worker.state == "silent"
        self._unknown_from = self._scale.percent(worker.since) if silent else None

    def chart(
        self, title: str, field: str, write: Callable[[float], str], note: Callable[[Series], str],
        *, limit: float | None = None, tone: str = "", now: float | None = None,
    ) -> SmallChart:  # fmt: skip
        """Draw one sampled gauge."""
        series = self._gauges.of(self._worker.name, field)
        value = now if now is not None else (series.last if series else None)
        points = series.points() if series else []
        known = next((x for x, v in points if v is not None), 1.0)
        return SmallChart(
            title=title,
            now=write(value) if value is not None else timing.DASH,
            note=note(series) if series else "not measured yet",
            tone=tone,
            curve=curve(points, WIDTH, HEIGHT, limit) if series else None,
            unknown_to=round(100 * known, 2) if series else 100.0,
            unknown_from=self._unknown_from,
            ended=self._ended,
            ticks=self._ticks,
        )

    def lines(self, activity: ActivityWindow) -> SmallChart:
        """Draw lines per minute, which the store counted."""
        found = activity.of(self._worker.name)
        total = len(found.lines) or 1
        points = [
            ((i + 0.5) / total, v if (i + 1) / total > self._lived_from else None)
            for i, v in enumerate(found.lines)
        ]
        counted = [n for n in found.lines if n is not None]
        now = counted[-2] if len(counted) > 1 else sum(counted)
        return SmallChart(
            title="Lines",
            now=f"{numbers.compact(now)}/min",
            note=f"peak {numbers.compact(max(counted, default=0))}",
            tone="",
            curve=curve(points, WIDTH, HEIGHT),
            unknown_to=round(100 * self._lived_from, 2),
            unknown_from=self._unknown_from,
            ended=self._ended,
            ticks=self._ticks,
        )
