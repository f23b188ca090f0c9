"""When files are looked at: by appointment while they grow, all together while they rest.

A file that grew has an appointment 10 ms later, and further ones at twice the distance each while
nothing comes. One that had grown again by then is being written to all the time: it is looked at
every 25 ms, for what a turn costs is hardly more for ten lines than for one. One that has come to
rest joins the others that do: these are looked at in one turn; every 50 ms while one of them was
written to in the last ten seconds, else every 100 ms, and less often when they are many. Such a
look compares the size, and every 200 ms also the time, which costs three times as much and tells of
what was rewritten at the same size, or of growth that a file system on a network kept to itself.

Whatever comes again and again does so at multiples of its interval, so that one turn serves all.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider_agent.followed import Followed

FIRST_LOOK_S = 0.010
STEADY_LOOK_S = 0.025
WHOLE_LOOK_S = 0.200
"""Also how often directories are looked at, in the same turn."""
FEW_FILES = 50
FEW_LOOK_S = 0.050
QUIET_LOOK_S = 0.100
QUIET_AFTER_S = 10.0
MOST_LOOK_S = 0.250


def on_grid(now: float, interval_s: float) -> float:
    """Return the next multiple of an interval."""
    return (now // interval_s + 1) * interval_s


class Schedule:
    """Appointments of files; a file has at most one, or rests."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Followed]] = []
        self._order = itertools.count()
        self._resting: dict[Followed, None] = {}
        self._next_round = self._next_whole = 0.0
        self._last_growth = 0.0

    def at(self, followed: Followed, when: float) -> None:
        """Look at a file then, and not before."""
        # Only the last appointment counts: a file is never looked at in two rhythms.
        self._resting.pop(followed, None)
        followed.turn = next(self._order)
        heapq.heappush(self._due, (when, followed.turn, followed))

    def again(self, followed: Followed, now: float) -> None:
        """Look at a file that grew, and was read to its end, again soon."""
        if followed.grows:
            self.at(followed, on_grid(now + STEADY_LOOK_S / 2, STEADY_LOOK_S))
        else:
            self.at(followed, now + FIRST_LOOK_S)
        followed.grows = True

    def has_appointment(self, followed: Followed) -> bool:
        """Whether a file is looked at by appointment: it grew a moment ago."""
        return followed.turn >= 0

    def later(self, followed: Followed, now: float) -> None:
        """Look at a file that did not grow after a longer while than the last."""
        followed.grows = False
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
            if turn != followed.turn:
                continue
            followed.turn = -1
            if not followed.ended:
                taken.append(followed)
        return taken

    def take_awake(self, now: float, now_us: int) -> list[Followed]:
        """Look at the resting files if it is time, and take those that changed."""
        if now < self._next_round:
            return []
        quiet = now - self._last_growth > QUIET_AFTER_S
        least_s = QUIET_LOOK_S if quiet else FEW_LOOK_S
        interval_s = min(MOST_LOOK_S, least_s * max(1.0, len(self._resting) / FEW_FILES))
        self._next_round = on_grid(now, interval_s)
        if now >= self._next_whole:
            self._next_whole = on_grid(now, WHOLE_LOOK_S)
            awake = [one for one in self._resting if one.ended or not one.tail.rests(now_us)]
        else:
            changed = [one for one in self._resting if not one.tail.keeps_size()]
            awake = [one for one in changed if one.ended or not one.tail.rests(now_us)]
        if awake:
            self._last_growth = now
        for followed in awake:
            del self._resting[followed]
        return [followed for followed in awake if not followed.ended]

    def next(self) -> float:
        """Return when the next file is due."""
        while self._due and self._due[0][1] != self._due[0][2].turn:
            heapq.heappop(self._due)
        moment = self._next_round if self._resting else float("inf")
        return min(moment, self._due[0][0]) if self._due else moment
