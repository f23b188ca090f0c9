"""The sliding window against counting by hand."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting import windows
from outrider_alerting.windows import Bucket, Span

buckets = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), max_size=25)
window_lengths = st.integers(1, 20)


def _added(additions: list[tuple[int, int]]) -> tuple[Bucket, ...]:
    result: tuple[Bucket, ...] = ()
    for start, n in additions:
        result = windows.add(result, start, n, 0)
    return result


def _by_hand(additions: list[tuple[int, int]], window: int, at: int) -> int:
    return sum(n for start, n in additions if start <= at < start + window)


@settings(deadline=None)
@given(buckets, window_lengths)
def test_course_is_the_count_at_every_second(additions: list[tuple[int, int]], window: int) -> None:
    """The course gives, for each second, the records of the window that ends there."""
    steps = windows.course(_added(additions), window)

    for at in range(-1, 85):
        assert windows.count_at(steps, at) == _by_hand(additions, window, at)


@settings(deadline=None)
@given(buckets, window_lengths, st.integers(0, 6))
def test_spans_are_exactly_the_seconds_above(
    additions: list[tuple[int, int]], window: int, above: int
) -> None:
    """A second is in a span if and only if its window holds more than the threshold."""
    spans = windows.spans_above(windows.course(_added(additions), window), above)

    inside = {at for span in spans for at in range(span.start, span.end)}
    assert inside == {at for at in range(85) if _by_hand(additions, window, at) > above}
    assert all(a.end < b.start for a, b in pairwise(spans))


@settings(deadline=None)
@given(buckets, window_lengths, st.integers(0, 6), st.integers(0, 70))
def test_first_times_are_the_first(
    additions: list[tuple[int, int]], window: int, limit: int, since: int
) -> None:
    """The first time at most, and the first time over, are what a search second by second finds."""
    steps = windows.course(_added(additions), window)
    seconds = range(since, 100)

    at_most = next(at for at in seconds if _by_hand(additions, window, at) <= limit)
    assert windows.first_at_most(steps, limit, since) == at_most
    if _by_hand(additions, window, since) <= limit:
        over = next((at for at in seconds if _by_hand(additions, window, at) > limit), None)
        assert windows.first_over(steps, limit, since) == over


@settings(deadline=None)
@given(buckets)
def test_buckets_stay_in_order_and_lose_nothing(additions: list[tuple[int, int]]) -> None:
    """Whatever the order of arrival, buckets are sorted, distinct, and sum to what came."""
    result = _added(additions)

    assert [b[0] for b in result] == sorted({start for start, _ in additions})
    assert sum(b[1] for b in result) == sum(n for _, n in additions)


def test_buckets_have_a_limit() -> None:
    """Past the limit the oldest buckets go, the newest stay."""
    result: tuple[Bucket, ...] = ()
    for start in range(windows.MAX_BUCKETS + 5):
        result = windows.add(result, start, 1, 0)

    assert len(result) == windows.MAX_BUCKETS
    assert result[0][0] == 5


def test_what_was_told_is_not_news() -> None:
    """A span that an earlier episode has told says nothing new, unless it still goes on."""
    told = [Span(10, 20)]

    assert windows.untold([Span(9, 22)], told, concluded=30) == []
    assert windows.untold([Span(9, 40)], told, concluded=30) == [Span(20, 40)]
    assert windows.untold([Span(20, 25)], told, concluded=30) == [Span(20, 25)]
    assert windows.untold([Span(2, 5)], told, concluded=30) == [Span(2, 5)]
