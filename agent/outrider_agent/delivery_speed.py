"""How fast a backlog is delivered, and when that is done: for ``outrider agent status``.

Pure.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_SAMPLES = 30
"""Taken once a second: the last half minute says how it goes."""
_FEW_S = 3.0


class _Sample(NamedTuple):
    at_s: float
    delivered_bytes: int
    backlog_bytes: int


class DeliverySpeed:
    """What was delivered and what waits, over the last half minute. Times are monotonic."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)
        self._delivered_bytes = 0

    def delivered(self, size_bytes: int) -> None:
        """Count bytes that were acknowledged; less than nothing where a database went back."""
        self._delivered_bytes += max(0, size_bytes)

    def look(self, now_s: float, backlog_bytes: int) -> None:
        """Take note of what waits now."""
        self._samples.append(_Sample(now_s, self._delivered_bytes, backlog_bytes))

    @property
    def bytes_per_s(self) -> int:
        """How much is delivered in a second; 0 while too little is known."""
        over = self._over()
        if over is None:
            return 0
        first, last = over
        return int((last.delivered_bytes - first.delivered_bytes) / (last.at_s - first.at_s))

    @property
    def left_s(self) -> int:
        """So many seconds until nothing waits, if it goes on like this; 0 where nobody can tell.

        What is written meanwhile counts: a backlog that does not shrink has no end.
        """
        over = self._over()
        if over is None:
            return 0
        first, last = over
        shrinks = (first.backlog_bytes - last.backlog_bytes) / (last.at_s - first.at_s)
        return int(last.backlog_bytes / shrinks) if shrinks > 0 else 0

    def _over(self) -> tuple[_Sample, _Sample] | None:
        if not self._samples or self._samples[-1].at_s - self._samples[0].at_s < _FEW_S:
            return None
        return self._samples[0], self._samples[-1]
