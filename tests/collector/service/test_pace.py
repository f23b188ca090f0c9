"""Intervals that keep a collector at 500 batches a second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.ingest.clock import DatabaseClock
from outrider_collector.ingest.pace import Intervals, intervals


@given(st.integers(1, 20_000), st.floats(0.1, 50))
def test_intervals_settle_at_the_aim(streams: int, records_per_s: float) -> None:
    """Whatever the number of streams and their rates, at most 400 batches a second arrive."""
    now = Intervals(100, 10)
    rate = 0.0
    for _ in range(20):
        # A stream sends a batch an interval, or one a record if records are rarer.
        rate = streams * min(1_000 / now.plain_ms, records_per_s)
        now = intervals(rate, now, least_ms=100)
    allowed = max(400.0, streams / 5)

    assert rate <= allowed * 1.05 or streams * records_per_s <= 1_000
    assert 100 <= now.plain_ms <= 5_000
    assert 10 <= now.urgent_ms <= 500


def test_few_streams_are_flushed_soon() -> None:
    """A quiet collector keeps latency low."""
    assert intervals(20, Intervals(100, 10), least_ms=100) == Intervals(100, 10)


def test_database_clock_goes_on_between_measurements() -> None:
    """Between measurements the monotonic clock counts; a step of the wall clock changes nothing."""
    now = [100.0]
    clock = DatabaseClock(lambda: now[0], lambda: 2e9)
    clock.measured(5_000_000, 99.0, 100.0)
    now[0] = 102.0

    assert clock.now_us() == 5_000_000 + 2_500_000


def test_slow_answer_does_not_replace_a_good_measurement() -> None:
    """A measurement with a long round trip says little and is passed over."""
    now = [0.0]
    clock = DatabaseClock(lambda: now[0], lambda: 0.0)
    clock.measured(1_000_000, 0.0, 0.0)
    now[0] = 10.0
    clock.measured(99_000_000, 5.0, 10.0)

    assert clock.now_us() == 11_000_000
