"""Keeps the compactor's process alive beside a collector.

Every collector has one; the lease decides which of them acts. It ends with its collector, however
that ends: its standard input is closed then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import outrider
from outrider.retry import Backoff
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    from outrider_collector.config import StoreConfig

END_S = 4.0
"""A move on its way has so long to end."""

log = outrider.get_logger(__name__)


async def keep_compacting(url: str, config: StoreConfig, holder: str, stop: asyncio.Event) -> None:
    """Run the compactor until ``stop``; one that ends by itself is started again."""
    order: dict[str, str | float] = {
        "url": url,
        "holder": holder,
        "age_s": config.compact_after.us / 1e6,
        "share": config.compact_share,
    }
    backoff = Backoff(1.0, 60.0)
    while not stop.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "outrider_collector.store.compaction",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _until_it_ends(process, order, stop)
        finally:
            await _end(process)
        if not stop.is_set():
            log.warning("the compactor ended by itself", code=process.returncode)
            await first_of(backoff.next(), stop)


async def _until_it_ends(
    process: asyncio.subprocess.Process, order: dict[str, str | float], stop: asyncio.Event
) -> None:
    assert process.stdin is not None  # noqa: S101  a pipe was asked for
    # One that is gone already is seen by its end.
    with suppress(ConnectionError):
        process.stdin.write(json.dumps(order).encode() + b"\n")
        await process.stdin.drain()
    ended = asyncio.ensure_future(process.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        stopped.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        # What it was doing is undone, as after any other crash.
        process.kill()
        await process.wait()
