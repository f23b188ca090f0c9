"""The keeper: what one collector tells the database about itself and others, every few seconds.

Heartbeats and states of the book are flushed every two seconds, and at once when a state changed;
every five seconds the collector's own status row; every thirty the database's clock is measured.
After each flush the overdue are looked for and declared silent, when :class:`~.liveness.Watch` says
that this collector has watched for long enough to know.

Nothing here may end the collector: while the database is away the book keeps the newest of
everything, and the loop tries again. A row that Postgres refuses for what it says is searched for
and left out: one odd agent must not stop everybody's health.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import outrider
from outrider.errors import Fault, Reason
from outrider.instants import from_us, to_us
from outrider_collector.store import health, overdue, uptime

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_collector.ingest.clock import DatabaseClock
    from outrider_collector.ingest.heartbeats import HeartbeatBook
    from outrider_collector.ingest.links import Links
    from outrider_collector.ingest.liveness import Watch
    from outrider_collector.store.health import HeartbeatRow, StateRow

FLUSH_S = 2.0
LEAST_FLUSH_S = 0.05
"""Urgent flushes come no faster than this."""
STATUS_S = 5.0
CLOCK_S = 30.0
FAILING_S = 30.0
"""A collector that has stored no health for so long is not ready."""
MOST_REFUSED = 20
"""Refused rows that one flush searches for; then it leaves out whole sets that hold another. Who
lives says so again with its next heartbeat.
"""
REFUSED_AGAIN_S = 3_600.0
_REFUSING = frozenset(("21", "22", "23", "54"))
"""Classes of SQLSTATE that speak of the rows, not of the server."""

log = outrider.get_logger(__name__)


class Keeper:
    """One loop over one connection at a time."""

    def __init__(
        self,
        name: str,
        links: Links,
        book: HeartbeatBook,
        database_clock: DatabaseClock,
        *,
        watch: Watch,
        status: Callable[[], dict[str, Any]],
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """Wire the parts; ``wake`` is called when the feed has grown."""
        self._name = name
        self._links = links
        self._book = book
        self._database_clock = database_clock
        self._watch = watch
        self._status = status
        self._clock = clock
        self._wake = wake
        self._done_at: dict[str, float] = {}
        self._started_us = 0
        self.silent = 0
        """Components this collector has declared silent."""
        self.refused = 0
        """Heartbeats and states that were left out because Postgres refused them."""
        self._kept_s = clock()
        self._failure = "the database does not answer"

    async def measure(self) -> None:
        """Measure the database's clock. Raises Fault."""
        asked = self._clock()
        async with self._links.use() as connection:
            then = await health.clock(connection)
        database_us = to_us(then)
        self._database_clock.measured(database_us, asked, self._clock())
        self._started_us = self._started_us or database_us

    async def run(self) -> None:
        """Keep until cancelled."""
        while True:
            try:
                await self.step()
            except Fault as fault:
                self._failure = fault.text
                log.warning("health cannot be stored now", detail=fault.text)
                await asyncio.sleep(FLUSH_S)
            await asyncio.sleep(LEAST_FLUSH_S)
            try:
                await asyncio.wait_for(self._book.urgent.wait(), FLUSH_S)
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Do what is due now. Raises Fault when the database is away."""
        if self._due("clock", CLOCK_S):
            await self.measure()
        try:
            await self._flush()
        except Fault as fault:
            if fault.reason == Reason.STORE_FULL and self._due("status", STATUS_S):
                # A full disk may still take a row that replaces one, and this one says so.
                with suppress(Fault):
                    await self._publish(watched_s=0.0)
            raise
        self._watch.saw(self._clock())
        # After the flush: a status row that says "I watch" must not precede what was watched.
        if self._due("status", STATUS_S):
            await self._publish(self._watch.watched_s(self._clock()))
        if self._watch.may_conclude(self._clock()):
            await self._look_for_overdue()
        self._kept_s = self._clock()

    def trouble(self) -> str:
        """Return why health is not stored, empty while it is."""
        failing_s = self._clock() - self._kept_s
        if failing_s < FAILING_S:
            return ""
        return f"no health is stored for {failing_s:.0f} s: {self._failure}"

    async def stopped(self) -> None:
        """Flush the last heartbeats and say that this collector stopped in order. Raises Fault."""
        await self._flush()
        async with self._links.use() as connection:
            await health.stop_collector(connection, self._name)

    async def _flush(self) -> None:
        heartbeats, states = self._book.drain()
        broken = self._book.broken(self._database_clock.now_us())
        if not (heartbeats or states or broken):
            return
        try:
            changed = await self._record(heartbeats, states, self.refused + MOST_REFUSED)
            async with self._links.use() as connection:
                await health.hasten(connection, self._name, broken)
        except BaseException:
            self._book.put_back(heartbeats, states)
            raise
        if changed:
            self._wake()

    async def _record(
        self, heartbeats: list[HeartbeatRow], states: list[StateRow], most_refused: int
    ) -> bool:
        """Store them, without the rows that are refused; return whether a state changed."""
        if not (heartbeats or states):
            return False
        try:
            async with self._links.use() as connection:
                return bool(await health.record(connection, self._name, heartbeats, states))
        except Exception as mistake:  # whatever is odd about a row, others are stored
            if isinstance(mistake, Fault) and not _is_refusal(mistake):
                raise
            if len(heartbeats) + len(states) == 1 or self.refused >= most_refused:
                self._leave_out([*heartbeats, *states], mistake)
                return False
        changed = False
        for some_heartbeats, some_states in _halves(heartbeats, states):
            changed |= await self._record(some_heartbeats, some_states, most_refused)
        return changed

    def _leave_out(self, rows: list[HeartbeatRow | StateRow], mistake: Exception) -> None:
        """Count what was refused; tell of it now and then, for it is back with each heartbeat."""
        self.refused += len(rows)
        if self._due("refusal", REFUSED_AGAIN_S):
            log.error(
                "health of a component was left out: the database refused it",
                exc_info=mistake,
                component=rows[0].component.name,
            )

    async def _look_for_overdue(self) -> None:
        async with self._links.use() as connection:
            if self._due("watched", STATUS_S):
                await uptime.watched(connection)
            changes = await overdue.mark_silent(
                connection, self._name, reconnect_grace_s=self._watch.grace_s
            )
        if changes:
            self._wake()
        fell_silent = [change for change in changes if change.to_state == "silent"]
        self.silent += len(fell_silent)
        for change in fell_silent:
            log.warning("a component fell silent", component=change.component.name)

    async def _publish(self, watched_s: float) -> None:
        """Write the status row. Raises Fault."""
        since_us = self._database_clock.now_us() - int(watched_s * 1e6)
        status = {**self._status(), "watching_since": from_us(since_us).isoformat()}
        async with self._links.use() as connection:
            await health.write_collector(connection, self._name, from_us(self._started_us), status)

    def _due(self, what: str, every_s: float) -> bool:
        now = self._clock()
        if now - self._done_at.get(what, float("-inf")) < every_s:
            return False
        self._done_at[what] = now
        return True


def _is_refusal(fault: Fault) -> bool:
    """Whether the fault speaks of the rows, so that others may be stored."""
    return str(fault.metadata.get("sqlstate", ""))[:2] in _REFUSING


def _halves(
    heartbeats: list[HeartbeatRow], states: list[StateRow]
) -> tuple[tuple[list[HeartbeatRow], list[StateRow]], ...]:
    """Cut in two: heartbeats from states, or the only ones in the middle."""
    if heartbeats and states:
        return (heartbeats, []), ([], states)
    middle = (len(heartbeats) + len(states)) // 2
    return (heartbeats[:middle], states[:middle]), (heartbeats[middle:], states[middle:])
