"""The sliding window, as arithmetic over buckets.

A bucket is a second (or a few, for long windows) with a count. A bucket that starts at ``b`` is in
the window that ends at ``T`` when ``b <= T < b + window``: a record exactly one window after
another is never counted with it. The *course* of a key is its count over T, a step function: each
bucket adds its count at ``b`` and takes it away at ``b + window``. All times are whole seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Bucket = tuple[int, int, int]
"""Start, count, and when it was last added to (by the evaluator's clock)."""

Course = list[tuple[int, int]]
"""(from when, count), rising in time; before the first the count is 0, after the last it stays."""

MAX_BUCKETS: Final = 2_000
"""Buckets of one key; beyond it the oldest go. A window has at most 600."""

MAX_TOLD: Final = 16


class Span(NamedTuple):
    """A stretch of time, end excluded."""

    start: int
    end: int


def add(buckets: tuple[Bucket, ...], start: int, n: int, touched: int) -> tuple[Bucket, ...]:
    """Return the buckets, in order, with ``n`` more in the one at ``start``."""
    # Records come mostly in order: look from the end.
    at = len(buckets)
    while at and buckets[at - 1][0] > start:
        at -= 1
    if at and buckets[at - 1][0] == start:
        merged = (start, buckets[at - 1][1] + n, touched)
        return (*buckets[: at - 1], merged, *buckets[at:])
    more = (*buckets[:at], (start, n, touched), *buckets[at:])
    return more if len(more) <= MAX_BUCKETS else more[-MAX_BUCKETS:]


def course(buckets: Iterable[Bucket], window: int) -> Course:
    """Return the count over time."""
    return _summed((start, start + window, n) for start, n, _ in buckets)


def course_of_values(seen: Iterable[Iterable[Span]], window: int) -> Course:
    """Return over time how many values were seen within the window; each has stretches of its own.

    The sightings of a stretch are less than a window apart: its value is there all along.
    """
    return _summed((s.start, s.end + window, 1) for stretches in seen for s in stretches)


def windows_above(steps: Course, above: float, window: int, of: int) -> Course:
    """Return over time how many of the last ``of`` windows, one after the other, are above."""
    return _summed(
        (span.start + i * window, span.end + i * window, 1)
        for span in spans_above(steps, above)
        for i in range(of)
    )


def _summed(parts: Iterable[tuple[int, int, int]]) -> Course:
    """Return the sum of parts (from, to, n) over time."""
    changes: dict[int, int] = {}
    for start, end, n in parts:
        changes[start] = changes.get(start, 0) + n
        changes[end] = changes.get(end, 0) - n
    result: Course = []
    count = 0
    for at in sorted(changes):
        if changes[at]:
            count += changes[at]
            result.append((at, count))
    return result


def count_at(steps: Course, at: int) -> int:
    """Return the count of the window that ends at ``at``."""
    count = 0
    for start, value in steps:
        if start > at:
            break
        count = value
    return count


def spans_above(steps: Course, above: float) -> list[Span]:
    """Return when the count is more than ``above``, in order, never touching each other."""
    spans: list[Span] = []
    start: int | None = None
    for at, count in steps:
        if count > above and start is None:
            start = at
        elif count <= above and start is not None:
            spans.append(Span(start, at))
            start = None
    return spans


def first_at_most(steps: Course, limit: float, since: int) -> int:
    """Return the first time from ``since`` on at which the count is no more than ``limit``.

    It exists: after the last record has left the window the count is 0.
    """
    if count_at(steps, since) <= limit:
        return since
    return next((at for at, count in steps if at > since and count <= limit), since)


def first_over(steps: Course, limit: float, since: int) -> int | None:
    """Return the first time after ``since`` at which the count is more than ``limit``, or None."""
    return next((at for at, count in steps if at > since and count > limit), None)


def untold(spans: Sequence[Span], told: Sequence[Span], concluded: int | None) -> list[Span]:
    """Return the spans that no earlier episode has told.

    What overlaps a told stretch belongs to it: late records that only lengthen the past say nothing
    new. But where the condition still holds beyond it (after ``concluded``), the rest is news.
    """
    news: list[Span] = []
    for span in spans:
        ends = [t.end for t in told if span.start < t.end and span.end >= t.start]
        if not ends:
            news.append(span)
        elif span.end > max(ends) and (concluded is None or span.end > concluded):
            news.append(Span(max(span.start, *ends), span.end))
    return news


def tell(told: Sequence[Span], stretch: Span, oldest_bucket: int) -> list[Span]:
    """Return the told stretches with one more, without those that no bucket can touch any more."""
    kept = [span for span in told if span.end >= oldest_bucket]
    return sorted([*kept, stretch])[-MAX_TOLD:]
