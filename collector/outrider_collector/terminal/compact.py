"""``outrider store compact``: the compactor by hand, with its progress."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider.command import DONE
from outrider.errors import Fault, Reason
from outrider_collector.store import schema
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.database_url import target
from outrider_collector.terminal.commands import say
from outrider_collector.terminal.progress import Progress

if TYPE_CHECKING:
    from outrider_collector.config import Configuration
    from outrider_collector.store.compaction.compactor import Totals


async def run(configuration: Configuration, *, follow: bool, as_json: bool) -> int:
    """Compact all that is old enough, without rests; ``follow``: until interrupted, with rests.

    With ``as_json`` the sum is a JSON document. Returns the exit code.

    Raises a Fault where another process compacts, and those of the store.
    """
    url = configuration.database_url
    async with schema.opened(url):
        pass  # a schema that is not right is told before a process waits for the lease
    store = configuration.store
    pace = Pace(timedelta(microseconds=store.compact_after.us), store.compact_share)
    if not follow:
        pace = replace(pace, share=1.0, everything=True)
    shown = _Sum(Progress())
    compactor = Compactor(
        url, pace, holder=f"outrider store compact {os.getpid()} {secrets.token_hex(4)}",
        progress=shown.moved,
    )  # fmt: skip
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if follow:
        sys.stderr.write("compacting until Ctrl-C; who else compacts is waited for\n")
        await compactor.run(stop)
    elif not await compactor.once(stop):
        raise Fault(
            Reason.CONFLICT,
            detail=f"another process compacts: {target(url)}: a collector does it by itself; "
            "set `store.compact = false` there to do it by hand",
        )
    shown.end(compactor.totals, as_json=as_json)
    return DONE


class _Sum:
    """What was moved, shown at most ten times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._shown_at = 0.0

    def moved(self, totals: Totals) -> None:
        """Show what was moved so far."""
        now = time.monotonic()
        if now - self._shown_at > 0.1:
            self._shown_at = now
            self._progress.show(_sentence(totals, now - self._began))

    def end(self, totals: Totals, *, as_json: bool) -> None:
        """Say the sum."""
        self._progress.clear()
        seconds = time.monotonic() - self._began
        said = _sentence(totals, seconds)
        if as_json:
            said = json.dumps({**asdict(totals), "seconds": round(seconds, 3)})
        say(said)


def _sentence(totals: Totals, seconds: float) -> str:
    made = f"; {totals.sheets:,} sheets made" if totals.sheets else ""
    if not totals.records:
        return f"nothing is old enough to be compacted{made}"
    return (
        f"{totals.records:,} records: {totals.blocks_before:,} fresh blocks became "
        f"{totals.blocks_after:,}, {totals.records / max(seconds, 0.001):,.0f} records/s{made}"
    )
