"""The picture that the disk thread leaves for heartbeats: read by the loop, never waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_agent.followed import Followed
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
    ends: frozenset[object] = frozenset()
    """Changes when a worker comes, ends or dies."""
    painted_s: float = 0.0
    """When it was painted (monotonic)."""


def paint(files: Iterable[Followed], waiting_bytes: int, now_s: float) -> Picture:
    """Make the picture of now (monotonic); ``waiting_bytes`` are in files that are no streams."""
    backlog_bytes, age_ms, count = waiting_bytes, 0, 0
    workers: list[WorkerPicture] = []
    for followed in files:
        count += 1
        waiting = followed.backlog_bytes
        backlog_bytes += waiting
        age_ms = max(age_ms, followed.backlog_age_ms(now_s))
        segment, stream = followed.segment, followed.tail.stream
        if followed.has_file and not (segment is not None and segment.closing):
            # The file's own time as well: an agent that restarts has read no line of a quiet one.
            last_us = max(0, followed.tail.active_us)
            workers.append(WorkerPicture(stream.service, stream.worker, waiting, last_us, segment))
    ends = frozenset((w.service, w.worker, w.segment and w.segment.state) for w in workers)
    return Picture(backlog_bytes, age_ms, count, tuple(workers), ends, now_s)
