"""Pace: how often agents send, so that a collector sees at most 500 batches a second.

A batch belongs to one stream, so the number of streams that carry records and the interval at which
each is flushed give the rate. Few streams are flushed soon (short latency costs nothing then), many
less often (batches get larger, which is also cheaper to store). Pure.
"""

from __future__ import annotations

from typing import NamedTuple

BATCHES_PER_S = 400
"""What intervals are chosen for; the rest of the 500 is for bursts and urgent batches."""
URGENT_SHARE = 0.1
"""Urgent records wait this share of the plain interval: few batches carry one."""

SHORTEN = 0.7
"""Share of itself to which an interval may shrink in a second."""


class Intervals(NamedTuple):
    """After how long a batch leaves its agent, in milliseconds."""

    plain_ms: int
    urgent_ms: int


def intervals(
    batches_per_s: float, present: Intervals, *, least_ms: int, greatest_ms: int = 5_000
) -> Intervals:
    """Return the intervals that bring ``batches_per_s``, seen under ``present``, to the aim.

    A stream that carries records sends about one batch an interval, so rate times interval is how
    many streams there are; repeated, this settles. Intervals become longer at once and shorter step
    by step: a second in which commits stood still says nothing about the streams.
    """
    streams = batches_per_s * present.plain_ms / 1_000
    wanted_ms = max(int(streams * 1_000 / BATCHES_PER_S), int(present.plain_ms * SHORTEN))
    plain_ms = max(least_ms, min(greatest_ms, wanted_ms))
    return Intervals(plain_ms, max(10, int(plain_ms * URGENT_SHARE)))


def differs(old: Intervals, new: Intervals) -> bool:
    """Whether the change is worth a message to every agent: a quarter or more."""
    return abs(new.plain_ms - old.plain_ms) * 4 >= old.plain_ms
