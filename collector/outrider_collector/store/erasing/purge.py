"""The order of a purge, and its pace.

1. A row of the audit log: who erases, why, by which filter's hash.
2. Fresh blocks, then compacted ones (:mod:`.levels`). Each transaction rewrites a few blocks,
   tells of what is gone, and erases its copies; then it rests as long as it took.
3. Copies of records that are long gone, and quarantine.
4. Another row of the audit log: how many.

What arrives while it runs may match and stay: run it again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from outrider.errors import Fault, Reason
from outrider_collector.store import binary
from outrider_collector.store.audit import log
from outrider_collector.store.audit.log import Act
from outrider_collector.store.compaction import days, move
from outrider_collector.store.compaction.plan import MOVE_RECORDS
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.erasing import aside, levels, traces
from outrider_collector.store.erasing.records import erased, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.compaction.merge import CompactedBlock
    from outrider_collector.store.erasing.levels import Block, Candidates
    from outrider_collector.store.erasing.records import Source

EVENT: Final = "audit.erased"
SHARE: Final = 0.5
"""Of the time; the rest is rest."""
TRIES: Final = 20


@dataclass(slots=True)
class Erasure:
    """What a purge did, or would do."""

    looked_at: int = 0
    """Records that were read, of ``candidates`` that could not be left out."""
    candidates: int = 0
    records: int = 0
    blocks: int = 0
    copies: int = 0
    """Texts in alerts and in messages about them."""
    quarantined: int = 0
    unread: int = 0
    """Ranges in quarantine that cannot be read: nobody knows whether they match."""
    audit_rows: int = 0
    """Rows of the audit log that match and stay."""


class Purge:
    """One purge over one connection."""

    def __init__(
        self,
        url: str,
        wanted: Filter,
        *,
        share: float = SHARE,
        progress: Callable[[Erasure], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._wanted = wanted
        self._share = share
        self._progress = progress
        self._digest = wanted.digest
        self._sources: dict[int, Source] = {}
        self._copies = traces.Copies()
        self._seen: set[tuple[int, int]] = set()
        """Names of copied records that were met in a block."""
        self.done = Erasure()

    async def count(self) -> Erasure:
        """Count what would be erased; changes nothing. Raises Fault."""
        with driver_errors(self._url):
            async with await self._connection() as connection:
                await self._walk(connection, erase=False)
                strays = await aside.copies_without_a_record(
                    connection, self._wanted, self._copies, self._seen
                )
                self.done.copies += self._copies.of(strays)
                found, self.done.unread = await aside.in_quarantine(connection, self._wanted)
                self.done.quarantined = sum(each.matches for each in found)
                self.done.audit_rows = await aside.in_audit_log(connection, self._wanted)
        return self.done

    async def erase(self, actor: str, reason: str) -> Erasure:
        """Erase what matches. Raises Fault; what was erased before is told of by its traces."""
        with driver_errors(self._url):
            async with await self._connection() as connection:
                await self._record(connection, actor, reason, begun=True)
                await self._walk(connection, erase=True)
                await self._erase_aside(connection)
                self.done.audit_rows = await aside.in_audit_log(connection, self._wanted)
                await self._record(connection, actor, reason, begun=False)
        return self.done

    async def _connection(self) -> AsyncConnection:
        connection = await connect(self._url, application_name="outrider purge")
        # Whatever holds a lock it needs is more important.
        await connection.execute("set lock_timeout = '200ms'")
        binary.register(connection)
        return connection

    async def _walk(self, connection: AsyncConnection, *, erase: bool) -> None:
        self._sources = await traces.sources(connection)
        self._copies = await traces.Copies.read(connection)
        for fresh in (True, False):
            for found in await levels.candidates(connection, self._wanted, fresh=fresh):
                self.done.candidates += sum(found.sizes)
                for places in _some(found):
                    began = time.monotonic()
                    await self._look(connection, found, places, erase=erase)
                    self._progress(self.done)
                    busy_s = time.monotonic() - began
                    await asyncio.sleep(busy_s * (1 - self._share) / self._share)

    async def _look(
        self, connection: AsyncConnection, found: Candidates, places: list[str], *, erase: bool
    ) -> None:
        """Look into a few blocks; rewrite those with a match."""
        try:
            blocks = await levels.read(connection, found.table, places, fresh=found.fresh)
        except psycopg.errors.UndefinedTable:
            return  # it was dropped since it was listed: empty, or older than the retention
        hit = []
        for block in blocks:
            self.done.looked_at += len(block.records.received)
            gone = self._matching(block)
            if gone:
                hit.append(block.place)
            if not erase:
                names = {(r.stream, r.stream_offset) for r in erased(block.records, gone)}
                self._seen |= names
                self.done.records += len(gone)
                self.done.blocks += bool(gone)
                self.done.copies += self._copies.of(names)
        if hit and erase:
            await self._patiently(connection, found, hit)

    async def _patiently(
        self, connection: AsyncConnection, found: Candidates, places: list[str]
    ) -> None:
        for last in (n == TRIES - 1 for n in range(TRIES)):
            try:
                await self._rewrite(connection, found, places)
            except move.DaysMissing as missing:
                await days.ensure(connection, missing.days)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if last:
                    raise
                await asyncio.sleep(0.25)
            else:
                return
        raise Fault(Reason.STORE_DOWN, detail=f"the days of {found.table} could not be made")

    async def _rewrite(
        self, connection: AsyncConnection, found: Candidates, places: list[str]
    ) -> None:
        """Rewrite blocks, and all that follows from it, in one transaction."""
        records = copied = 0
        names: set[tuple[int, int]] = set()
        async with connection.transaction():
            taken = await levels.take(connection, found.table, places, fresh=found.fresh)
            rest: list[CompactedBlock] = []
            for block in taken:
                gone = self._matching(block)
                rest += block.without(gone)
                told = erased(block.records, gone)
                names |= {(record.stream, record.stream_offset) for record in told}
                records += len(told)
                await traces.add_gaps(
                    connection, block.team, block.service, told, self._sources, self._digest
                )
            await move.require_days(connection, rest)
            for left in rest:
                await move.insert(connection, left)
            copied = await self._copies.erase(connection, names)
        self._seen |= names
        self.done.records += records
        self.done.copies += copied
        self.done.blocks += len(taken)

    async def _erase_aside(self, connection: AsyncConnection) -> None:
        strays = await aside.copies_without_a_record(
            connection, self._wanted, self._copies, self._seen
        )
        found, self.done.unread = await aside.in_quarantine(connection, self._wanted)
        async with connection.transaction():
            self.done.copies += await self._copies.erase(connection, strays)
            await aside.erase_aside(connection, found)
        self.done.quarantined = sum(each.matches for each in found)

    def _matching(self, block: Block) -> list[int]:
        return matching(self._wanted, block.records, block.service, self._sources)

    async def _record(
        self, connection: AsyncConnection, actor: str, reason: str, *, begun: bool
    ) -> None:
        counts = {"records": self.done.records, "blocks": self.done.blocks,
                  "copies": self.done.copies, "quarantined": self.done.quarantined}  # fmt: skip
        act = Act(
            EVENT,
            actor,
            f"filter {self._digest}",
            {} if begun else counts,
            reason=reason,
            outcome="unknown" if begun else "success",
        )
        async with connection.transaction():
            audit_id = await log.add_act(connection, act, worker="cli")
        log.tell(act, audit_id)


def _some(found: Candidates) -> Iterator[list[str]]:
    """Yield places of blocks that have about as many records as a move."""
    some: list[str] = []
    records = 0
    for place, n in zip(found.blocks, found.sizes, strict=True):
        if some and records + n > MOVE_RECORDS:
            yield some
            some, records = [], 0
        some.append(place)
        records += n
    if some:
        yield some
