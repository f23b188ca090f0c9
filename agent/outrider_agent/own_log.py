"""The agent's own segment: what it says of itself goes the way of every other record."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from outrider import record
from outrider.inbox.attended import AGENT_SERVICE
from outrider.inbox.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path


class OwnLog:
    """Writes the agent's own records; where the inbox cannot be used it does nothing."""

    def __init__(self, inbox: Path, host: str) -> None:
        self._writer = Writer(inbox, AGENT_SERVICE, host, numbered=False)

    def start(self) -> None:
        """Open the segment and record the start. Raises OSError."""
        died = self._writer.open()
        if died is not None:
            self("worker.died", 17, "the agent before ended without a word", {"pid": died.pid})
        self("worker.started", 9, "the agent started", {"pid": os.getpid()})

    def end(self) -> None:
        """Record a clean end."""
        if self._writer.is_open:
            self("worker.stopped", 9, "the agent stopped", {"pid": os.getpid()})
            self._writer.end()

    def __call__(self, event: str, severity: int, message: str, attributes: dict[str, Any]) -> None:
        """Write one record."""
        if self._writer.is_open:
            placed = record.place("outrider.agent", event)
            self._writer.append(
                record.encode(time.time_ns(), severity, message, placed, attributes)
            )
