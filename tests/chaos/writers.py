"""Writers of numbered lines, and the ledgers of what they wrote.

Each has a service of its own and numbers its lines from 0. Lines of files have one length, so that
a number is a place in its file and a gap of bytes is a gap of numbers.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ROTATE_EVERY = 400
# An agent may be down for some seconds; what is born and deleted meanwhile is outside the promise.
KEEP = 40
ERROR_EVERY = 10
LINE_BYTES = 160
AT_ONCE = 5
"""So many lines a process that lives for a moment writes."""

_SHORT_LIVED = """
import sys, outrider
outrider.init(service="short", worker=sys.argv[3])
log = outrider.get_logger("short")
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    log.info("numbered", n=number)
"""


@dataclass(slots=True)
class Ledger:
    """The oracle's truth about one service."""

    service: str
    written: int = 0
    """So many lines were written: the calls returned."""
    doubtful: set[int] = field(default_factory=set)
    """Numbers whose writer was killed in the call: there or not, once."""
    lives: list[int] = field(default_factory=list)
    """First number of each file, where lines have a length that is known."""
    no_room: list[range] = field(default_factory=list)
    """Numbers that were written while the inbox had no room: gap rows may account for them."""
    stored: int = 0
    """All before this number are accounted for, as far as was looked."""


def rename(path: Path, out: int) -> int:
    """Rename as logrotate does, each to the next number; the oldest goes."""
    os.close(out)
    for age in range(KEEP - 1, 0, -1):
        old = path.with_name(f"{path.name}.{age}")
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{age + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))
    return _open(path)


def copytruncate(path: Path, out: int) -> int:
    """Copy, then truncate, and write nothing in between: what is promised is that nothing is lost.

    The copy is complete before it has its name, as that of any tool that is killed at times is.
    """
    for age in range(KEEP - 1, 0, -1):
        old = path.with_name(f"{path.name}.{age}")
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{age + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.ftruncate(out, 0)
    return out


@dataclass(slots=True)
class FileWriter:
    """Appends numbered JSON lines to one file and rotates it; one line in ten is an error."""

    path: Path
    lines_per_s: int
    ledger: Ledger = field(default_factory=lambda: Ledger("chaos"))
    stopped: bool = False
    rotations: int = 0
    rotate_every: int = ROTATE_EVERY
    rotate: Callable[[Path, int], int] | None = rename
    """None: the file is deleted, written to a little longer, and closed."""

    @property
    def written(self) -> int:
        """How many lines so far."""
        return self.ledger.written

    async def run(self) -> None:
        """Write at a steady pace until ``stopped``."""
        out = self._begin(_open(self.path))
        step = max(1, self.lines_per_s // 50)
        due = time.monotonic()
        while not self.stopped:
            self._write(out, step)
            if self.written - self.ledger.lives[-1] >= self.rotate_every:
                out = self._rotate(out, step)
            due += step / self.lines_per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        os.close(out)

    def _begin(self, out: int) -> int:
        self.ledger.lives.append(self.written)
        return out

    def _write(self, out: int, count: int) -> None:
        first = self.written
        os.write(out, b"".join(self._line(number) for number in range(first, first + count)))
        self.ledger.written += count

    def _rotate(self, out: int, step: int) -> int:
        if self.rotate is not rename and self.ledger.stored <= self.ledger.lives[-1]:
            return out  # content that nobody has seen yet would leave no trace
        self.rotations += 1
        if self.rotate is not None:
            return self._begin(self.rotate(self.path, out))
        self.path.unlink()
        self._write(out, step)
        os.close(out)
        return self._begin(_open(self.path))

    def _line(self, number: int) -> bytes:
        record = {
            "ts": datetime.now(UTC).isoformat(timespec="microseconds"),
            "level": "error" if number % ERROR_EVERY == 0 else "info",
            "attributes": {"n": number},
            "message": f"line {number} ",
        }
        line = json.dumps(record).encode()
        # The message, which is last, is as long as it takes.
        return line[:-2] + b"." * (LINE_BYTES - 1 - len(line)) + b'"}\n'


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


@dataclass(slots=True)
class ShortLived:
    """One process a second that logs through the SDK and ends."""

    environment: Mapping[str, str]
    ledger: Ledger = field(default_factory=lambda: Ledger("short"))
    stopped: bool = False
    processes: int = 0
    pause_s: float = 1.0
    full: bool = False
    """The inbox has no room for a while, which a worker may say."""
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Start one after the other until ``stopped``."""
        while not self.stopped:
            first = self.ledger.written
            full = self.full
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SHORT_LIVED, str(first), str(first + AT_ONCE),
                # Segments of each name are left alone for a while, and then put away.
                f"short-{self.processes // 4 % 3}",
                # The first may be there before the agent, of which it would warn.
                env={**self.environment, "PYTHONWARNINGS": "ignore:outrider:RuntimeWarning"},
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
            if process.returncode or (errors and not (full or self.full)):
                self.failures.append(errors.decode()[-500:])
            self.ledger.written += AT_ONCE
            self.processes += 1
            await asyncio.sleep(self.pause_s)
