"""What is wrong now, each thing once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outrider.gap_reasons import ERASED
from outrider_collector.store.reading.causes import causes
from outrider_collector.store.reading.types import Gap

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


def lost(number: int, records: int, worker: str = "w", reason: str = "backlog_full") -> Gap:
    """A gap noticed ``number`` minutes after noon."""
    at = AT + timedelta(minutes=number)
    return Gap(number, "s", worker, "h", 1, records, False, 10, reason, "", at, at, at)


def test_a_cause_sums_up_all_gaps_of_a_worker() -> None:
    """What was lost is the sum of its rows, since the first; what was erased was not lost."""
    rows = [lost(4, 7), lost(3, 100), lost(2, 5, "other"), lost(1, 1_000, reason=ERASED)]

    one, other = sorted(causes([], [], [], rows), key=lambda cause: cause.subject, reverse=True)

    assert one.gap is not None
    assert (one.gap.id, one.gap.records, one.gap.bytes, one.gap_count) == (4, 107, 20, 2)
    assert one.since == AT + timedelta(minutes=3)
    assert (other.gap and other.gap.records, other.gap_count) == (5, 1)
