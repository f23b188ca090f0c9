"""The disk thread: the one owner of files and state.

In a circle: obey what the loop says, look for files, look at files that are due and read them, hand
over batches that are due, and once a second see to ends of files, watermarks, the cache and the
picture that heartbeats are made of. It waits only for the next thing that is due or for an order.

When a file is looked at is :mod:`outrider_agent.schedule`'s business.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.instants import from_unix_us
from outrider_agent.backfill import Backfill
from outrider_agent.batches import BatchMaker, Pace, is_full
from outrider_agent.delivery import Acknowledged, GoBack, Refused
from outrider_agent.orders import (
    Clock,
    Committed,
    Opened,
    Reload,
    SettingsChanged,
    Stop,
    Tell,
    Welcomed,
)
from outrider_agent.schedule import FIRST_LOOK_S, WHOLE_LOOK_S, Schedule, on_grid
from outrider_agent.tail import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.files import Files
    from outrider_agent.followed import Followed
    from outrider_agent.handover import Handover
    from outrider_agent.reports import Reports

_FULL_LOOK_S = 10.0
_HOUSEKEEPING_S = 1.0
# A stream in backlog leaves this part of the window to the others.
_BACKLOG_SHARE = 4
# A batch leaves so much early rather than have a turn of its own right after another.
_SLACK_S = 0.002
QUIET_S = 0.5
"""A file that has been read to its end and quiet for so long has a whole record at its end."""


class DiskThread:
    """The body of the disk thread; :meth:`run` returns after a ``Stop``."""

    def __init__(
        self,
        files: Files,
        handover: Handover,
        reports: Reports,
        *,
        window_bytes: int,
        backfill: Backfill | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._handover = handover
        self._reports = reports
        self._window = window_bytes
        self._backfill = backfill or Backfill()
        self._clock = clock
        self._wall = wall
        self._pace = Pace()
        self._schedule = Schedule()
        self._flushes: set[Followed] = set()
        self._open: set[Followed] = set()
        """Files whose last lines may be the beginning of a longer record."""
        self._next_check = self._next_full_look = self._next_housekeeping = 0.0
        # Files with more to read than the window has room for.
        self._waiting: list[Followed] = []
        self._stopping = False
        self.turned = clock()
        """When the last turn began; monotonic seconds."""

    @property
    def _batches(self) -> BatchMaker:
        return self._files.batches

    def run(self) -> None:
        """Work until told to stop; what is pending is handed over before it returns."""
        wait_s = 0.0
        while not self._stopping:
            for order in self._handover.orders(wait_s):
                self._obey(order)
            wait_s = self.turn()
        self._flush_all()
        self._files.save()

    def turn(self) -> float:
        """Do what is due now; return how many seconds nothing will be."""
        now = self.turned = self._clock()
        self._look_for_files(now)
        unpacked = self._files.unpack(self._wall_us())
        if unpacked is not None:
            self._schedule.at(unpacked, now)
        self._look_at_files(now)
        if self._open:
            self._close_quiet(now)
        self._flush_due(now)
        if now >= self._next_housekeeping:
            self._next_housekeeping = on_grid(now, _HOUSEKEEPING_S)
            self._look_at_waiting(now)
            self._files.housekeeping(now, self._wall_us(), time.time_ns())
        return 0.0 if self._files.unpacks else max(0.0, self._next_due() - self._clock())

    def _next_due(self) -> float:
        moments = [self._next_check, self._next_housekeeping, self._schedule.next()]
        moments += [self._pace.due(followed.tail) for followed in self._flushes]
        moments += [followed.tail.grown + QUIET_S for followed in self._open]
        return min(moments)

    def _wall_us(self) -> int:
        return from_unix_us(int(self._wall() * 1_000_000))

    # ---------------------------------------------------------------- orders

    def _obey(self, order: object) -> None:
        if isinstance(order, Acknowledged):
            self._files.acknowledged(order)
        elif isinstance(order, GoBack):
            followed = self._files.go_back(order)
            if followed is not None:
                self._flushes.discard(followed)
                self._schedule.at(followed, self._clock())
        elif isinstance(order, Committed):
            self._files.committed(order)
        elif isinstance(order, Opened):
            self._files.opened(order.stream_ids)
        elif isinstance(order, Refused):
            self._files.refused(order, self._clock())
        elif isinstance(order, Welcomed):
            self._files.welcomed(order)
            self._next_full_look = self._next_check = self._next_housekeeping = 0.0
        elif isinstance(order, SettingsChanged):
            self._pace = Pace(order)
            self._batches.compress(order.compress)
        elif isinstance(order, Clock):
            self._batches.clock_offset_us = order.offset_us
        elif isinstance(order, Tell):
            order.answer(self._files.account(order.question, self._clock(), self._wall_us()))
        elif isinstance(order, Reload):
            self._files.reload(order.agent)
            self._backfill.bytes_per_s = order.agent.backfill_bytes_per_s
            self._next_full_look = self._next_check = 0.0
        elif isinstance(order, Stop):
            self._stopping = True

    # ---------------------------------------------------------------- looking

    def _look_for_files(self, now: float) -> None:
        if now < self._next_check:
            return
        self._next_check = on_grid(now, WHOLE_LOOK_S)
        started_us = self._wall_us()
        if now >= self._next_full_look or self._files.directories_changed(time.time_ns()):
            self._next_full_look = now + _FULL_LOOK_S
            self._files.look(self._wall())
        for followed in self._files.assign(now, self._wall()):
            self._schedule.at(followed, now)
        self._files.looked_us = started_us

    def _look_at_files(self, now: float) -> None:
        if self._waiting and self._handover.room() > self._window // _BACKLOG_SHARE:
            waiting, self._waiting = self._waiting, []
            for followed in waiting:
                self._schedule.at(followed, now)
        due = self._schedule.take_due(now)
        due += self._schedule.take_awake(now, self._wall_us())
        # What a batch that is due can take along does not wait for the next, nor for a turn of its
        # own.
        due += [f for f in self._due_batches(now) if self._schedule.has_appointment(f)]
        for followed in due:
            if self._look_at(followed, now):
                self._schedule.at(followed, now)

    def _look_at(self, followed: Followed, now: float) -> bool:
        """Look at one file; True when it has more to read at once."""
        tail = followed.tail
        wait_s = self._backfill.wait_s(now) if followed.behind else 0.0
        if wait_s:
            self._schedule.at(followed, now + wait_s)
            return False
        room, before = self._handover.room(), tail.position
        may_read = room > (self._window // _BACKLOG_SHARE if followed.behind else 0)
        try:
            look = tail.look(self._wall_us(), now, may_read=may_read)
        except OSError as error:
            self._reports.say(
                f"read {followed.path}",
                f"cannot read: {followed.path}: {error.strerror or error}; it is tried again",
                event="pipeline.rejected",
                severity=severities.ERROR,
                path=followed.path,
            )
            look = Look.NOTHING
        if look is Look.MORE and not may_read:
            self._waiting.append(followed)
            return False
        followed.behind = look is Look.MORE
        if followed.behind:
            self._backfill.took(tail.position - before, now)
        if look is Look.REPLACED:
            self._flush(followed)
            return self._files.replaced(followed, self._wall_us()) is not None
        if look is Look.NOTHING:
            self._schedule.later(followed, now)
            return False
        followed.interval_s = FIRST_LOOK_S
        self._after_reading(followed, now)
        if look is Look.READ:
            self._schedule.again(followed, now)
        return look is Look.MORE

    def _close_quiet(self, now: float) -> None:
        """Close records whose writer has been quiet. Never one that has more to be read."""
        for followed in list(self._open):
            tail = followed.tail
            if followed.ended or not followed.has_file or not tail.holds:
                self._open.discard(followed)
            elif now >= tail.grown + QUIET_S:
                self._open.discard(followed)
                try:
                    closed = tail.close_record(self._wall_us(), now)
                except OSError:
                    closed = False
                if closed:
                    self._after_reading(followed, now)

    def _look_at_waiting(self, now: float) -> None:
        """Notice what becomes of files that wait for room, without reading them."""
        waiting, self._waiting = self._waiting, []
        for followed in waiting:
            if not followed.ended and self._look_at(followed, now):
                self._schedule.at(followed, now)

    def _after_reading(self, followed: Followed, now: float) -> None:
        tail = followed.tail
        if tail.holds:
            self._open.add(followed)
        if not tail.has_pending:
            return
        if is_full(tail):
            self._flush(followed)
            return
        if not tail.pending_urgent:
            tail.pending_urgent = self._pace.urgent(tail)
        if self._pace.due(tail) <= now + _SLACK_S:
            self._flush(followed)
        else:
            self._flushes.add(followed)

    # ---------------------------------------------------------------- handing over

    def _flush_due(self, now: float) -> None:
        for followed in self._due_batches(now):
            self._flush(followed)

    def _due_batches(self, now: float) -> list[Followed]:
        return [one for one in self._flushes if self._pace.due(one.tail) <= now + _SLACK_S]

    def _flush(self, followed: Followed) -> None:
        self._flushes.discard(followed)
        if followed.tail.has_pending and not followed.ended:
            self._handover.give(self._batches.make(followed.tail, self._files.looked_us))

    def _flush_all(self) -> None:
        for followed in list(self._flushes):
            self._flush(followed)
