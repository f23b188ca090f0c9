"""An hour of gauges for each worker, sampled from its heartbeats while this process runs.

The store keeps the last heartbeat only, so a curve over time is what this process saw. What lies
before its start is not known and is drawn so. Memory is bounded: the arrays of a worker have a
fixed length, and workers beyond the limit are not sampled.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from outrider_collector.store.reading.types import Worker, WorkerName

INTERVAL_S = 10
SAMPLES = 360
"""An hour."""

MOST_WORKERS = 1000

FIELDS = ("cpu", "rss", "progress", "backlog")
_NOTHING = math.nan


@dataclass(frozen=True)
class Series:
    """One gauge, oldest first, evenly spaced up to ``until``; None: not measured."""

    until: datetime
    values: list[float | None]

    @property
    def last(self) -> float | None:
        """The newest measured value."""
        return next((v for v in reversed(self.values) if v is not None), None)

    @property
    def peak(self) -> float | None:
        """The greatest measured value."""
        return max((v for v in self.values if v is not None), default=None)

    @property
    def usual(self) -> float | None:
        """The median of what was measured."""
        measured = sorted(v for v in self.values if v is not None)
        return measured[len(measured) // 2] if measured else None

    def points(self) -> list[tuple[float, float | None]]:
        """Return (share of the hour, value) pairs for a curve."""
        return [((i + 1) / len(self.values), v) for i, v in enumerate(self.values)]


class GaugeHistory:
    """Rings of samples by worker. CPU is a share of one core, progress is per minute."""

    def __init__(self) -> None:
        self._rings: dict[WorkerName, dict[str, array[float]]] = {}
        self._before: dict[WorkerName, tuple[datetime, int | None, int | None]] = {}
        self._slot = -1
        self._until: datetime | None = None

    def add(self, workers: list[Worker], now: datetime) -> None:
        """Take one sample of every worker, whose time is ``now``."""
        self._slot = (self._slot + 1) % SAMPLES
        self._until = now
        present = {worker.name for worker in workers}
        for name in [n for n in self._rings if n not in present]:
            del self._rings[name]
            self._before.pop(name, None)
        for ring in self._rings.values():
            for values in ring.values():
                values[self._slot] = _NOTHING
        for worker in workers:
            if worker.name in self._rings or len(self._rings) < MOST_WORKERS:
                self._sample(worker)

    def of(self, name: WorkerName, field: str) -> Series | None:
        """Return one gauge of a worker, or None: nothing was ever measured."""
        ring = self._rings.get(name)
        if ring is None or self._until is None:
            return None
        values = ring[field]
        start = self._slot + 1
        ordered = [*values[start:], *values[:start]]
        known = [None if math.isnan(v) else v for v in ordered]
        return Series(self._until, known) if any(v is not None for v in known) else None

    def _sample(self, worker: Worker) -> None:
        ring = self._rings.setdefault(
            worker.name, {f: array("d", [_NOTHING]) * SAMPLES for f in FIELDS}
        )
        if worker.seen_at is None or worker.state not in {"up", "degraded", "lagging"}:
            self._before.pop(worker.name, None)
            return
        gauges = worker.gauges
        if gauges.rss_bytes is not None:
            ring["rss"][self._slot] = gauges.rss_bytes
        if gauges.backlog_bytes is not None:
            ring["backlog"][self._slot] = gauges.backlog_bytes
        before = self._before.get(worker.name)
        self._before[worker.name] = (worker.seen_at, gauges.cpu_ms, gauges.progress_done)
        if before is None:
            return
        seconds = (worker.seen_at - before[0]).total_seconds()
        if seconds <= 0:
            self._hold(ring)
            return
        ring["cpu"][self._slot] = _rate(before[1], gauges.cpu_ms, seconds * 1000)
        ring["progress"][self._slot] = _rate(before[2], gauges.progress_done, seconds / 60)

    def _hold(self, ring: dict[str, array[float]]) -> None:
        """No new heartbeat since the last sample: the rate is what it was."""
        for field in ("cpu", "progress"):
            ring[field][self._slot] = ring[field][self._slot - 1]


def _rate(before: int | None, after: int | None, per: float) -> float:
    # A counter that went back belongs to a new process: its rate is not known yet.
    if before is None or after is None or after < before:
        return _NOTHING
    return (after - before) / per


async def run(
    history: GaugeHistory,
    workers: Callable[[], Awaitable[list[Worker]]],
    now: Callable[[], datetime],
) -> None:
    """Sample for ever; while the store is out of reach, nothing is measured."""
    while True:
        try:
            sample = await workers()
        except Fault:
            sample = []
        if sample:
            history.add(sample, now())
        await asyncio.sleep(INTERVAL_S)
