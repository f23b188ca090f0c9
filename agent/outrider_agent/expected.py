"""Workers that must be on this host (``[[agent.expect]]``), and which of them never started. Pure.

One that was seen, by a segment or a file, has started: how it ended is told by what it left. Times
are monotonic seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Expected(NamedTuple):
    """A worker that must be here so many seconds after the agent began to look for it."""

    service: str
    worker: str
    within_s: float


class Roster:
    """The expected workers, since when each is looked for, and which were seen."""

    def __init__(self) -> None:
        self._since_s: dict[Expected, float] = {}
        self._seen: set[tuple[str, str]] = set()

    def expect(self, workers: Iterable[Expected], now_s: float) -> None:
        """Look for these from now on; those that were looked for before, since then."""
        self._since_s = {one: self._since_s.get(one, now_s) for one in workers}
        self._seen &= {(one.service, one.worker) for one in self._since_s}

    def missing(self, here: Collection[tuple[str, str]], now_s: float) -> list[Expected]:
        """Return those that had their time and were never seen; ``here`` is seen now."""
        names = {(one.service, one.worker) for one in self._since_s}
        self._seen |= names.intersection(here)
        return [
            one
            for one, since_s in self._since_s.items()
            if (one.service, one.worker) not in self._seen and now_s - since_s >= one.within_s
        ]
