"""Workers that live long and are killed: one with the SDK, one under `outrider run`.

Each keeps a book of what it did in memory that outlives it: the line it began, the lines whose call
returned, its process. Killed between the two, one line is in doubt: it may be there or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.writers import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINES_PER_S = 40
_BOOK = struct.Struct("<QQQ")

_COMMON = """
import json, mmap, os, struct, sys, time
with open(sys.argv[1], "r+b") as file:
    book = mmap.mmap(file.fileno(), 24)
number = struct.unpack_from("<Q", book, 0)[0]
struct.pack_into("<Q", book, 16, os.getpid())
def numbered(write):
    global number
    while True:
        struct.pack_into("<Q", book, 0, number + 1)
        write(number)
        struct.pack_into("<Q", book, 8, number + 1)
        number += 1
        time.sleep(1 / float(sys.argv[2]))
"""
_SDK = f"""{_COMMON}
import outrider
outrider.init(service="sdk", worker="sdk-1")
log = outrider.get_logger("sdk")
numbered(lambda n: (log.info("numbered", n=n), outrider.progress(done=n)))
"""
# One write a line: the lines of a killed child are whole, or not there.
_PRINTS = f"""{_COMMON}
line = '{{"level":"info","message":"numbered","attributes":{{"n":%d}}}}\\n'
numbered(lambda n: os.write(1, (line % n).encode()))
"""


@dataclass(slots=True)
class Worker:
    """One worker; ``kill`` ends its program, and ``run`` starts it again."""

    ledger: Ledger
    command: tuple[str, ...]
    book: Path
    environment: Mapping[str, str]
    stopped: bool = False
    lives: int = 0
    failures: list[str] = field(default_factory=list)
    _shared: mmap.mmap | None = None

    @classmethod
    def with_sdk(cls, root: Path, environment: Mapping[str, str]) -> Worker:
        """One that logs through the SDK."""
        book = root / "sdk.book"
        command = (sys.executable, "-c", _SDK, str(book), str(LINES_PER_S))
        return cls(Ledger("sdk"), command, book, environment)

    @classmethod
    def under_run(cls, root: Path, environment: Mapping[str, str]) -> Worker:
        """One that prints, under `outrider run`."""
        book = root / "run.book"
        wrapper = (sys.executable, "-m", "outrider.command", "run", "--quiet", "--service", "run")
        child = (sys.executable, "-c", _PRINTS, str(book), str(LINES_PER_S))
        return cls(Ledger("run"), (*wrapper, "--", *child), book, environment)

    def look(self) -> None:
        """Enter into the ledger what the book says."""
        self.ledger.written = self._read()[1]

    def kill(self) -> None:
        """SIGKILL the program (not its wrapper: what is in the pipe is read to its end)."""
        if pid := self._read()[2]:
            # It may be dead already, and its wrapper not yet done with what is in the pipe.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def run(self) -> None:
        """Keep it running until ``stopped``; then end it."""
        self.book.write_bytes(bytes(_BOOK.size))
        with self.book.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _BOOK.size)
        while not self.stopped:
            process = await asyncio.create_subprocess_exec(
                *self.command, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            self.lives += 1
            code = await self._end_of(process)
            if code not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
                self.failures.append(f"{self.ledger.service}: exit code {code}")
                await asyncio.sleep(1)
            began, returned, _ = self._read()
            if began > returned:
                self.ledger.doubtful.add(returned)
            # The next one begins a line that nobody began.
            _BOOK.pack_into(self._book(), 0, began, began, 0)
            self.look()

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        while True:
            try:
                return await asyncio.wait_for(process.wait(), 0.5)
            except TimeoutError:
                # It may have started too late to be killed by who asked for the end.
                if self.stopped:
                    self.kill()

    def _book(self) -> mmap.mmap:
        assert self._shared is not None
        return self._shared

    def _read(self) -> tuple[int, int, int]:
        if self._shared is None:
            return 0, 0, 0
        began, returned, pid = _BOOK.unpack_from(self._shared)
        return began, returned, pid
