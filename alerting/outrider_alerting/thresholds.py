"""What the records of one key say about one rule: the heart of ``match`` and ``count``.

The condition at time T is *count of the window that ends at T > above*. More records can only make
it truer, so a firing is concluded from what is there, on arrival, for late records too. Its end
(*count <= resolve*) could still be undone by a record on its way, so it is concluded for T only
when the watermarks have passed T; ``concluded_s`` is the last T for which that is so, None where no
source is left to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from outrider_alerting.durations import SECOND_US
from outrider_alerting.kinds import is_higher
from outrider_alerting.losses import GROWS_S
from outrider_alerting.tallies import needed
from outrider_alerting.windows import (
    Course,
    Span,
    count_at,
    course,
    course_of_values,
    first_at_most,
    first_over,
    spans_above,
    tell,
    untold,
    windows_above,
)

if TYPE_CHECKING:
    from outrider_alerting.episodes import Episode, Finding
    from outrider_alerting.kinds import Priority
    from outrider_alerting.state import RuleState
    from outrider_alerting.terms import Threshold

MAX_MOVES: Final = 32
"""Moves of one key in one step; what is left follows in the next step."""


class Move(NamedTuple):
    """One finding that moved the episode."""

    finding: Finding
    before: Episode
    after: Episode
    at_s: int
    value: float
    priority: Priority


def advance(
    state: RuleState,
    spec: Threshold,
    *,
    now_s: int,
    concluded_s: int | None,
    may_open: bool,
) -> tuple[RuleState, list[Move]]:
    """Return the state after everything that can be concluded now, and the moves in between."""
    moves: list[Move] = []
    run = _Run(state, spec, now_s, concluded_s, may_open=may_open)
    while len(moves) < MAX_MOVES:
        move = run.next_move()
        if move is None:
            break
        moves.append(move)
    return run.result(), moves


class _Run:
    """One key in one step: the course is worked out once, then moves are taken one by one."""

    def __init__(
        self,
        state: RuleState,
        spec: Threshold,
        now_s: int,
        concluded_s: int | None,
        *,
        may_open: bool,
    ) -> None:
        self.spec = spec
        self.now_s = now_s
        self.concluded_s = concluded_s
        self.may_open = may_open
        self.state = state
        self.episode = state.episode
        self.told: list[Span] = list(state.told)
        self.floor_s = state.floor_s
        self.blocked = False
        self.moved = False
        self.wake_s: int | None = None
        self.timer_s: int | None = None
        self.course: Course = (
            course_of_values(state.values.values(), spec.window_s)
            if spec.counts_values
            else course(state.buckets, spec.window_s)
        )
        self._bad = self._over(spec.above)
        self._still = self._over(spec.resolve)
        self.priority: Priority = state.opened.priority if state.opened else spec.rungs[0][0]
        self.for_s = spec.for_us // SECOND_US
        self.keep_s = spec.keep_us // SECOND_US

    def _over(self, above: float) -> tuple[Course, float]:
        """Return a course and the limit above which the condition holds."""
        n, of = self.spec.windows
        if of == 1:
            return self.course, above
        return windows_above(self.course, above, self.spec.window_s, of), n - 1

    def result(self) -> RuleState:
        """Return the state as the moves have left it."""
        episode = self.episode
        settled = {
            "inactive": self.concluded_s,
            "firing": self.floor_s,
            "recovering": (episode.ceased_us or 0) // SECOND_US,
        }.get(episode.state)
        return msgspec.structs.replace(
            self.state,
            buckets=needed(self.state.buckets, self.spec, settled),
            phase=episode.state,
            started_us=episode.started_us,
            fired_us=episode.fired_us,
            ceased_us=episode.ceased_us,
            told=tuple(self.told),
            floor_s=self.floor_s,
            wake_s=self.wake_s,
            timer_us=None if self.timer_s is None else self.timer_s * SECOND_US,
            blocked=self.blocked,
        )

    def next_move(self) -> Move | None:
        """Take the next move that can be concluded, or return None."""
        self.wake_s = self.timer_s = None
        if self.episode.state == "firing":
            return self._ending()
        if self.episode.state == "recovering":
            return self._staying_away()
        return self._beginning()

    def _beginning(self) -> Move | None:
        news = untold(spans_above(*self._bad), self.told, self.concluded_s)
        lasting = [span for span in news if span.end - span.start >= max(1, self.for_s)]
        ready = [s for s in lasting if not self.for_s or s.start + self.for_s <= self.now_s]
        self.blocked = bool(ready) and not self._allowed()
        if self.blocked:
            return None
        if self.state.blocked:
            ready = self._still_true(ready)
        if ready:
            return self._fire(ready)
        alive = [span for span in news if not self._concluded(span.end)]
        if self.episode.state == "pending":
            return self._pending(news, alive, lasting)
        if alive and self.for_s:
            self.blocked = not self._allowed()
            return None if self.blocked else self._move("holds", alive[0].start)
        return None

    def _still_true(self, ready: list[Span]) -> list[Span]:
        """Leave what came and went while there was no place: the overflow alert has told it."""
        for span in ready:
            if self._concluded(span.end):
                self.told = tell(self.told, span, self.state.buckets[0][0])
        return [span for span in ready if not self._concluded(span.end)]

    def _pending(self, news: list[Span], alive: list[Span], lasting: list[Span]) -> Move | None:
        if not alive:
            ended = news[-1].end if news else self.now_s
            return self._move("ceased", ended)
        self.wake_s = alive[-1].end
        self.timer_s = min((span.start + self.for_s for span in lasting), default=None)
        return None

    def _fire(self, ready: list[Span]) -> Move:
        first = ready[0]
        at = first.start + self.for_s
        # What lies in the past altogether is one alert, however often it came and went: news that
        # late is told once.
        past = [span.start for span in ready if self._concluded(span.end)]
        self.floor_s = max(self.floor_s, at, *past)
        # What has lasted just so long was true up to then.
        counted_s = at if at < first.end else at - 1
        return self._move("lasted", at, started_s=first.start, counted_s=counted_s)

    def _ending(self) -> Move | None:
        end = first_at_most(*self._still, self.floor_s)
        if (raised := self._raised(end)) is not None:
            return raised
        if not self._concluded(end):
            if (grown := self._grown()) is not None:
                return grown
            self.wake_s = end
            if self.concluded_s is not None:
                # No end up to here, and no record on its way can make one.
                self.floor_s = max(self.floor_s, self.concluded_s)
            return None
        return self._move("ceased" if self.keep_s else "stayed_away", end)

    def _raised(self, end: int) -> Move | None:
        """Tell when the episode has reached a higher threshold than the one it is known for."""
        begun = self.episode.started_us // SECOND_US
        if len(self.spec.rungs) == 1:
            return None
        for priority, above in reversed(self.spec.rungs):
            if not is_higher(priority, self.priority):
                break
            spans = spans_above(*self._over(above))
            reached = [max(s.start, begun) for s in spans if s.end > begun and s.start < end]
            if reached:
                self.priority = priority
                at_s = min(reached[0], self.now_s)
                value = count_at(self.course, reached[0])
                return Move("holds", self.episode, self.episode, at_s, value, priority)
        return None

    def _grown(self) -> Move | None:
        """Tell that more was lost than the alert says."""
        loss = self.state.loss
        if loss is None or not loss.is_news or self.moved:
            return None
        if self.now_s < loss.told_s + GROWS_S:
            self.timer_s = loss.told_s + GROWS_S
            return None
        self.moved = True
        return Move("holds", self.episode, self.episode, self.now_s, loss.records, self.priority)

    def _height(self, at_s: int, value: int) -> int:
        """Find the priority of what begins, and return the count that it is known for.

        What has gone on to a higher threshold by now is told once, as that.
        """
        self.priority = self.spec.rungs[0][0]
        for priority, above in self.spec.rungs[1:]:
            if any(span.end > at_s for span in spans_above(*self._over(above))):
                self.priority = priority
                value = max(count for at, count in self.course if at >= at_s - self.spec.reach_s)
        return value

    def _staying_away(self) -> Move | None:
        ceased = (self.episode.ceased_us or 0) // SECOND_US
        again = first_over(*self._still, ceased)
        if again is not None and again < ceased + self.keep_s:
            self.floor_s = again
            return self._move("holds", again)
        if self._concluded(ceased + self.keep_s):
            return self._move("stayed_away", ceased + self.keep_s)
        self.wake_s = ceased + self.keep_s
        return None

    def _allowed(self) -> bool:
        return self.may_open or self.episode.is_open

    def _concluded(self, at_s: int) -> bool:
        return self.concluded_s is not None and at_s <= self.concluded_s

    def _move(
        self,
        finding: Finding,
        at_s: int,
        *,
        started_s: int | None = None,
        counted_s: int | None = None,
    ) -> Move:
        """Move the episode; the count that made it so is that of ``counted_s``, else ``at_s``."""
        counted_s = at_s if counted_s is None else counted_s
        self.moved = True
        # A record may be a little ahead of the evaluator's clock; what happened has happened.
        at_s = min(at_s, self.now_s)
        before = self.episode
        started_us = None if started_s is None else min(started_s, self.now_s) * SECOND_US
        after = before.moved(finding, at_s * SECOND_US, started_us=started_us)
        value = count_at(self.course, counted_s)
        if after.state in {"pending", "firing"} and before.state in {"inactive", "pending"}:
            value = self._height(counted_s, value)
        move = Move(finding, before, after, at_s, value, self.priority)
        if after.state == "resolved":
            self._close(after, at_s)
        self.episode = after.over()
        return move

    def _close(self, episode: Episode, at_s: int) -> None:
        """Remember what this episode has told, so that it is not told again."""
        self.floor_s = 0
        if episode.fired_us is None or not self.state.buckets:
            return
        oldest = self.state.buckets[0][0]
        begun = min(oldest, episode.started_us // SECOND_US)
        self.told = tell(self.told, Span(begun, at_s), oldest)
