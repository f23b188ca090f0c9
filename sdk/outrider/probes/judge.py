"""What the results of one probe come to: its state. Pure; the clock is a parameter, in seconds.

A state is better or worse: up, degraded, down. It gets worse when ``fall`` results in a row are
worse, to the mildest of them; better when ``rise`` in a row are better, to the worst of them. What
is no measurement acts otherwise: an announced *maintenance* holds at once, an *unknown* (could not
be looked at) keeps the state until there were ``fall`` of them. After maintenance, unknown and
expired the next result decides. A new probe is undecided until its first good result, or ``fall``
others: that somebody began to look is no reason for an alarm.

*Expired* is a probe from which no result came within two intervals and its timeout: nobody knows
how what it looks at is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.probes.result import Result
    from outrider.probes.spec import Spec

UNDECIDED = ""
FIRST_WITHIN_S = 10.0
"""The first look at each of many probes comes within so long, spread."""

_RANKS = {"up": 0, "degraded": 1, "down": 2}
_STATES = tuple(_RANKS)


class Verdict(NamedTuple):
    """A state and, for people, why."""

    state: str
    """A result's state, ``expired``, or empty while nothing is decided."""
    reason: str = ""


def decide(before: str, found: Sequence[str], rise: int, fall: int) -> str:
    """Return the state after the results ``found``, the last one last; ``before`` held so far."""
    last = found[-1]
    if last == "maintenance":
        return last
    if last == "unknown":
        alike = found[-fall:]
        return last if len(alike) == fall and set(alike) == {last} else before
    if before in {"unknown", "expired", "maintenance"}:
        return last
    ranks = _trailing(found)
    if before == UNDECIDED:
        if last == "up":
            return last
        return _STATES[min(ranks[-fall:])] if len(ranks) >= fall else before
    rank = _RANKS[before]
    if len(ranks) >= fall and min(ranks[-fall:]) > rank:
        return _STATES[min(ranks[-fall:])]
    if len(ranks) >= rise and max(ranks[-rise:]) < rank:
        return _STATES[max(ranks[-rise:])]
    return before


def _trailing(found: Sequence[str]) -> list[int]:
    """Return the ranks of the measurements at the end, which nothing else interrupts."""
    ranks: list[int] = []
    for state in reversed(found):
        if state not in _RANKS:
            break
        ranks.append(_RANKS[state])
    return ranks[::-1]


class Judge:
    """One probe: when it is due, and what its results come to."""

    def __init__(self, spec: Spec[Any], now_s: float, phase: float) -> None:
        """Begin to judge; ``phase``, from 0 to 1, spreads the looks of many over an interval."""
        self.spec = spec
        self.due_s = now_s + phase * min(spec.every_s, FIRST_WITHIN_S)
        self.verdict = Verdict(UNDECIDED)
        self.last: Result | None = None
        self.checked_s = now_s
        """When the last look ended; before any did, when judging began."""
        self.is_running = False
        self._found: deque[str] = deque(maxlen=max(spec.rise, spec.fall))

    @property
    def expires_s(self) -> float:
        """When it expires unless a look ends before."""
        return self.checked_s + 2 * self.spec.every_s + self.spec.timeout_s

    def start(self, now_s: float) -> bool:
        """Take the turn that is due; False when the look before still runs, which is left alone."""
        turns = max(0, int((now_s - self.due_s) // self.spec.every_s)) + 1
        self.due_s += turns * self.spec.every_s
        if self.is_running:
            return False
        self.is_running = True
        return True

    def finish(self, result: Result, now_s: float) -> Verdict:
        """Take a look's result and return the verdict, which may be the one before."""
        self.is_running = False
        self.last, self.checked_s = result, now_s
        self._found.append(result.state)
        state = decide(self.verdict.state, list(self._found), self.spec.rise, self.spec.fall)
        if state == result.state:
            self.verdict = Verdict(state, result.reason)
        elif state != self.verdict.state:
            # The mildest or the worst of several, and not the last: what it said then is not kept.
            self.verdict = Verdict(state, f"the last looks differ: {result.reason}")
        return self.verdict

    def as_of(self, now_s: float) -> Verdict:
        """Return the verdict as of now: expired where no look has ended for too long."""
        if now_s < self.expires_s or self.verdict.state == "expired":
            return self.verdict
        within_s = 2 * self.spec.every_s + self.spec.timeout_s
        return Verdict("expired", f"no look has ended within {within_s:g} s")

    def expire(self, now_s: float) -> Verdict:
        """Take the verdict as of now for the one that holds, and return it."""
        after = self.as_of(now_s)
        if after != self.verdict:
            self._found.clear()
            self.verdict = after
        return after
