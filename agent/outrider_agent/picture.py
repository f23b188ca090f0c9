"""The picture that the disk thread leaves for heartbeats: read by the loop, never waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider_agent.segments import SegmentWatch


@dataclass(frozen=True, slots=True)
class WorkerPicture:
    """One file's worker as the disk thread knows it."""

    service: str
    worker: str
    backlog_bytes: int
    last_line_us: int
    segment: SegmentWatch | None
    """None for a worker that is known by its log file alone."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All files at one moment."""

    backlog_bytes: int = 0
    backlog_age_ms: int = 0
    stream_count: int = 0
    workers: tuple[WorkerPicture, ...] = ()
