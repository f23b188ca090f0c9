"""The queue of batches that wait for a commit, and when it is time for one.

One commit takes everything that waits, up to a limit of bytes: fewer, larger commits are cheaper
and make fewer, larger blocks. So what comes soon after a commit waits a moment for company; a batch
after a rest does not, and a batch somebody waits for (urgent), many bytes, or an agent that has
half of its window unacknowledged end the wait at once. The limit on what is held is the credit
budget's, not the queue's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outrider_collector.ingest.credit import CreditBudget
    from outrider_collector.ingest.session import Held

GATHER_S = 0.25
"""From one commit's begin to the next's, unless something presses."""
ENOUGH_BYTES = 256 * 1024
"""So many bytes are worth a commit at once."""
COMMIT_BYTES = 32 * 1024 * 1024
"""At most so many bytes (in memory) go into one commit, one batch at least."""
COMMIT_BATCHES = 10_000


class BatchQueue:
    """Held batches in the order of their arrival."""

    def __init__(self, budget: CreditBudget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._held: deque[Held] = deque()
        self._bytes = 0
        self._urgent = 0
        self._changed = asyncio.Event()
        self._draining = False
        self._taken_at = float("-inf")
        self.dropped = 0
        """Batches that were dropped uncommitted: their session ended or their stream rewound."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting_bytes(self) -> int:
        """Memory of the batches that wait."""
        return self._bytes

    def put(self, held: Held) -> None:
        """Add a batch that was just received."""
        self._budget.received(held.session.number, held.wire_bytes, held.memory_bytes)
        held.urgent = held.urgent or self._presses(held)
        self._held.append(held)
        self._bytes += held.memory_bytes
        self._urgent += held.urgent
        self._changed.set()

    def put_back(self, batches: Iterable[Held]) -> None:
        """Put batches that must wait a turn back to the front, in their order."""
        for held in reversed(list(batches)):
            self._held.appendleft(held)
            self._bytes += held.memory_bytes
            self._urgent += held.urgent
        self._changed.set()

    def drain(self) -> None:
        """Gather no longer: the collector stops."""
        self._draining = True
        self._changed.set()

    async def ready(self) -> None:
        """Wait until it is time for a commit."""
        while (wait_s := self._wait_s()) is None or wait_s > 0:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue

    def take(self) -> list[Held]:
        """Take what one commit can hold; batches not worth a claim are dropped on the way."""
        taken: list[Held] = []
        size = 0
        self._taken_at = self._clock()
        while self._held and len(taken) < COMMIT_BATCHES:
            held = self._held[0]
            if taken and size + held.memory_bytes > COMMIT_BYTES:
                break
            self._held.popleft()
            self._bytes -= held.memory_bytes
            self._urgent -= held.urgent
            if held.session.admit(held.batch.stream, held.batch.begin):
                size += held.memory_bytes
                taken.append(held)
            else:
                self.dropped += 1
                self.settle(held)
        return taken

    def settle(self, held: Held) -> None:
        """Give back what a batch held: it was committed or dropped."""
        self._budget.settled(held.session.number, held.wire_bytes, held.memory_bytes)

    def _presses(self, held: Held) -> bool:
        window = self._budget.window(held.session.number)
        return self._budget.in_flight(held.session.number) * 2 >= window

    def _wait_s(self) -> float | None:
        """Seconds until it is time; None while nothing waits."""
        if not self._held:
            return None
        if self._urgent or self._bytes >= ENOUGH_BYTES or self._draining:
            return 0.0
        return self._taken_at + GATHER_S - self._clock()
