"""The inbox as the agent keeps it: deaths it must tell itself, segments kept after delivery."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider_agent.segments import Kept, over_budget

if TYPE_CHECKING:
    from outrider_agent.followed import Followed
    from outrider_agent.reports import Reports


class Inbox:
    """Segments that are delivered, and what is said about writers."""

    def __init__(self, kept_tail_bytes: int, retire_after_s: float) -> None:
        self.retire_after_s = retire_after_s
        self._budget_bytes = kept_tail_bytes
        self._kept: list[Kept] = []

    def budget(self, kept_tail_bytes: int, retire_after_s: float) -> None:
        """Go by other limits from now on."""
        self._budget_bytes, self.retire_after_s = kept_tail_bytes, retire_after_s

    def died(self, followed: Followed, reports: Reports) -> None:
        """Record a death that could not be written into the worker's own segment."""
        stream, segment = followed.tail.stream, followed.segment
        pid = segment.last.pid if segment is not None else 0
        reports.say(
            f"died {followed.path} {pid}",
            f"worker {stream.worker} of {stream.service} (process {pid}) ended without a word",
            event="worker.died",
            severity=severities.ERROR,
            service=stream.service,
            worker=stream.worker,
            pid=pid,
        )

    def keep(self, fd: int, path: str) -> None:
        """Keep a delivered segment, with its lock, until newer ones need its room."""
        status = os.fstat(fd)
        self._kept.append(Kept(fd, path, status.st_size, status.st_mtime_ns))

    def trim(self, keep_free_bytes: int = 0) -> None:
        """Remove kept segments beyond the budget, the oldest first; all where room is wanted."""
        budget_bytes = self._budget_bytes
        if self._kept and keep_free_bytes:
            room = os.fstatvfs(self._kept[0].fd)
            if room.f_bavail * room.f_frsize < keep_free_bytes:
                budget_bytes = 0
        for kept in over_budget(self._kept, budget_bytes):
            kept.unlink()

    def close(self) -> None:
        """Close what is kept; it stays on the disk."""
        for kept in self._kept:
            with suppress(OSError):
                os.close(kept.fd)
        self._kept.clear()
