"""Messages that are about to leave: each waits until the ledger says that it may have left.

A deliverer that ends before its attempt is marked has surely sent nothing, and its attempt uses up
no repeat. So the mark is made as late as can be, by the channel's asking right before its first
byte (:mod:`outrider_alerting.channels.leaving`), and committed before that byte is written. All
that wait are marked in one statement by the loop that owns the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from outrider.failpoint import failpoint
from outrider_alerting.channels.leaving import StaysError
from outrider_collector.store import leaving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

STOPPED = "this collector was stopped too long to send in time"
_NO_DATABASE = "the database was away when it was to leave"


class Leaves:
    """Who waits to be marked. ``wake`` is set when there is somebody."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._open = False
        self._waiting: list[tuple[Sequence[int], asyncio.Future[bool]]] = []

    def open(self) -> None:
        """There is a connection: from now on messages may wait for their mark."""
        self._open = True

    def close(self) -> None:
        """The connection is gone: who waits stays, and so does who comes."""
        self._open = False
        for _, answer in self._take():
            answer.set_exception(StaysError(_NO_DATABASE))

    async def wait(self, attempts: Sequence[int]) -> None:
        """Return when these attempts of one message are marked; StaysError: they must not be."""
        if not self._open:
            raise StaysError(_NO_DATABASE)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((attempts, answer))
        self._wake.set()
        if not await answer:
            raise StaysError("its claim was taken back before it left")

    async def mark(self, connection: AsyncConnection, holder: str) -> None:
        """Mark all that wait now."""
        if not self._waiting:
            return
        # They stay in the list until the commit is known: if it fails, `close` answers them.
        waiting = list(self._waiting)
        ids = [attempt for attempts, _ in waiting for attempt in attempts]
        marked = await leaving.mark_leaving(connection, ids, holder=holder)
        del self._waiting[: len(waiting)]
        for attempts, answer in waiting:
            if not answer.done():
                answer.set_result(marked.issuperset(attempts))

    def _take(self) -> list[tuple[Sequence[int], asyncio.Future[bool]]]:
        waiting, self._waiting = self._waiting, []
        return [(attempts, answer) for attempts, answer in waiting if not answer.done()]


class Leave:
    """What one message's channel asks before its first byte."""

    def __init__(
        self, leaves: Leaves, attempts: Sequence[int], clock: Callable[[], float], latest: float
    ) -> None:
        self._leaves = leaves
        self._attempts = attempts
        self._clock = clock
        self._latest = latest
        # Its channel has not asked, has no answer or one that the message must stay (which is no
        # fault of the channel), or may have written: only then it may have arrived.
        self.state: Literal["unasked", "kept", "may have left"] = "unasked"

    async def __call__(self) -> None:
        """Return when the message may leave, at most once marked; StaysError: it must not."""
        if self.state == "may have left":
            return
        self.state = "kept"
        await self._leaves.wait(self._attempts)
        if self._clock() > self._latest:
            raise StaysError(STOPPED)
        self.state = "may have left"
        failpoint("leave recorded/socket")
