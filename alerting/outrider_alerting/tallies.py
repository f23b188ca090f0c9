"""What one key has counted: buckets of time, values and names; added to, and pruned.

What goes is decided by when it was last added to, by the evaluator's clock, and by what conclusions
can still look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting.durations import SECOND_US
from outrider_alerting.state import LINGER_S, RuleState
from outrider_alerting.windows import MAX_TOLD, Bucket, Span, add

if TYPE_CHECKING:
    from outrider_alerting.terms import Threshold

MAX_NAMES: Final = 10
MAX_VALUES: Final = 1_001
"""Different values of a key that are told apart: one more than a threshold can be."""
LATE_S: Final = 60
"""A bucket that was last added to so much later than it began is late."""


Name = tuple[int, int, int]
"""A record: its second, stream and offset."""


def pruned(state: RuleState, spec: Threshold, now_s: int) -> RuleState:
    """Return the state without buckets that nothing can need any more.

    Decided by when they were last added to, not by how far the watermarks are: so it makes no
    difference when, or whether, this is called between two additions.
    """
    cut = now_s - spec.reach_s - LINGER_S
    # As long as the oldest stays, so may those behind it: looking at each at every addition costs
    # more than they do.
    if not state.buckets or state.buckets[0][2] > cut:
        return state
    newest = state.buckets[-1][0]
    held = newest - spec.reach_s if state.phase != "inactive" else newest
    buckets = tuple(b for b in state.buckets if b[2] > cut or (b[0] > held))
    if len(buckets) == len(state.buckets):
        return state
    if not buckets:
        return msgspec.structs.replace(state, buckets=(), names=(), told=(), values={}, expiry_s=0)
    oldest = buckets[0][0]
    return msgspec.structs.replace(
        state,
        buckets=buckets,
        names=tuple(name for name in state.names if name[0] >= oldest),
        told=tuple(span for span in state.told if span.end >= oldest),
        values=_recent(state.values, oldest),
    )


def counted(
    state: RuleState,
    spec: Threshold,
    *,
    bucket_us: int,
    n: int,
    names: tuple[tuple[int, int], ...],
    now_s: int,
    value: str | None = None,
) -> RuleState:
    """Return the state with ``n`` more records in the second that begins at ``bucket_us``.

    ``value`` is what they have in common, where different values are counted.
    """
    second = bucket_us // SECOND_US
    start = second - second % spec.step_s
    return msgspec.structs.replace(
        state,
        buckets=add(state.buckets, start, n, now_s),
        names=newest(state.names, [(second, stream, offset) for stream, offset in names]),
        values=state.values if value is None else _seen(state.values, value, start, spec.window_s),
        expiry_s=max(state.expiry_s, now_s + spec.reach_s + LINGER_S),
    )


def _seen(
    values: dict[str, tuple[Span, ...]], value: str, start: int, window_s: int
) -> dict[str, tuple[Span, ...]]:
    """Return the sightings with one more: those less than a window apart are one stretch."""
    begin = end = start
    apart: list[Span] = []
    for span in values.get(value, ()):
        if span.start - window_s <= end and begin <= span.end + window_s:
            begin, end = min(begin, span.start), max(end, span.end)
        else:
            apart.append(span)
    if value not in values and len(values) >= MAX_VALUES:
        oldest = min(values, key=lambda name: (values[name][-1].end, name))
        values = {name: spans for name, spans in values.items() if name != oldest}
    return values | {value: tuple(sorted([*apart, Span(begin, end)])[-MAX_TOLD:])}


def _recent(values: dict[str, tuple[Span, ...]], oldest: int) -> dict[str, tuple[Span, ...]]:
    if not values:
        return values
    kept = {name: tuple(s for s in spans if s.end >= oldest) for name, spans in values.items()}
    return {name: spans for name, spans in kept.items() if spans}


def newest(names: tuple[Name, ...], more: list[Name]) -> tuple[Name, ...]:
    """Return the newest of both, in order; what comes is mostly newer than what is there."""
    if not more:
        return names
    if len(more) > 1:
        more.sort()
    known = (*names, *more)
    if names and more[0] < names[-1]:
        known = tuple(sorted(known))
    return known[-MAX_NAMES:]


def settled(state: RuleState, spec: Threshold, concluded_s: int | None) -> RuleState:
    """Return an inactive key's state without buckets that no conclusion can look at any more."""
    buckets = needed(state.buckets, spec, concluded_s)
    if len(buckets) == len(state.buckets):
        return state
    return msgspec.structs.replace(state, buckets=buckets)


def needed(
    buckets: tuple[Bucket, ...], spec: Threshold, settled_s: int | None
) -> tuple[Bucket, ...]:
    """Return the buckets that windows which end after ``settled_s`` look at, and all late ones.

    More of the time of a late one may be on its way; those go by the clock (``pruned``).
    """
    if settled_s is None:
        return buckets
    cut = settled_s - spec.reach_s
    return tuple(b for b in buckets if b[0] > cut or b[2] - b[0] > LATE_S)
