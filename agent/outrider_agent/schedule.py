"""When files are looked at: by appointment while they grow, all together while they rest.

A file that grew has an appointment 10 ms later, and further ones at twice the distance each while
nothing comes. One that has come to rest joins the others that do: these are looked at in one turn,
with nothing but a comparison of size and time for each; every 50 ms while one of them was written
to in the last ten seconds, else every 100 ms, and less often when they are many.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider_agent.followed import Followed

FIRST_LOOK_S = 0.010
FEW_FILES = 50
FEW_LOOK_S = 0.050
QUIET_LOOK_S = 0.100
QUIET_AFTER_S = 10.0
MOST_LOOK_S = 0.250


class Schedule:
    """Appointments of files; a file has at most one, or rests."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Followed]] = []
        self._order = itertools.count()
        self._resting: dict[Followed, None] = {}
        self._next_round = 0.0
        self._last_growth = 0.0

    def at(self, followed: Followed, when: float) -> None:
        """Look at a file then, and not before."""
        # Only the last appointment counts: a file is never looked at in two rhythms.
        self._resting.pop(followed, None)
        followed.turn = next(self._order)
        heapq.heappush(self._due, (when, followed.turn, followed))

    def later(self, followed: Followed, now: float) -> None:
        """Look at a file that did not grow after a longer while than the last."""
        followed.interval_s *= 2
        if followed.interval_s < FEW_LOOK_S:
            self.at(followed, now + followed.interval_s)
            return
        followed.turn = -1
        self._resting[followed] = None

    def take_due(self, now: float) -> list[Followed]:
        """Take the files whose appointment has come."""
        taken: list[Followed] = []
        while self._due and self._due[0][0] <= now:
            _, turn, followed = heapq.heappop(self._due)
            if turn == followed.turn and not followed.ended:
                taken.append(followed)
        return taken

    def take_awake(self, now: float, now_us: int) -> list[Followed]:
        """Look at the resting files if it is time, and take those that changed."""
        if now < self._next_round:
            return []
        quiet = now - self._last_growth > QUIET_AFTER_S
        least_s = QUIET_LOOK_S if quiet else FEW_LOOK_S
        interval_s = min(MOST_LOOK_S, least_s * max(1.0, len(self._resting) / FEW_FILES))
        # On a grid that other rhythms share, so that one turn serves several.
        self._next_round = (now // interval_s + 1) * interval_s
        awake = [one for one in self._resting if one.ended or not one.tail.rests(now_us)]
        if awake:
            self._last_growth = now
        for followed in awake:
            del self._resting[followed]
        return [followed for followed in awake if not followed.ended]

    def next(self) -> float:
        """Return when the next file is due."""
        moment = self._next_round if self._resting else float("inf")
        return min(moment, self._due[0][0]) if self._due else moment
