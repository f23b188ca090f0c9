"""Figures of one collector: what it published about itself every five seconds.

Counts since the start, and the last commits' times for percentiles. No locks: one event loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 512
"""Commits that the percentiles are taken over."""


@dataclass(slots=True)
class Figures:
    """What the committer counts."""

    records: int = 0
    batches: int = 0
    commits: int = 0
    rewinds: int = 0
    deferred: int = 0
    quarantined: int = 0
    uncounted: int = 0
    """Records that no rule was held against, because counting them failed."""
    failures: int = 0
    mistakes: int = 0
    """Sessions that were ended because their batches met a mistake of ours."""
    last_error: str = ""
    _read_at_s: float = 0.0
    _read_records: int = 0
    commit_ms_total: float = 0.0
    """Time of all commits together."""
    commit_ms: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def committed(self, duration_ms: float, batches: int, records: int) -> None:
        """Count one commit."""
        self.commits += 1
        self.batches += batches
        self.records += records
        self.commit_ms.append(duration_ms)
        self.commit_ms_total += duration_ms
        self.last_error = ""

    def failed(self, error: str) -> None:
        """Count one commit that failed and will be tried again."""
        self.failures += 1
        self.last_error = error[:500]

    def mistaken(self, error: str) -> None:
        """Count one session that was ended because its batches cannot be committed."""
        self.mistakes += 1
        self.last_error = error[:500]

    def percentile_ms(self, share: float) -> float:
        """Return how long ``share`` of the last commits took at most; 0 before the first."""
        ordered = sorted(self.commit_ms)
        if not ordered:
            return 0.0
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)

    def status(self, now_s: float) -> dict[str, Any]:
        """Return the figures for the status row; rates are since the call before."""
        passed_s = now_s - self._read_at_s
        rate = (self.records - self._read_records) / passed_s if self._read_at_s else 0.0
        self._read_at_s, self._read_records = now_s, self.records
        return {**self.counts(), "records_per_s": round(rate, 1)}

    def counts(self) -> dict[str, Any]:
        """Return what was counted since the start; asking changes nothing."""
        return {
            "records": self.records,
            "batches": self.batches,
            "commits": self.commits,
            "commit_ms_p50": self.percentile_ms(0.5),
            "commit_ms_p99": self.percentile_ms(0.99),
            "commit_ms_total": round(self.commit_ms_total, 1),
            "rewinds": self.rewinds,
            "deferred": self.deferred,
            "quarantined": self.quarantined,
            "uncounted": self.uncounted,
            "failures": self.failures,
            "sessions_ended_by_mistake": self.mistakes,
            "last_error": self.last_error,
        }
