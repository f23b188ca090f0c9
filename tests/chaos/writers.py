"""Writers of numbered lines, and the ledger of what they wrote."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROTATE_EVERY = 400
# An agent may be down for some seconds; what is born and deleted meanwhile is outside the promise.
KEEP = 40
ERROR_EVERY = 10

_SHORT_LIVED = """
import sys, outrider
outrider.init(service="short", worker=sys.argv[3])
log = outrider.get_logger("short")
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    log.info("numbered", n=number)
"""


@dataclass(slots=True)
class FileWriter:
    """Appends numbered JSON lines to one file, rotates it by rename; one line in ten is an error.

    ``written`` counts the lines whose write returned: the oracle's truth.
    """

    path: Path
    lines_per_s: int
    written: int = 0
    stopped: bool = False
    rotations: int = 0
    rotate_every: int = ROTATE_EVERY

    async def run(self) -> None:
        """Write at a steady pace until ``stopped``."""
        out = self._open()
        step = max(1, self.lines_per_s // 50)
        since_rotation = 0
        due = time.monotonic()
        while not self.stopped:
            lines = b"".join(self._line(self.written + offset) for offset in range(step))
            os.write(out, lines)
            self.written += step
            since_rotation += step
            if since_rotation >= self.rotate_every:
                os.close(out)
                self._rotate()
                out = self._open()
                since_rotation = 0
            due += step / self.lines_per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        os.close(out)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _rotate(self) -> None:
        """Rename as logrotate does, each to the next number; the oldest goes."""
        self.rotations += 1
        for age in range(KEEP - 1, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{age}")
            if old.exists():
                old.rename(self.path.with_name(f"{self.path.name}.{age + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))

    def _line(self, number: int) -> bytes:
        record = {
            "ts": datetime.now(UTC).isoformat(),
            "level": "error" if number % ERROR_EVERY == 0 else "info",
            "message": f"line {number}",
            "attributes": {"n": number},
        }
        return json.dumps(record).encode() + b"\n"


@dataclass(slots=True)
class ShortLived:
    """One process a second that logs through the SDK and ends; ``written`` as above."""

    environment: Mapping[str, str]
    written: int = 0
    stopped: bool = False
    processes: int = 0
    pause_s: float = 1.0
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Start one after the other until ``stopped``."""
        while not self.stopped:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SHORT_LIVED, str(self.written), str(self.written + 5),
                # Segments of each name are left alone for a while, and then put away.
                f"short-{self.processes // 4 % 3}",
                # The first may be there before the agent, of which it would warn.
                env={**self.environment, "PYTHONWARNINGS": "ignore:outrider:RuntimeWarning"},
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
            if process.returncode or errors:
                self.failures.append(errors.decode()[-500:])
            self.written += 5
            self.processes += 1
            await asyncio.sleep(self.pause_s)
