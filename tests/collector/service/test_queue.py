"""When it is time for a commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outrider_collector.ingest.credit import CreditBudget
from outrider_collector.ingest.queue import ENOUGH_BYTES, GATHER_S, BatchQueue
from outrider_collector.ingest.session import Held, Session
from outrider_collector.store.claim import PendingBatch


class Waiting:
    """A queue under a clock that is set by hand, and one agent with a wide window."""

    def __init__(self) -> None:
        self.now = 1_000.0
        budget = CreditBudget()
        self.queue = BatchQueue(budget, lambda: self.now)
        outbox: Any = None
        self.session = Session(1, 1, 1, outbox)
        self.window = budget.join(1)
        self._end = 0

    def put(self, memory_bytes: int = 200, *, wire_bytes: int = 100, urgent: bool = False) -> None:
        """A batch that continues the last."""
        begin, self._end = self._end, self._end + 10
        batch = PendingBatch(
            agent=1, session=1, team=1, stream=10, service="s", worker="w", host="h",
            begin=begin, end=self._end, previous_digest=b"", digest=b"d" * 16, columns=None,
        )  # fmt: skip
        self.queue.put(Held(self.session, batch, wire_bytes, memory_bytes, urgent=urgent))

    async def is_time(self) -> bool:
        """Whether a commit would begin now."""
        ready = asyncio.ensure_future(self.queue.ready())
        await asyncio.sleep(0)
        done = ready.done()
        ready.cancel()
        return done


async def test_a_batch_after_a_rest_waits_for_nobody() -> None:
    """What nothing came before is committed at once, so a lone line is soon a row."""
    waiting = Waiting()
    assert not await waiting.is_time()
    waiting.put()
    assert await waiting.is_time()
    assert len(waiting.queue.take()) == 1
    waiting.now += 2 * GATHER_S
    waiting.put()
    assert await waiting.is_time()


async def test_what_comes_soon_after_a_commit_gathers() -> None:
    """Many small batches are few commits: the next begins a while after the last began."""
    waiting = Waiting()
    waiting.put()
    waiting.queue.take()
    for _ in range(4):
        waiting.now += GATHER_S / 5
        waiting.put()
        assert not await waiting.is_time()
    waiting.now += GATHER_S / 4
    assert await waiting.is_time()
    assert len(waiting.queue.take()) == 4


async def test_who_presses_ends_the_gathering() -> None:
    """An urgent batch, much to commit, and a collector that stops wait for no company."""
    for press in ("urgent", "bytes", "drain"):
        waiting = Waiting()
        waiting.put()
        waiting.queue.take()
        waiting.put(ENOUGH_BYTES if press == "bytes" else 200, urgent=press == "urgent")
        if press == "drain":
            assert not await waiting.is_time()
            waiting.queue.drain()
        assert await waiting.is_time()


@pytest.mark.parametrize("share", [0.4, 0.6])
async def test_half_a_window_unacknowledged_ends_the_gathering(share: float) -> None:
    """An agent that could stall is not kept waiting."""
    waiting = Waiting()
    waiting.put()
    waiting.queue.settle(waiting.queue.take()[0])
    waiting.put(wire_bytes=int(waiting.window * share))
    assert await waiting.is_time() == (share > 0.5)
