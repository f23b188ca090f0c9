"""All probes of one process: which are due, what each one's state is, what is new.

Pure; the clock is a parameter, in seconds of a monotonic clock. :mod:`outrider.probes.runner` gives
it time and threads.
"""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outrider.probes.judge import UNDECIDED, Judge, Verdict
from outrider.probes.result import WELL
from outrider.probes.samples import EVERY_S, Minute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outrider.probes.result import Fact, Result
    from outrider.probes.spec import Spec


class Key(NamedTuple):
    """Who is meant, within one process."""

    group: str
    """``probe``, ``exchange``, ``database`` or ``pipeline``."""
    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """How a component is, as of the moment it was asked for."""

    key: Key
    verdict: Verdict
    checked_ago_s: float | None
    """None: no look has ended."""
    took_ms: float
    facts: Mapping[str, Fact]


class Change(NamedTuple):
    """A state that is another than before."""

    key: Key
    before: str
    verdict: Verdict


@dataclass(slots=True)
class _Watched:
    judge: Judge
    minute: Minute = field(default_factory=Minute)


class Board:
    """See the module's page."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._watched: dict[Key, _Watched] = {}
        self._due: list[tuple[float, Key]] = []
        self._news: set[Key] = set()
        self._sampled_s: float | None = None

    def configure(self, specs: Iterable[Spec[Any]], now_s: float) -> None:
        """Look at these from now on; what is configured as before goes on as before."""
        before, self._watched = self._watched, {}
        for spec in specs:
            key = Key(spec.kind.group, spec.name)
            known = before.get(key)
            if known is None or known.judge.spec != spec:
                known = _Watched(Judge(spec, now_s, _phase(self._host, key)))
            self._watched[key] = known
        self._due = [(one.judge.due_s, key) for key, one in self._watched.items()]
        heapq.heapify(self._due)
        self._news = set(self._watched)

    def take_due(self, now_s: float) -> list[Judge]:
        """Return those whose look begins now; one whose last look still runs misses its turn."""
        started: list[Judge] = []
        while self._due and self._due[0][0] <= now_s:
            _, key = heapq.heappop(self._due)
            judge = self._watched[key].judge
            if judge.start(now_s):
                started.append(judge)
            heapq.heappush(self._due, (judge.due_s, key))
        return started

    def next_s(self) -> float:
        """Return when the next look is due."""
        return self._due[0][0] if self._due else float("inf")

    def finish(self, judge: Judge, result: Result, now_s: float) -> Change | None:
        """Take the result of a look; return the change that it makes.

        That of a probe which is configured no more, or otherwise now, is forgotten.
        """
        key = Key(judge.spec.kind.group, judge.spec.name)
        watched = self._watched.get(key)
        if watched is None or watched.judge is not judge:
            return None
        watched.minute.add(result)
        before = judge.verdict
        return self._changed(key, before, judge.finish(result, now_s))

    def expire(self, now_s: float) -> list[Change]:
        """Return what has expired since the last call."""
        changes = []
        for key, watched in self._watched.items():
            before = watched.judge.verdict
            change = self._changed(key, before, watched.judge.expire(now_s))
            if change is not None:
                changes.append(change)
        return changes

    def reports(self, now_s: float, *, everything: bool) -> list[Report]:
        """Return all components, or those with a new state or trouble since this was asked."""
        keys = list(self._watched) if everything else [k for k in self._watched if k in self._news]
        self._news.clear()
        return [_report(key, self._watched[key].judge, now_s) for key in keys]

    def look_up(self, now_s: float) -> list[Report]:
        """Return all components, for somebody else than who is told what is new."""
        return [_report(key, one.judge, now_s) for key, one in self._watched.items()]

    def samples(self, now_s: float) -> dict[Key, Minute]:
        """Return the looks of the last minute, once a minute; else nothing."""
        if self._sampled_s is None:
            self._sampled_s = now_s
        if now_s - self._sampled_s < EVERY_S:
            return {}
        self._sampled_s = now_s
        taken = {key: one.minute for key, one in self._watched.items() if one.minute.n}
        for key in taken:
            self._watched[key].minute = Minute()
        return taken

    def _changed(self, key: Key, before: Verdict, after: Verdict) -> Change | None:
        # What an "up" says beside (so much is free) changes at each look, and waits for its turn.
        if after.state != before.state or (after != before and after.state != "up"):
            self._news.add(key)
        return Change(key, before.state, after) if after.state != before.state else None


def _report(key: Key, judge: Judge, now_s: float) -> Report:
    result, verdict = judge.last, judge.as_of(now_s)
    if result is None:
        return Report(key, verdict, None, 0.0, {})
    return Report(key, verdict, now_s - judge.checked_s, result.took_ms, result.facts)


def _phase(host: str, key: Key) -> float:
    """Return where in its interval a probe looks: the same after a restart, other on each host."""
    return zlib.crc32(f"{host}\0{key.group}\0{key.name}".encode()) / 2**32


def is_trouble(state: str) -> bool:
    """Whether a state is worth a warning."""
    return state not in WELL and state != UNDECIDED
