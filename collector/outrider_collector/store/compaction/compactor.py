"""The loop that compacts: one process at a time, by lease, and never faster than it is allowed.

It runs in a process of its own (:mod:`outrider_collector.compacting` starts it): merging records is
computing, and would take the collector's loop from ingest. After each move it rests, so that it
takes at most ``share`` of a core and of the server's attention; longer where others wanted the
processor too, for then it is ingest that it takes from. A burst is given way to, a host that is
always busy is not: what is overdue ends its patience.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from outrider.errors import Fault
from outrider_collector.store import attaching, binary, health, leases, partitions
from outrider_collector.store.compaction import sheeting
from outrider_collector.store.compaction.memory import keep_freed
from outrider_collector.store.compaction.move import candidates, move
from outrider_collector.store.compaction.plan import moves
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from outrider_collector.store.compaction.move import Moved
    from outrider_collector.store.leases import Lease

LEASE = "compactor"
LEASE_S = 60.0
PATIENCE = 4.0
"""Seconds of rest for each that the process waited for a processor, while nothing is overdue."""
PATIENT_S = 3_600.0
"""What is overdue for so long is done whoever else wants the processor: a move, and a sheet."""
PERIOD_S = 10.0
"""Between two looks for work when there was none."""
SHEETS_PERIOD_S = 900.0
"""Between two looks for blocks to make sheets of: it reads the row of every block."""

_SCHEDSTAT = Path("/proc/self/schedstat")
"""Of Linux: nanoseconds run, nanoseconds waited, turns."""
_LOG = logging.getLogger(__name__)
# An hour is over for the plan when what began within it has come to its end.
_HOUR_OVER = timedelta(hours=1, minutes=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """When blocks are moved, and how fast."""

    age: timedelta = timedelta(minutes=2)
    """Blocks younger than this stay: who follows the newest lines reads them there."""
    share: float = 0.5
    """Of the time; the rest is rest. 1: without rest."""
    everything: bool = False
    """Also what fills no block and would wait for company."""


@dataclass(slots=True)
class Totals:
    """What was moved since the start."""

    records: int = 0
    blocks_before: int = 0
    blocks_after: int = 0
    moves: int = 0
    sheets: int = 0
    busy_s: float = field(default=0.0)

    def add(self, moved: Moved, busy_s: float) -> None:
        """Count one move."""
        self.records += moved.records
        self.blocks_before += moved.blocks_before
        self.blocks_after += moved.blocks_after
        self.moves += 1
        self.busy_s += busy_s


class Compactor:
    """Moves what is due, for as long as it holds the lease."""

    def __init__(
        self,
        url: str,
        pace: Pace,
        *,
        holder: str,
        period_s: float = PERIOD_S,
        progress: Callable[[Totals], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``progress`` is called after each move, ``clock`` returns seconds."""
        self._url = url
        self._pace = pace
        self._holder = holder
        self._period_s = period_s
        self._progress = progress
        self._clock = clock
        self.totals = Totals()
        self._sheets_due_at = -math.inf
        self.acting = False
        """Whether this process holds the lease."""

    async def run(self, stop: asyncio.Event) -> None:
        """Compact until ``stop``; outages of the database are waited out."""
        while not stop.is_set():
            try:
                with driver_errors(self._url):
                    await self._run_connected(stop)
            except (Fault, leases.LeaseLost) as error:
                _LOG.warning("compaction waits: %s", error)
                await first_of(min(self._period_s, 5.0), stop)

    async def once(self, stop: asyncio.Event) -> bool:
        """Move what is due now; False when another process holds the lease. Raises Fault."""
        with driver_errors(self._url):
            async with await self._connection() as connection:
                lease = await leases.take(connection, LEASE, self._holder, LEASE_S)
                if lease is None:
                    return False
                await self._round(connection, lease, stop)
                await self._sheets(connection, lease, stop)
                await leases.release(connection, lease)
        return True

    async def _run_connected(self, stop: asyncio.Event) -> None:
        async with await self._connection() as connection:
            lease: Lease | None = None
            while not stop.is_set():
                if lease is None or not await leases.renew(connection, lease, LEASE_S):
                    lease = await leases.take(connection, LEASE, self._holder, LEASE_S)
                self.acting = lease is not None
                done = 0
                if lease is not None:
                    done = await self._round(connection, lease, stop)
                    if self._clock() >= self._sheets_due_at:
                        await self._sheets(connection, lease, stop)
                if not done:
                    await first_of(self._period_s, stop)
            if lease is not None:
                await leases.release(connection, lease)

    async def _connection(self) -> AsyncConnection:
        keep_freed()
        connection = await connect(self._url, application_name="outrider compactor")
        # Whatever holds a lock it needs is more important.
        await connection.execute("set lock_timeout = '200ms'")
        binary.register(connection)
        return connection

    async def _round(self, connection: AsyncConnection, lease: Lease, stop: asyncio.Event) -> int:
        """Do every move that is due, the oldest hours first; return how many."""
        done = 0
        for hour in [name for name, _ in await attaching.attached(connection, partitions.PARENT)]:
            try:
                done += await self._hour(connection, lease, hour, stop)
            except (psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable) as error:
                # Dropped, or locked: what is in it is still there in the next round.
                _LOG.info("compaction passes over %s: %s", hour, error)
        return done

    async def _hour(
        self, connection: AsyncConnection, lease: Lease, hour: str, stop: asyncio.Event
    ) -> int:
        begin = partitions.partition_hour(hour)
        now = await health.clock(connection)
        if begin is None or begin > now:
            return 0
        overdue = now - begin - _HOUR_OVER - self._pace.age
        due_at = self._clock() - overdue.total_seconds()
        everything = self._pace.everything or overdue >= timedelta(0)
        found = await candidates(connection, hour, self._pace.age)
        done = 0
        for planned in moves(found, all_of_them=everything):
            if stop.is_set() or not await leases.renew(connection, lease, LEASE_S):
                break
            began, waited_s = self._clock(), _waited_s()
            moved = await move(connection, lease, hour, planned)
            self.totals.add(moved, self._clock() - began)
            done += 1
            self._progress(self.totals)
            await self._rest(began, waited_s, stop, due_at)
        return done

    async def _sheets(self, connection: AsyncConnection, lease: Lease, stop: asyncio.Event) -> None:
        """Make the sheets that are due."""
        due_at = self._clock()
        self._sheets_due_at = due_at + SHEETS_PERIOD_S
        await sheeting.forget_lost(connection)
        for due in await sheeting.due(connection):
            if stop.is_set() or not await leases.renew(connection, lease, LEASE_S):
                break
            began, waited_s = self._clock(), _waited_s()
            try:
                self.totals.sheets += await sheeting.make(connection, lease, due)
            except (psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable) as error:
                _LOG.info("no sheet is made of blocks of %s: %s", due.table, error)
            await self._rest(began, waited_s, stop, due_at)

    async def _rest(
        self, began: float, waited_s: float, stop: asyncio.Event, due_at: float
    ) -> None:
        """Rest from what began then, when this process had waited so long for a processor."""
        now = self._clock()
        waited_s = _waited_s() - waited_s
        await first_of(rest_s(now - began, waited_s, self._pace.share, now - due_at), stop)


def rest_s(busy_s: float, waited_s: float, share: float, overdue_s: float) -> float:
    """Return how long to rest after a move of ``busy_s``, or the making of a sheet.

    For ``waited_s`` of it this process could have run, and others did. ``overdue_s``: for how long
    what was moved could have been moved with all of its hour, below 0 before; of a sheet, how long
    ago it was found due.
    """
    if share >= 1.0:
        return 0.0
    patience = PATIENCE * (1 - min(max(overdue_s / PATIENT_S, 0.0), 1.0))
    return busy_s * (1 - share) / share + patience * waited_s


def _waited_s() -> float:
    """Return for how long this process has waited for a processor so far; 0 if nobody says so."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
