"""The workers of the kill test: asked to end, they end, however they stand."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tests.chaos.workers import Worker
from tests.chaos.writers import Ledger
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

# A wrapper whose program is dead while it still has something to do.
_WRAPPER = """
import struct, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", ""])
child.wait()
with open(sys.argv[1], "r+b") as book:
    book.write(struct.pack("<QQQ", 1, 1, child.pid))
time.sleep(1.2)
sys.exit(137)
"""


async def test_a_program_that_is_dead_already_is_ended(tmp_path: Path) -> None:
    """Its wrapper goes on for a while: whoever ends the worker meanwhile waits for it."""
    book = tmp_path / "book"
    worker = Worker(Ledger("w"), (sys.executable, "-c", _WRAPPER, str(book)), book, {})
    running = asyncio.create_task(worker.run())

    def has_written() -> int:
        worker.look()
        return worker.ledger.written

    await eventually(has_written)

    worker.stopped = True
    worker.kill()
    await asyncio.wait_for(running, 30)

    assert worker.failures == []
    assert worker.lives == 1
