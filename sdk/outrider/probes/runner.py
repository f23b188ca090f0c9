"""Probes at work: looks on a few threads, what they find on the event loop.

A look blocks, at most until its deadline; the system's resolver and a dead file system may hold a
thread for longer. There are at most :data:`~outrider.probes.spec.MAX_THREADS`, started when they
are needed: when all are held the others' looks wait, expire, and are told so. Threads are daemons,
so a held one delays no end of the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from outrider import severity
from outrider.probes.board import Board, is_trouble
from outrider.probes.judge import UNDECIDED
from outrider.probes.look import look
from outrider.probes.spec import MAX_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outrider.probes.board import Change, Key, Report
    from outrider.probes.judge import Judge
    from outrider.probes.result import Result
    from outrider.probes.samples import Minute
    from outrider.probes.spec import Spec

    Tell = Callable[[str, int, str, dict[str, Any]], object]

_IDLE_S = 5.0
"""Expiry and samples are looked at no less often than this."""


class Runner:
    """Runs the probes of one process.

    ``tell(event, severity, message, attributes)`` records a change or a minute's samples; ``hurry``
    is called when a state has changed. Everything but the looks happens on the event loop.
    """

    def __init__(
        self,
        specs: Iterable[Spec[Any]],
        host: str,
        *,
        tell: Tell,
        hurry: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._tell = tell
        self._hurry = hurry
        self._clock = clock
        self._board = Board(host)
        self._board.configure(specs, clock())
        self._threads = _Threads(MAX_THREADS)
        self._wake = asyncio.Event()

    @property
    def held(self) -> int:
        """How many threads are in a look."""
        return self._threads.busy

    def configure(self, specs: Iterable[Spec[Any]]) -> None:
        """Run these from now on."""
        self._board.configure(specs, self._clock())
        self._wake.set()

    def reports(self, *, everything: bool) -> list[Report]:
        """Return how the components are: all, or those of which something is new."""
        return self._board.reports(self._clock(), everything=everything)

    def look_up(self) -> list[Report]:
        """Return how all components are; what is new stays so for :meth:`reports`."""
        return self._board.look_up(self._clock())

    async def run(self) -> None:
        """Look whenever a look is due, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                now_s = self._clock()
                for judge in self._board.take_due(now_s):
                    self._threads.submit(_Look(judge, loop, self._finish))
                for change in self._board.expire(now_s):
                    self._tell_change(change)
                for key, minute in self._board.samples(now_s).items():
                    self._tell_minute(key, minute)
                wait_s = max(0.0, min(_IDLE_S, self._board.next_s() - self._clock()))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait_s)
                self._wake.clear()
        finally:
            self._threads.end()

    def _finish(self, judge: Judge, result: Result) -> None:
        change = self._board.finish(judge, result, self._clock())
        if change is not None:
            self._tell_change(change)

    def _tell_change(self, change: Change) -> None:
        self._hurry()
        before, state = change.before or "not looked at", change.verdict.state
        if change.before == UNDECIDED and not is_trouble(state):
            return  # that it is well from the start is no news
        level = severity.WARN if is_trouble(state) else severity.INFO
        reason = f": {change.verdict.reason}" if change.verdict.reason else ""
        self._tell(
            "health.changed",
            level,
            f"{change.key.name} is {state}, was {before}{reason}",
            {
                **self._attributes(change.key),
                "from": change.before,
                "to": state,
                "reason": change.verdict.reason,
            },
        )

    def _tell_minute(self, key: Key, minute: Minute) -> None:
        attributes = {**self._attributes(key), **minute.attributes()}
        message = f"{key.name}: {minute.n} looks, {minute.failed} failed"
        self._tell("health.sampled", severity.DEBUG, message, attributes)

    def _attributes(self, key: Key) -> dict[str, Any]:
        return {"component_kind": key.group, "component": f"{key.name}@{self._host}"}


class _Look:
    """One look on its way to a thread and back."""

    def __init__(
        self,
        judge: Judge,
        loop: asyncio.AbstractEventLoop,
        finish: Callable[[Judge, Result], None],
    ) -> None:
        self._judge = judge
        self._loop = loop
        self._finish = finish

    def __call__(self) -> None:
        result = look(self._judge.spec)
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._finish, self._judge, result)


class _Threads:
    """A few daemon threads, as many as there was work for at one time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.busy = 0

    def submit(self, work: Callable[[], None]) -> None:
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._count < self._most:
            self._count += 1
            threading.Thread(target=self._serve, name="probe", daemon=True).start()

    def end(self) -> None:
        """Let the threads end when they have nothing to do; a held one ends after its look."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            with self._lock:
                self.busy += 1
            try:
                work()
            finally:
                with self._lock:
                    self.busy -= 1
            self._idle.release()
