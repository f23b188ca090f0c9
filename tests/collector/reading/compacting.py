"""Runs the real compactor over what a test stored."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider_collector.store import attaching, binary, leases
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.move import candidates, move
from outrider_collector.store.compaction.plan import moves
from outrider_collector.store.connect import connect

if TYPE_CHECKING:
    from outrider_collector.store.compaction.compactor import Totals

AT_ONCE = Pace(age=timedelta(0), share=1.0, everything=True)


async def compact(url: str, pace: Pace = AT_ONCE) -> Totals:
    """Move everything that is there."""
    compactor = Compactor(url, pace, holder="test")
    assert await compactor.once(asyncio.Event())
    return compactor.totals


async def compact_some(url: str, seed: int) -> int:
    """Move about half of the blocks of each hour; return how many moves that took."""
    dice = random.Random(seed)
    done = 0
    async with await connect(url, application_name="test") as connection:
        binary.register(connection)
        lease = await leases.take(connection, "compactor", "test", 60)
        assert lease is not None
        for hour, _ in await attaching.attached(connection, "blocks_fresh"):
            found = await candidates(connection, hour, timedelta(0))
            chosen = [each for each in found if dice.random() < 0.5]
            for planned in moves(chosen, all_of_them=True):
                await move(connection, lease, hour, planned)
                done += 1
        await leases.release(connection, lease)
    return done
