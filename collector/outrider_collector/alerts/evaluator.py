"""The evaluator: reads the feed, takes steps of the engine, stores what they conclude.

One process evaluates at a time: the holder of the lease ``evaluator``. The lease is looked at, and
held against takeovers, by each transaction that stores steps. All that was ever told is in the
database: whoever takes over reads cursor and state and goes on with the next feed row, so a restart
loses and repeats nothing. What was only counted since the last checkpoint is counted again.

A step takes all feed rows there are, but never past a change of rules: what was committed under one
set is evaluated under it. Rows that bring neither hits nor changes of health move only the place in
memory; it is stored with the next steps, or after a second. Without new rows a step is taken every
second, for what only time and watermarks bring about.

Where the stored rule set needs a newer engine, nothing is evaluated and the lease is given up, so
that a collector that understands it can go on; the reason is told in the status row.

A mistake of our own in a step ends neither ingest nor this loop: it is logged and told in the
status row, and the same rows are evaluated again, with growing waits, here or by another collector.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from outrider.errors import Fault, Reason
from outrider.retry import Backoff
from outrider_collector.alerts.leader import Leader
from outrider_collector.store import leases
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from psycopg import AsyncConnection

_log = logging.getLogger(__name__)

LEASE: Final = "evaluator"
LEASE_S: Final = 10.0
POLL_S: Final = 0.1
"""Longest time between two looks at the feed; wake-ups make it shorter."""
CHECKPOINT_S: Final = 15.0
"""Steps that told nothing are stored after this at the latest; a successor takes them again."""
PAUSE_S: Final = 0.02
"""Between two steps, so that one step takes the rows of several commits."""
_REST = 3.0
"""Rest after a step, in lengths of the step ..."""
_REST_MAX_S = 0.25
"""... and at most so long."""
_REFUSED_RETRY_S = 5.0
REFUSED_TOLD_EVERY_S: Final = 60.0
MISTAKE_RETRY_S: Final = (1.0, 60.0)
"""Waits after a mistake of our own: the first and the longest."""
STEADY_S: Final = 10.0
"""Evaluation that has gone on for so long after a mistake is well again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluator is told."""

    database_url: str
    # Names this process in the lease.
    holder: str
    lease_s: float = LEASE_S
    poll_s: float = POLL_S
    checkpoint_s: float = CHECKPOINT_S


class Evaluator:
    """See the module's page.

    ``wake`` is set by whoever committed a feed row, ``told`` by the evaluator when there is
    something to deliver.
    """

    def __init__(
        self,
        settings: Settings,
        wake: asyncio.Event,
        told: asyncio.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._told = told
        self._clock = clock
        self._jitter = jitter
        self._state = "waiting"
        self._error: str | None = None
        self._refused_told_s = float("-inf")
        self._out_since_s: float | None = None
        self._mistakes = Backoff(*MISTAKE_RETRY_S, jitter)

    def health(self) -> dict[str, Any]:
        """Return whether this process evaluates, for the collector's status row.

        ``state`` is evaluating, waiting (another does), refused (the rule set is too new), failing
        (a mistake of our own) or down; ``out_for_s`` for how long it has been refused or failing.
        """
        out_s = 0.0 if self._out_since_s is None else self._clock() - self._out_since_s
        return {"state": self._state, "error": self._error, "out_for_s": round(out_s, 1)}

    async def run(self, stop: asyncio.Event) -> None:
        """Evaluate, or wait to, until ``stop``; the database may come and go meanwhile."""
        backoff = Backoff(0.2, 5.0, self._jitter)
        while not stop.is_set():
            try:
                await self._connected(stop, backoff)
            except Fault as fault:
                too_new = fault.reason is Reason.RULES_TOO_NEW
                if too_new:
                    self._is_out("refused", str(fault))
                else:
                    self._state, self._error = "down", str(fault)
                wait_s = _REFUSED_RETRY_S if too_new else backoff.next()
                if not too_new or self._is_time_to_refuse():
                    _log.log(
                        logging.ERROR if too_new else logging.WARNING,
                        "evaluation waits %.1f s: %s",
                        wait_s,
                        fault,
                    )
                await first_of(wait_s, stop)
            except Exception as mistake:  # noqa: BLE001  whatever it is, lines are stored on
                wait_s = self._mistakes.next(MISTAKE_RETRY_S[0])
                _log.exception("alerts are not evaluated, next try in %.1f s", wait_s)
                self._is_out("failing", _said(mistake))
                await first_of(wait_s, stop)
        self._state = "stopped"

    def _is_out(self, state: str, error: str) -> None:
        self._state, self._error = state, error
        if self._out_since_s is None:
            self._out_since_s = self._clock()

    def _is_well(self, state: str) -> None:
        self._state, self._error, self._out_since_s = state, None, None
        self._mistakes.reset()

    def _is_time_to_refuse(self) -> bool:
        """Tell whether to say again that the rules are too new: it stays so until somebody acts."""
        now_s = self._clock()
        if now_s - self._refused_told_s < REFUSED_TOLD_EVERY_S:
            return False
        self._refused_told_s = now_s
        return True

    async def _connected(self, stop: asyncio.Event, backoff: Backoff) -> None:
        url = self._settings.database_url
        connection = await connect(url, application_name="outrider evaluator")
        async with connection:
            with driver_errors(url):
                while not stop.is_set():
                    lease = await leases.take(
                        connection, LEASE, self._settings.holder, self._settings.lease_s
                    )
                    if lease is None:
                        self._is_well("waiting")
                        await first_of(self._settings.lease_s / 10, stop)
                        continue
                    await self._hold_office(connection, lease, stop, backoff)

    async def _hold_office(
        self,
        connection: AsyncConnection,
        lease: leases.Lease,
        stop: asyncio.Event,
        backoff: Backoff,
    ) -> None:
        """Evaluate until ``stop`` or until the lease is lost."""
        try:
            leader = Leader(
                connection,
                lease,
                self._clock,
                self._told,
                checkpoint=timedelta(seconds=self._settings.checkpoint_s),
            )
            await leader.load(self._settings.lease_s)
            if self._state != "failing":
                self._is_well("evaluating")
            await self._lead(leader, stop, backoff)
            await leader.settle()
        except leases.LeaseLost as lost:
            _log.warning("evaluation goes on elsewhere: %s", lost)
        finally:
            # Where the connection is what failed, its end frees the lease.
            with contextlib.suppress(Fault), driver_errors():
                await leases.release(connection, lease)

    async def _lead(self, leader: Leader, stop: asyncio.Event, backoff: Backoff) -> None:
        began_s = self._clock()
        while not stop.is_set():
            self._wake.clear()
            if not await leader.renew(self._settings.lease_s):
                return
            started = self._clock()
            more = await leader.advance()
            backoff.reset()
            if self._state == "failing" and self._clock() - began_s > STEADY_S:
                self._is_well("evaluating")
            # The longer a step took, the longer the next may gather: hits of one key and second
            # merge, and ingest, which shares this loop, keeps most of it.
            took_s = self._clock() - started
            await leader.fold(busy=more)
            await first_of(min(max(PAUSE_S, _REST * took_s), _REST_MAX_S), stop)
            if not more:
                await first_of(self._settings.poll_s, self._wake, stop)


def _said(mistake: Exception) -> str:
    """Say what people can do; its text may hold what a log line says, so it stays in the log."""
    return (
        f"a mistake of Outrider ({type(mistake).__name__}): report what this collector's log says, "
        "and try other rules or the version before; no line and no alert is lost"
    )
