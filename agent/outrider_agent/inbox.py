"""The inbox as the agent keeps it.

Deaths it must tell itself, segments kept after delivery, and whether workers may write more into it
(:mod:`outrider.inbox.room`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.inbox.room import say_full
from outrider_agent.descriptors import most_kept
from outrider_agent.discovery import CLOSING
from outrider_agent.segments import Kept, over_budget

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from outrider_agent.configuration import AgentConfig
    from outrider_agent.followed import Followed
    from outrider_agent.registry import Candidate
    from outrider_agent.reports import Reports


class Inbox:
    """Segments that are delivered, and what is said about writers."""

    def __init__(self, directory: Path, limits: AgentConfig, reports: Reports) -> None:
        self._directory = directory
        self.limits = limits
        """May be replaced."""
        self._reports = reports
        self._kept: list[Kept] = []
        self._is_full = False

    @property
    def retire_after_s(self) -> float:
        """A segment that no process took over for so long is put away."""
        return self.limits.retire_after_s

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

    def tidy(self, files: Iterable[Followed], candidates: Iterable[Candidate]) -> None:
        """Remove kept segments beyond their budget, and tell workers whether there is room.

        ``candidates``, too, wait in it: as long as no collector has said welcome, all of it.
        """
        files = list(files)
        self._say_troubles(files)
        free_bytes = self._free_bytes() if self.limits.keep_free_bytes else None
        is_scarce = free_bytes is not None and free_bytes < self.limits.keep_free_bytes
        budget_bytes = 0 if is_scarce else self.limits.kept_tail_bytes
        for kept in over_budget(self._kept, budget_bytes, most_kept()):
            kept.unlink()
        waiting = sum(one.backlog_bytes for one in files if one.segment is not None)
        waiting += sum(one.size() - one.begin for one in candidates if one.found.source is None)
        before = self._is_full
        self._is_full = is_full(waiting, free_bytes, self.limits, was_full=before)
        if self._is_full or before:
            say_full(self._directory, is_full=self._is_full)
        if self._is_full:
            why = f"{waiting} bytes wait in it"
            if is_scarce:
                why = f"{free_bytes} bytes are free on its disk"
            self._reports.say(
                "inbox is full",
                f"workers write no more for now, {why}: {self._directory}: what they log is "
                "counted as lost: free space, or raise `agent.inbox_bytes`",
                severity=severities.ERROR,
            )

    def _say_troubles(self, files: Iterable[Followed]) -> None:
        troubled = next((one for one in files if one.segment and one.segment.trouble), None)
        if troubled is None or troubled.segment is None:
            self._reports.settle("closing")
        else:
            self._reports.say(
                "closing",
                f"delivered segments stay in the inbox, such as {troubled.path}: cannot move it to "
                f"{self._directory / CLOSING}: {troubled.segment.trouble}",
                severity=severities.WARN,
            )

    def _free_bytes(self) -> int | None:
        try:
            system = os.statvfs(self._directory)
        except OSError:
            return None
        return system.f_bavail * system.f_frsize

    def close(self) -> None:
        """Close what is kept; it stays on the disk."""
        for kept in self._kept:
            with suppress(OSError):
                os.close(kept.fd)
        self._kept.clear()


def is_full(
    waiting_bytes: int, free_bytes: int | None, limits: AgentConfig, *, was_full: bool
) -> bool:
    """Whether workers are to write no more; once they are, until there is a tenth more room."""
    most, least = limits.inbox_bytes, limits.keep_free_bytes
    if was_full:
        most, least = most - most // 10, least + least // 10
    return waiting_bytes > most or (free_bytes is not None and free_bytes < least)
