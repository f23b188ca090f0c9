"""Delivery: from the outbox to the channels, at the pace that they allow.

Every collector runs one deliverer; several share the work by claims
(:mod:`outrider_collector.store.outbox`). A round looks for rows that are due, lets the limiter
choose, claims them and records their attempts in one transaction, then sends each in a task of its
own, so that a channel that hangs delays nobody else. When the channel is connected and about to
write, the attempt is marked (:mod:`.leaves`): only from then on it may have arrived.

* A claim outlives every socket time-out. Before the socket is written its age is checked by the
  monotonic clock, which goes on while a process is stopped: who wakes up too late sends nothing.
* Outcomes are kept in memory until they are stored. When the database is away for longer than the
  lease, another deliverer calls the attempt unknown; that is then the truth for the ledger.
* The limiter learns of other deliverers' attempts from the ledger before each round.
* What was sent is edited until it reads as things are, with what places the limiter has left.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outrider.errors import Fault
from outrider.failpoint import failpoint
from outrider.retry import Backoff
from outrider_alerting.channels.build import Outlet
from outrider_alerting.channels.channel import SEND_TIMEOUT_S
from outrider_alerting.channels.limiter import Candidate, Limiter
from outrider_alerting.channels.outcome import Failed, Hold, Outcome, Retry, Unknown
from outrider_alerting.ledger import RANK
from outrider_collector.alerts.fates import judge, judge_cut_short
from outrider_collector.alerts.leaves import STOPPED, Leave, Leaves
from outrider_collector.alerts.messages import message_of
from outrider_collector.alerts.rewriting import edited, rewrite
from outrider_collector.store import outbox, outcomes, outdated, pressed, rules
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from psycopg import AsyncConnection

    from outrider_collector.alerts.outlets import Outlets

_log = logging.getLogger(__name__)

LEASE_S: Final = SEND_TIMEOUT_S + 15.0
POLL_S: Final = 0.2
IN_FLIGHT_MAX: Final = 64
LOOK_AHEAD: Final = 500
"""Rows that are considered in a round."""
STOP_WITHIN_S: Final = 4.0
_STOPPING_LOOK_S = 0.02
_EXPIRED_EVERY_S = 1.0
_HOLD_MARGIN_S = 0.3
_LISTENED_EVERY_S = 1.0
_LONGEST_WINDOW_S = 65.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deliverer is told."""

    database_url: str
    # Names this deliverer in claims; a new one for each process.
    holder: str
    lease_s: float = LEASE_S
    poll_s: float = POLL_S


class Deliverer:
    """See the module's page. ``wake`` is set by whoever put rows into the outbox."""

    def __init__(
        self,
        settings: Settings,
        outlets: Outlets,
        wake: asyncio.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._outlets = outlets
        self._wake = wake
        self._clock = clock
        self._jitter = jitter
        self._limiter = Limiter()
        self._leaves = Leaves(wake)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[outcomes.Finish] = []
        self._edited: list[outdated.Edited] = []
        self._rule_set_version: int | None = None
        self._expired_looked_at = float("-inf")
        self._last_attempt = 0
        self._own_attempts: set[int] = set()
        # Until when an account has a conversation that was told to wait.
        self._told_to_wait: dict[str, float] = {}
        # Accounts whose buttons somebody reads.
        self._listened: set[str] = set()
        self._listened_looked_at = float("-inf")

    def health(self) -> dict[str, dict[str, Any]]:
        """Return how each channel is, for the collector's status row."""
        return self._outlets.health()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop``; the database may come and go meanwhile."""
        backoff = Backoff(0.2, 5.0, self._jitter)
        try:
            while not stop.is_set():
                try:
                    await self._connected(stop, backoff)
                except Fault as fault:
                    wait_s = backoff.next()
                    _log.warning("delivery waits %.1f s: %s", wait_s, fault)
                    await first_of(wait_s, stop)
                except Exception:  # noqa: BLE001  whatever it is, lines are stored on
                    wait_s = backoff.next(1.0)
                    _log.exception("delivery failed, next try in %.1f s", wait_s)
                    await first_of(wait_s, stop)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._outlets.close()

    async def _connected(self, stop: asyncio.Event, backoff: Backoff) -> None:
        url = self._settings.database_url
        connection = await connect(url, application_name="outrider delivery")
        async with connection:
            self._leaves.open()
            try:
                with driver_errors(url):
                    while not stop.is_set():
                        self._wake.clear()
                        await self._leaves.mark(connection, self._settings.holder)
                        await self._flush(connection)
                        wait_s = await self._round(connection)
                        backoff.reset()
                        await first_of(wait_s, self._wake, stop)
                    await self._end(connection)
            finally:
                self._leaves.close()

    async def _round(self, connection: AsyncConnection) -> float:
        """Send what may leave now; returns the seconds until there can be more to do."""
        now = self._clock()
        if now - self._expired_looked_at > _EXPIRED_EVERY_S:
            self._expired_looked_at = now
            await outcomes.release_expired(connection, judge_cut_short)
        waiting = await outbox.due(connection, limit=LOOK_AHEAD)
        edits = await outdated.due(connection, limit=LOOK_AHEAD)
        if not waiting and not edits:
            return self._settings.poll_s
        await self._follow_rules(connection)
        await self._learn(connection)
        if now - self._listened_looked_at > _LISTENED_EVERY_S:
            self._listened_looked_at = now
            self._listened = await pressed.listened(connection)
        candidates = [self._candidate(row) for row in waiting]
        chosen = self._limiter.choose(candidates, now, IN_FLIGHT_MAX - len(self._tasks))
        if chosen:
            await self._send(connection, [candidate.id for candidate in chosen])
        to_edit = [self._candidate(row) for row in edits]
        if chosen := self._limiter.choose(to_edit, now, IN_FLIGHT_MAX - len(self._tasks)):
            await self._edit(connection, [candidate.id for candidate in chosen])
        free_at = min(self._limiter.free_at(candidate) for candidate in candidates + to_edit)
        return min(self._settings.poll_s, max(0.005, free_at - now))

    async def _follow_rules(self, connection: AsyncConnection) -> None:
        version = await rules.active_version(connection)
        if version != self._rule_set_version:
            active = await rules.active(connection)
            if active is not None:
                await self._outlets.use(active.rule_set)
            self._rule_set_version = version

    async def _learn(self, connection: AsyncConnection) -> None:
        """Count what others sent."""
        others = await outbox.departures(
            connection,
            after=self._last_attempt,
            not_by=sorted(self._own_attempts),
            within_s=_LONGEST_WINDOW_S,
        )
        now = self._clock()
        for departure in others:
            sender, limits = self._outlets.limits(departure.channel)
            self._limiter.departed(sender, departure.conversation, limits, now - departure.age_s)
        seen = [departure.attempt for departure in others]
        self._last_attempt = max(self._last_attempt, *seen, *self._own_attempts, 0)
        self._own_attempts.clear()

    def _candidate(self, row: outbox.Due) -> Candidate:
        sender, limits = self._outlets.limits(row.channel)
        return Candidate(row.id, sender, row.conversation, RANK[row.priority], limits)

    async def _send(self, connection: AsyncConnection, ids: Sequence[int]) -> None:
        claimed_at = self._clock()
        claims = await outbox.claim(
            connection, ids, holder=self._settings.holder, lease_s=self._settings.lease_s
        )
        if not claims:
            return
        failpoint("attempt recorded/socket")
        latest = claimed_at + self._settings.lease_s - SEND_TIMEOUT_S
        for claim in claims:
            self._own_attempts.update(claim.attempt_ids)
            self._start(self._attempt(claim, latest))

    async def _edit(self, connection: AsyncConnection, ids: Sequence[int]) -> None:
        lease_s = self._settings.lease_s
        latest = self._clock() + lease_s - SEND_TIMEOUT_S
        messages = await outdated.take(connection, ids, lease_s=lease_s)
        failpoint("edit taken/socket")
        for message in messages:
            self._start(self._rewrite(message, latest))

    def _start(self, sending: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rewrite(self, message: outdated.Outdated, latest: float) -> None:
        """Edit one message, unless it is later than ``latest``, and keep what became of it.

        An edit that is cancelled stays owed.
        """
        outcome: Outcome = Retry("this collector was stopped too long to edit in time")
        if self._clock() <= latest:
            sender, _ = self._outlets.limits(message.channel)
            outcome = await rewrite(
                self._outlets.get(message.channel), message, buttons=sender in self._listened
            )
        self._hold(message, outcome)
        self._edited.append(edited(message, outcome))
        self._wake.set()

    async def _attempt(self, claim: outbox.Claim, latest: float) -> None:
        """Send one message, unless it is later than ``latest``, and keep what became of it."""
        leave = Leave(self._leaves, claim.attempt_ids, self._clock, latest)
        try:
            outcome = await self._outcome(claim, latest, leave)
        except asyncio.CancelledError:
            outcome = Unknown("the collector stopped before an answer came")
        except Exception as error:  # noqa: BLE001  the border to code that may be anybody's
            # A channel must not raise; whether its socket was written, nobody can tell.
            _log.exception("channel %s failed on notification %d", claim.channel, claim.id)
            outcome = Unknown(f"bug in the channel: {type(error).__name__}")
        if isinstance(outcome, Unknown) and leave.state != "may have left":
            outcome = Retry(outcome.reason)
        if leave.state != "kept":
            await self._outlets.note(claim.channel, outcome)
        self._hold(claim, outcome)
        self._finished.append(judge(claim, outcome, jitter=self._jitter))
        self._wake.set()

    async def _outcome(self, claim: outbox.Claim, latest: float, leave: Leave) -> Outcome:
        if self._clock() > latest:
            return Retry(STOPPED)
        outlet = self._outlets.get(claim.channel)
        if not isinstance(outlet, Outlet):
            return outlet
        try:
            message = message_of(claim, buttons=outlet.sender in self._listened)
        except msgspec.ValidationError as error:
            return Failed(f"what was to be said cannot be read by this version: {error}")
        return await outlet.channel.send(message, leave)

    def _hold(self, claim: outbox.Claim | outdated.Outdated, outcome: Outcome) -> None:
        if not isinstance(outcome, Retry) or outcome.after_s <= 0:
            return
        now = self._clock()
        sender = self._outlets.limits(claim.channel)[0]
        # A second conversation that is told to wait meanwhile: it is the account that is too fast.
        again = self._told_to_wait.get(sender, now) > now
        if outcome.hold is Hold.CONVERSATION:
            # A little longer than the row itself, whose wait begins when it is stored.
            until = now + outcome.after_s + _HOLD_MARGIN_S
            self._limiter.hold_conversation(claim.conversation, until)
        if outcome.hold is Hold.SENDER or again:
            self._limiter.hold_sender(sender, now + outcome.after_s)
        self._told_to_wait[sender] = now + outcome.after_s

    async def _flush(self, connection: AsyncConnection) -> None:
        """Store outcomes; what cannot be stored now is kept for the next connection."""
        if finished := list(self._finished):
            await outcomes.finish(connection, finished, holder=self._settings.holder)
            del self._finished[: len(finished)]
        if edits := list(self._edited):
            await outdated.settle(connection, edits)
            del self._edited[: len(edits)]

    async def _end(self, connection: AsyncConnection) -> None:
        """Give what is on its way a little time, then store what is known."""
        deadline = self._clock() + STOP_WITHIN_S
        while self._tasks and self._clock() < deadline:
            await self._leaves.mark(connection, self._settings.holder)
            await asyncio.wait(self._tasks, timeout=_STOPPING_LOOK_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._flush(connection)
