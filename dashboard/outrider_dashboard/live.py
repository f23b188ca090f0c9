"""Live: one poller for each process reads the feed while somebody watches, and tells all of them.

The feed's number is the id of every event. A browser that lost the connection, or the whole
dashboard, comes back with the last number it saw (``Last-Event-ID``), and what was committed
meanwhile is told first: nothing is missed, nothing is told twice. Numbers come from the database
and mean the same to every dashboard process.

A database restored from a copy has a feed that went back. The poller reads the row it stands at
again each time: where it is gone or another one, all watchers hear of every kind and of
``restored``, and go on from where the feed stands now.

A watcher's queue is bounded. Whoever falls so far behind gets one event for all it missed: events
say what changed and not how, so joining them loses nothing.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from outrider.errors import Fault
from outrider_dashboard.numbers import stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import FeedRow

POLL_S = 0.5
RETRY_S = 2.0
"""Between tries while the store is out of reach."""

KEEPALIVE_S = 15.0
CHANGES_LIMIT = 1000
"""Feed rows read at once."""

MOST_WATCHERS = 200
"""Open event streams of one process; one more is told to come back later."""


@dataclass(frozen=True)
class Change:
    """Something was committed: up to which feed number, of which kinds."""

    number: int
    kinds: frozenset[str]

    def joined(self, later: Change) -> Change:
        """Return one change that says what both say."""
        return Change(later.number, self.kinds | later.kinds)


class Feed(Protocol):
    """The feed as the poller reads it."""

    async def feed_last(self) -> int:
        """Return the newest number."""

    async def feed_changes(self, after: int, limit: int) -> list[FeedRow]:
        """Return rows after a number, in order."""


@dataclass(eq=False)
class Watcher:
    """One open event stream: the changes it has not sent yet, joined into one."""

    _pending: Change | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, change: Change) -> None:
        """Add a change; what was not taken yet joins with it."""
        self._pending = self._pending.joined(change) if self._pending else change
        self._woken.set()

    async def take(self, timeout_s: float) -> Change | None:
        """Wait for a change; None: nothing came within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return None
        change, self._pending = self._pending, None
        self._woken.clear()
        return change


class Hub:
    """Owns the poller: it runs while there is a watcher, and at no other time."""

    def __init__(self, feed: Feed, *, poll_s: float = POLL_S) -> None:
        self._feed = feed
        self._poll_s = poll_s
        self._watchers: set[Watcher] = set()
        self._poller: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        """Set once the poller has tried to read where the feed stands."""

    @property
    def full(self) -> bool:
        """Whether no further watcher is taken."""
        return len(self._watchers) >= MOST_WATCHERS

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @property
    def polling(self) -> bool:
        """Whether the poller runs."""
        return self._poller is not None and not self._poller.done()

    @asynccontextmanager
    async def watch(self, after: int | None) -> AsyncIterator[Watcher]:
        """Join; with ``after``, what was committed since that number comes first."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            if not self.polling:
                self._started.clear()
                self._poller = asyncio.create_task(self._poll(), name="feed poller")
            # Only when the poller knows where it stands is it safe to read what lies before: a
            # commit between the two would be told by neither.
            await self._started.wait()
            if after is not None:
                await self._catch_up(watcher, after)
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    async def _catch_up(self, watcher: Watcher, after: int) -> None:
        try:
            rows = await self._feed.feed_changes(max(after - 1, 0), CHANGES_LIMIT)
            far = len(rows) == CHANGES_LIMIT or not rows
            last = await self._feed.feed_last() if far else None
        except Fault:
            # What was missed cannot be read now: say that anything may have changed.
            watcher.put(Change(after, ALL_KINDS))
            return
        if not rows:
            if last is not None and last < after:
                watcher.put(Change(last, ALL_KINDS | {RESTORED}))
            return
        rows = [row for row in rows if row.number > after]
        if rows:
            change = _joined(rows)
            # So far behind that not every row is read: all kinds may have changed.
            watcher.put(Change(last, ALL_KINDS) if last is not None else change)

    async def _poll(self) -> None:
        number: int | None = None
        # When the row that the poller stands at was committed: tells two histories apart.
        stands_at: datetime | None = None
        while True:
            try:
                if number is None:
                    number = await self._feed.feed_last()
                    if self._started.is_set():
                        # The store was away at the start: nobody knows what was committed since.
                        self._tell(Change(number, ALL_KINDS))
                    self._started.set()
                rows = await self._feed.feed_changes(max(number - 1, 0), CHANGES_LIMIT)
                if _other_history(rows, number, stands_at):
                    number, stands_at = await self._feed.feed_last(), None
                    self._tell(Change(number, ALL_KINDS | {RESTORED}))
                    continue
            except Fault:
                self._started.set()
                await asyncio.sleep(RETRY_S)
                continue
            new = [row for row in rows if row.number > number]
            if rows:
                stands_at = rows[-1].committed_at
            if new:
                change = _joined(new)
                number = change.number
                self._tell(change)
            if len(rows) < CHANGES_LIMIT:
                await asyncio.sleep(self._poll_s)

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher.put(change)


def _other_history(rows: Sequence[FeedRow], number: int, stands_at: datetime | None) -> bool:
    """Whether rows read from ``number`` on are not of the history the poller knows."""
    if number == 0:
        return False
    if not rows:
        # The newest row is never trimmed, so a feed without this one and all later ones went back.
        return True
    first = rows[0]
    return first.number == number and stands_at is not None and first.committed_at != stands_at


RESTORED = "restored"
"""The kind that says: the database went back to an earlier state."""

ALL_KINDS = frozenset({"ingest", "rules", "alerts", "health", "silences", "admin"})


def _joined(rows: Iterable[FeedRow]) -> Change:
    ordered = list(rows)
    return Change(ordered[-1].number, frozenset(row.kind for row in ordered))


def event(name: str, data: object, number: int | None = None) -> str:
    """Write one server-sent event; JSON has no line breaks, so data is one line."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def last_event_id(text: str | None) -> int | None:
    """Read the number a browser comes back with; None where it has none or it is nonsense."""
    return stored(text) if text else None


async def changes(
    hub: Hub, after: int | None, stopping: Callable[[], bool], *, min_gap_s: float = 1.0
) -> AsyncIterator[str]:
    """Yield the event stream of one page: ``change`` with the kinds, and keepalives."""
    yield f"retry: {int(RETRY_S * 1000)}\n\n"
    quiet_s = 0.0
    async with hub.watch(after) as watcher:
        while not stopping():
            change = await watcher.take(1.0)
            if change is not None:
                yield event("change", sorted(change.kinds), change.number)
                quiet_s = 0.0
                # A page needs no more than one refresh a second, however fast lines arrive.
                await asyncio.sleep(min_gap_s)
                continue
            quiet_s += 1.0
            if quiet_s >= KEEPALIVE_S:
                yield ": still here\n\n"
                quiet_s = 0.0
