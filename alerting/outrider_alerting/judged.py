"""What the records of one key say where more of them could say otherwise.

Fewer than so many, a share, a multiple of a baseline, a number: each is concluded for time T only
when the watermarks have passed T, never before. So a key has a place in time (``floor_s``) up to
which it was judged, and goes from one time at which something changes to the next: what it measures
changes only where a record enters or leaves a window. What comes late for a time that was judged
changes nothing about that time; it counts in the windows after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from outrider_alerting.durations import SECOND_US
from outrider_alerting.kinds import is_higher
from outrider_alerting.thresholds import Move

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outrider_alerting.episodes import Finding
    from outrider_alerting.kinds import Priority
    from outrider_alerting.state import Numbers, RuleState
    from outrider_alerting.terms import Judgement
    from outrider_alerting.windows import Bucket

MAX_POINTS: Final = 64
"""Times of one key that one step judges; the rest follow in the next."""


class Verdict(NamedTuple):
    """What a time is like."""

    value: float
    priority: Priority | None
    """None: the condition does not hold."""
    still: bool
    """What fires goes on."""


def measured(state: RuleState, spec: Judgement, at_s: int) -> float | None:
    """Return the value of the window that ends at ``at_s``; None: it cannot be told."""
    if spec.measure == "gauge":
        return _number(state, spec, at_s)
    n = _count(state.buckets, at_s - spec.window_s, at_s)
    if spec.measure == "count":
        return n
    if spec.measure == "ratio":
        whole = _count(state.others, at_s - spec.window_s, at_s)
        return n / whole if whole >= max(1, spec.at_least) else None
    if n < spec.at_least:
        return None
    before = at_s - spec.window_s
    baseline = _count(state.buckets, before - spec.baseline_s, before)
    # Less than one record a window is no baseline to multiply.
    return n / max(1.0, baseline * spec.window_s / spec.baseline_s)


def _count(buckets: Iterable[Bucket], after_s: int, until_s: int) -> int:
    return sum(n for start, n, _ in buckets if after_s < start <= until_s)


def _number(state: RuleState, spec: Judgement, at_s: int) -> float | None:
    inside: list[Numbers] = [
        numbers for numbers in state.numbers if at_s - spec.window_s < numbers[0] <= at_s
    ]
    if not inside:
        return None
    if spec.use == "last":
        return inside[-1][4]
    if spec.use == "max":
        return max(numbers[3] for numbers in inside)
    if spec.use == "min":
        return min(numbers[2] for numbers in inside)
    total = sum(numbers[1] for numbers in inside)
    if spec.use == "sum":
        return total
    return total / max(1, _count(state.buckets, at_s - spec.window_s, at_s))


def verdict(state: RuleState, spec: Judgement, at_s: int) -> Verdict | None:
    """Return what a time is like; None: nothing can be said, and nothing changes."""
    n, of = spec.windows
    values = [measured(state, spec, at_s - i * spec.window_s) for i in range(of)]
    if values[0] is None and spec.measure == "gauge" and spec.no_data == "keep":
        return None
    places = sorted((_place(spec, value) for value in values), reverse=True)
    place = places[n - 1]
    still = sum(_is_still(spec, value) for value in values) >= n
    priority = spec.rungs[place][0] if place >= 0 else None
    return Verdict(values[0] or 0.0, priority, still or priority is not None)


def _place(spec: Judgement, value: float | None) -> int:
    """Return the place of the highest threshold that a value has passed; -1: none."""
    if value is None:
        fires = spec.measure == "gauge" and spec.no_data == "fire"
        return 0 if fires else -1
    passed = [value < level if spec.is_below else value > level for _, level in spec.rungs]
    return max((place for place, is_passed in enumerate(passed) if is_passed), default=-1)


def _is_still(spec: Judgement, value: float | None) -> bool:
    if value is None or spec.resolve is None:
        return _place(spec, value) >= 0
    return value < spec.resolve if spec.is_below else value > spec.resolve


def changes(state: RuleState, spec: Judgement) -> Iterator[int]:
    """Yield the times at which the value may change, in no order."""
    lengths = [i * spec.window_s for i in range(spec.windows[1] + 1)]
    if spec.baseline_s:
        lengths.append(spec.window_s + spec.baseline_s)
    for buckets in (state.buckets, state.others):
        for start, _, _ in buckets:
            for length in lengths:
                yield start + length


def advance(
    state: RuleState, spec: Judgement, *, now_s: int, until_s: int, may_open: bool
) -> tuple[RuleState, list[Move]]:
    """Return the state after every time up to ``until_s`` is judged, and the moves in between."""
    run = _Run(state, spec, now_s, may_open=may_open)
    run.judge(until_s)
    return run.result(), run.moves


def next_change(state: RuleState, spec: Judgement) -> int | None:
    """Return the first time after those that were judged at which something may change."""
    after = (at for at in changes(state, spec) if at > state.floor_s)
    times = [*after, *_deadlines(state, spec)]
    if state.wake_s is not None and state.wake_s > state.floor_s:
        times.append(state.wake_s)
    return min(times, default=None)


def _deadlines(state: RuleState, spec: Judgement) -> Iterator[int]:
    if state.phase == "pending":
        yield max(state.floor_s + 1, state.started_us // SECOND_US + spec.for_s)
    elif state.phase == "recovering" and state.ceased_us is not None:
        yield max(state.floor_s + 1, state.ceased_us // SECOND_US + spec.keep_s)


class _Run:
    """One key in one step."""

    def __init__(self, state: RuleState, spec: Judgement, now_s: int, *, may_open: bool) -> None:
        self.spec = spec
        self.now_s = now_s
        self.may_open = may_open
        self.state = state
        self.moves: list[Move] = []
        self.priority: Priority = state.opened.priority if state.opened else spec.rungs[0][0]

    def result(self) -> RuleState:
        return msgspec.structs.replace(self.state, wake_s=next_change(self.state, self.spec))

    def judge(self, until_s: int) -> None:
        """Judge one time after the other."""
        if self.state.blocked:
            # What came and went while there was no place: the overflow alert has told it.
            latest = max((at for at in changes(self.state, self.spec) if at <= until_s), default=0)
            floor_s = max(self.state.floor_s, latest - 1)
            self.state = msgspec.structs.replace(self.state, floor_s=floor_s, blocked=False)
        for _ in range(MAX_POINTS):
            at_s = next_change(self.state, self.spec)
            if at_s is None or at_s > until_s:
                return
            found = verdict(self.state, self.spec, at_s)
            if found is not None and not self._apply(at_s, found):
                self.state = msgspec.structs.replace(self.state, blocked=True, wake_s=at_s)
                return
            self.state = msgspec.structs.replace(self.state, floor_s=at_s)

    def _apply(self, at_s: int, found: Verdict) -> bool:
        """Move the episode by what a time is like; False where it has no place to open."""
        holds = found.priority is not None
        phase = self.state.phase
        if phase == "inactive":
            if holds and not self.may_open:
                return False
            if holds:
                self._move("holds" if self.spec.for_s else "lasted", at_s, found)
        elif phase == "pending":
            if not holds:
                self._move("ceased", at_s, found)
            elif at_s >= self.state.started_us // SECOND_US + self.spec.for_s:
                self._move("lasted", at_s, found)
        elif phase == "recovering" and found.still:
            self._move("holds", at_s, found)
        elif phase == "recovering":
            if at_s >= (self.state.ceased_us or 0) // SECOND_US + self.spec.keep_s:
                self._move("stayed_away", at_s, found)
        elif not found.still:
            self._move("ceased" if self.spec.keep_s else "stayed_away", at_s, found)
        elif found.priority is not None and self._has_risen(found.priority):
            self.priority = found.priority
            episode = self.state.episode
            self.moves.append(Move("holds", episode, episode, at_s, found.value, found.priority))
        return True

    def _has_risen(self, priority: Priority) -> bool:
        return len(self.spec.rungs) > 1 and is_higher(priority, self.priority)

    def _move(self, finding: Finding, at_s: int, found: Verdict) -> None:
        before = self.state.episode
        if found.priority is not None and before.state in {"inactive", "pending"}:
            self.priority = found.priority
        after = before.moved(finding, min(at_s, self.now_s) * SECOND_US)
        self.moves.append(Move(finding, before, after, at_s, found.value, self.priority))
        self.state = self.state.with_episode(after.over(), opened=self.state.opened)
