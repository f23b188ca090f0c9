"""Gauges over an hour, sampled by the dashboard."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outrider_collector.store.reading.types import Gauges, Worker
from outrider_dashboard.sampler import MOST_WORKERS, SAMPLES, GaugeHistory

NOW = datetime(2026, 7, 14, 14, tzinfo=UTC)
STEP = timedelta(seconds=10)


def _worker(at: datetime, name: str = "w", **gauges: int) -> Worker:
    return Worker(
        service="s", worker=name, host="h", agent=1, state="up", since=NOW, reason="",
        seen_at=at, due_at=None, gauges=Gauges(**gauges),  # type: ignore[arg-type]
    )  # fmt: skip


def test_counters_become_rates() -> None:
    """CPU is a share of one core and progress is per minute, whatever the heartbeat's pace."""
    history = GaugeHistory()
    history.add([_worker(NOW, cpu_ms=1000, progress_done=10, rss_bytes=5)], NOW)
    later = NOW + STEP
    history.add([_worker(later, cpu_ms=6000, progress_done=20, rss_bytes=7)], later)
    name = _worker(NOW).name

    cpu, progress, rss = (history.of(name, f) for f in ("cpu", "progress", "rss"))

    assert cpu is not None and progress is not None and rss is not None
    assert (cpu.last, progress.last, rss.last, rss.peak) == (0.5, 60, 7, 7)
    assert rss.values[-2:] == [5, 7]
    assert rss.values[0] is None


def test_a_restart_is_no_negative_rate() -> None:
    """A counter that went back belongs to a new process, whose rate is not known yet."""
    history = GaugeHistory()
    history.add([_worker(NOW, cpu_ms=9000)], NOW)
    history.add([_worker(NOW + STEP, cpu_ms=100)], NOW + STEP)

    assert history.of(_worker(NOW).name, "cpu") is None


def test_what_is_not_measured_is_not_known() -> None:
    """A silent worker has holes, not zeros."""
    history = GaugeHistory()
    history.add([_worker(NOW, rss_bytes=5)], NOW)
    history.add([replace(_worker(NOW, rss_bytes=5), state="silent")], NOW + STEP)

    series = history.of(_worker(NOW).name, "rss")

    assert series is not None
    assert series.values[-2:] == [5, None]


def test_memory_is_bounded() -> None:
    """Rings have a fixed length, workers that went are forgotten, and there is a most of them."""
    history = GaugeHistory()
    for n in range(SAMPLES + 10):
        history.add([_worker(NOW, rss_bytes=n)], NOW + n * STEP)
    series = history.of(_worker(NOW).name, "rss")
    many = [_worker(NOW, name=str(n), rss_bytes=1) for n in range(MOST_WORKERS + 5)]
    history.add(many, NOW)

    assert series is not None
    assert len(series.values) == SAMPLES
    assert history.of(_worker(NOW).name, "rss") is None
    assert history.of(many[-1].name, "rss") is None
