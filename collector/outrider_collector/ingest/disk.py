"""The store's room as one collector sees it: measured, told, and what is done about it here.

Every few seconds the database is measured. Nearly full, agents are told to keep all but audit
records and errors (credit is withdrawn, see :mod:`.credit`), all of it where a budget is used up
that no disk enforces, and the housekeeper is woken to drop days of debug records. Of several
collectors the one that sees most decides for all: one may see the file system of the database,
another only its address. So each publishes its level and its budget, and what one said that is gone
holds for some minutes while nobody else sees that.

Nothing here may end the collector: while the database is away, or a look fails for whatever other
reason, what was decided last holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import outrider
from outrider import severity
from outrider.errors import Fault
from outrider_collector.store.budget import growth, levels, services
from outrider_collector.store.budget.limits import (
    Budget,
    Keeping,
    Level,
    Measured,
    Room,
    budget_of,
    is_full,
    level,
    used_of,
)
from outrider_collector.store.budget.measure import measure
from outrider_collector.store.budget.words import Judged, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider_collector.ingest.links import Links
    from outrider_collector.store.budget.forecast import Forecast
    from outrider_collector.store.budget.limits import Wanted
    from outrider_collector.store.budget.services import Quota, Written
    from outrider_collector.store.compaction.classes import Retention

LOOK_S: Final = 5.0
SELDOM_S: Final = 15.0
"""Between two looks while less than BUSY_SHARE is used: each asks for the size of every file."""
BUSY_SHARE: Final = 0.8
FORECAST_S: Final = 60.0
"""Sizes of all days, and what services wrote, are looked at no more often."""

log = outrider.get_logger(__name__)


class Seen(NamedTuple):
    """What was seen at the last look."""

    measured: Measured
    budget: Budget | None
    level: Level
    """By what this collector measured itself."""
    coming: Forecast | None
    judged: Judged

    @property
    def used_bytes(self) -> int:
        """What counts to the budget."""
        return used_of(self.budget, self.measured)


class DiskWatch:
    """Looks at the room, and says what follows."""

    def __init__(
        self,
        name: str,
        links: Links,
        wanted: Wanted,
        retention: Retention,
        quota: Quota,
        *,
        clock: Callable[[], float],
        hold: Callable[[Keeping], object],
        make_room: Callable[[], object],
    ) -> None:
        """``hold`` is told what agents are to keep; ``make_room`` wakes the housekeeper."""
        self._name = name
        self._links = links
        self._wanted = wanted
        self._retention = retention
        self._quota = quota
        self._clock = clock
        self._hold = hold
        self._make_room = make_room
        self._forecast_s = float("-inf")
        self._coming: Forecast | None = None
        self._beyond: Sequence[Written] = ()
        self.seen: Seen | None = None
        self.level = Level.WELL
        """What is done, by what any collector measured."""
        self.is_full = False
        """A budget that no disk enforces is used up: agents keep everything."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.try_look()
            await asyncio.sleep(SELDOM_S if self._has_room() else LOOK_S)

    async def try_look(self) -> None:
        """Look once; where that fails, what was decided last holds."""
        try:
            await self.look()
        except Fault:
            pass  # The database is away: its probe and the committer say so.
        except Exception:
            log.exception("a look at the store's room failed: what was decided last holds")

    def _has_room(self) -> bool:
        seen = self.seen
        if seen is None or self.level is not Level.WELL:
            return False
        return seen.budget is None or seen.budget.share(seen.used_bytes) < BUSY_SHARE

    async def look(self) -> Seen:
        """Look once, and do what follows. Raises Fault when the database is away."""
        async with self._links.use() as connection:
            measured = await measure(connection)
            others = await levels.others(connection, self._name)
        budget = budget_of(self._wanted, measured)
        if self._clock() - self._forecast_s >= FORECAST_S:
            self._forecast_s = self._clock()
            # Of a very large store it may not end in time: what is done for room goes on.
            try:
                await self._look_ahead(measured, budget)
            except Fault:
                pass
            except Exception:
                log.exception("a look at what the store will take failed: the last one holds")
        own = self.seen.level if self.seen is not None else Level.WELL
        own = level(own, used_of(budget, measured), budget)
        decided = max(own, levels.others_level(others, budget))
        rooms = levels.rooms(budget, measured, others)
        full = is_full(rooms, measured.database_bytes, was_full=self.is_full)
        judged = judge(
            measured, budget, decided, self._coming, self._beyond, self._quota, is_full=full
        )
        self.seen = Seen(measured, budget, own, self._coming, judged)
        self._decide(decided, judged, full=full)
        return self.seen

    async def _look_ahead(self, measured: Measured, budget: Budget | None) -> None:
        async with self._links.use() as connection:
            self._coming = await growth.read_forecast(connection, self._retention, measured, budget)
        if self._quota.is_set:
            async with self._links.use() as connection:
                written = await services.read_written(connection)
            self._beyond = services.over(written, self._quota)

    def _decide(self, decided: Level, judged: Judged, *, full: bool) -> None:
        before, self.level = self.level, decided
        was_full, self.is_full = self.is_full, full
        self._hold(_keeping(decided, full=full))
        if decided >= Level.SHED and (before < Level.SHED or before < decided):
            self._make_room()
        if (decided is Level.HOLD and before is not Level.HOLD) or (full and not was_full):
            # As an error: it is among what still gets through.
            log.event("pipeline.throttled", judged.reason, severity=severity.ERROR)
        elif decided > before:
            log.warning(f"the store is nearly full: {judged.reason}", level=decided.word)
        elif decided < before:
            log.info(f"the store has room again: {judged.reason}", level=decided.word)

    def status(self) -> dict[str, Any]:
        """Return what the collector's row carries; figures that are not known are left out."""
        seen = self.seen
        if seen is None:
            return {}
        said: dict[str, Any] = {
            "disk_used_bytes": seen.used_bytes,
            "disk_level": seen.level.word,
            "disk_holding": self.is_full or self.level is Level.HOLD,
            "disk_said": seen.judged.reason,
        }
        if seen.budget is not None:
            said |= levels.status_of(Room(seen.budget, seen.measured.wal_bytes))
        if seen.coming is not None and seen.coming.is_known:
            said["disk_a_day_bytes"] = round(seen.coming.a_day_bytes)
            if seen.coming.full_in_s is not None:
                said["disk_full_in_s"] = round(seen.coming.full_in_s)
        return said


def _keeping(decided: Level, *, full: bool) -> Keeping:
    if full:
        return Keeping.EVERYTHING
    return Keeping.ALL_BUT_VITAL if decided is Level.HOLD else Keeping.NOTHING
