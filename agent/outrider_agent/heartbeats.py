"""What a heartbeat says: this agent, and every worker it knows, merged by service and worker name.

A worker can have several files (a segment of its SDK, one of ``outrider run``, the segment of the
process before): a running process is told rather than an ended one, and of ended ones the last.
All of it is read when the heartbeat is made, from /proc and the slots; nothing waits for the disk
thread.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Protocol

from outrider.inbox import slot
from outrider.instants import from_unix_us
from outrider_agent import processes
from outrider_agent.clock import SteadyAge
from outrider_agent.control_groups import KillWatch
from outrider_agent.expected import Roster
from outrider_protos.limits import MAX_WORKERS
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outrider_agent.picture import Picture, WorkerPicture
    from outrider_agent.segments import SegmentWatch

# What `outrider run` leaves in the note: the child's pid while it runs, then how it ended.
_NOTED = re.compile(r"(pid|exit|signal|oom):(\d{1,10})\Z")


EVERYTHING_EVERY = 6
"""The first heartbeat of a session and each so many after it tell of all components; the others of
those of which something is new."""


class Components(Protocol):
    """What probes say, for a heartbeat."""

    def __call__(
        self, now_us: int, next_within_ms: int, *, everything: bool
    ) -> list[ingest_pb2.ComponentReport]:
        """Return the reports; ``now_us`` is database time as far as it is known."""


class Heartbeats:
    """Makes heartbeats from the disk thread's last picture."""

    def __init__(
        self,
        picture: Callable[[], Picture],
        clock_us: Callable[[], int],
        offset_us: Callable[[], int],
        interval_s: Callable[[], float],
        monotonic_s: Callable[[], float] = time.monotonic,
        *,
        components: Components = lambda *_, **__: [],
        expected: Roster | None = None,
    ) -> None:
        self._picture = picture
        self._clock_us = clock_us
        self._offset_us = offset_us
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._components = components
        self._expected = expected or Roster()
        self._kills: dict[tuple[str, int], KillWatch] = {}
        """By segment and pid."""
        self._ages: dict[tuple[str, ...], SteadyAge] = {}
        """Of the last progress by segment, of the last line by service and worker."""

    def make(self, number: int, stopping: bool) -> ingest_pb2.HeartbeatRequest:  # noqa: FBT001
        """Make one heartbeat."""
        picture, interval_ms = self._picture(), int(self._interval_s() * 1000)
        everything = number % EVERYTHING_EVERY == 1
        return ingest_pb2.HeartbeatRequest(
            number=number,
            clock_us=self._clock_us(),
            next_within_ms=interval_ms,
            usage=_usage(processes.usage(os.getpid())),
            backlog_bytes=picture.backlog_bytes,
            backlog_age_ms=picture.backlog_age_ms,
            stream_count=picture.stream_count,
            workers=self._workers(picture.workers),
            stopping=stopping,
            components=self._components(
                self._clock_us() + self._offset_us(),
                EVERYTHING_EVERY * interval_ms,
                everything=everything,
            ),
            all_components=everything,
        )

    def _workers(self, pictures: Iterable[WorkerPicture]) -> list[ingest_pb2.WorkerHeartbeat]:
        pictures = list(pictures)
        there = {one.segment.path for one in pictures if one.segment is not None}
        self._kills = {key: watch for key, watch in self._kills.items() if key[0] in there}
        known = {(path,) for path in there} | {(one.service, one.worker) for one in pictures}
        self._ages = {key: age for key, age in self._ages.items() if key in known}
        merged: dict[tuple[str, str], ingest_pb2.WorkerHeartbeat] = {}
        lines: dict[tuple[str, str], int] = {}
        for one in pictures:
            key = one.service, one.worker
            heartbeat, rival = self._worker(one), merged.get(key)
            if rival is None and len(merged) >= MAX_WORKERS:
                continue
            merged[key] = heartbeat if rival is None else _merge(rival, heartbeat)
            lines[key] = max(one.last_line_us, lines.get(key, 0))
        for key, heartbeat in merged.items():
            if lines[key]:
                heartbeat.last_line_us = lines[key] + self._offset_us()
                heartbeat.last_line_age_ms = self._age_ms(key, lines[key])
        for missing in self._expected.missing(merged.keys(), self._monotonic_s()):
            if len(merged) < MAX_WORKERS:
                merged[missing.service, missing.worker] = ingest_pb2.WorkerHeartbeat(
                    service=missing.service,
                    worker=missing.worker,
                    end=ingest_pb2.WORKER_END_NEVER_STARTED,
                )
        return list(merged.values())

    def _worker(self, one: WorkerPicture) -> ingest_pb2.WorkerHeartbeat:
        offset_us = self._offset_us()
        heartbeat = ingest_pb2.WorkerHeartbeat(
            service=one.service,
            worker=one.worker,
            backlog_bytes=one.backlog_bytes,
        )
        if one.segment is not None and not one.segment.lockless:
            self._from_segment(heartbeat, one.segment, offset_us)
        return heartbeat

    def _from_segment(
        self, heartbeat: ingest_pb2.WorkerHeartbeat, segment: SegmentWatch, offset_us: int
    ) -> None:
        said = segment.read_slot()
        noted = _NOTED.match(said.note)
        heartbeat.pid = int(noted[2]) if noted is not None and noted[1] == "pid" else said.pid
        heartbeat.started_us = _shifted(said.opened_us, offset_us)
        heartbeat.dropped_records = said.dropped
        if noted is None:
            heartbeat.progress_done = said.done
            heartbeat.progress_total = said.total
            heartbeat.progress_us = _shifted(said.progress_us, offset_us)
            heartbeat.progress_note = said.note
            if said.progress_us:
                told_us = from_unix_us(said.progress_us)
                heartbeat.progress_age_ms = self._age_ms((segment.path,), told_us)
                heartbeat.progress_within_ms = said.every_s * 1000
        heartbeat.end, heartbeat.end_code = _end(segment, said, noted)
        process = segment.path, heartbeat.pid
        if heartbeat.end == ingest_pb2.WORKER_END_RUNNING:
            usage = processes.usage(heartbeat.pid)
            heartbeat.usage.CopyFrom(_usage(usage))
            self._lives(process, usage)
            return
        if segment.ended_us:
            heartbeat.ended_us = segment.ended_us + offset_us
        watch = self._kills.get(process)
        if heartbeat.end == ingest_pb2.WORKER_END_DIED and watch is not None and watch.died():
            heartbeat.end = ingest_pb2.WORKER_END_OUT_OF_MEMORY

    def _age_ms(self, key: tuple[str, ...], told_us: int) -> int:
        age = self._ages.setdefault(key, SteadyAge())
        return int(age.look(told_us, self._clock_us(), self._monotonic_s()) * 1_000)

    def _lives(self, process: tuple[str, int], usage: processes.ProcessUsage | None) -> None:
        if usage is not None:
            self._kills.setdefault(process, KillWatch()).lives(usage.group)


def _end(
    segment: SegmentWatch, said: slot.Slot, noted: re.Match[str] | None
) -> tuple[ingest_pb2.WorkerEnd, int]:
    """Return how a process ended, as far as it or its wrapper said it."""
    if noted is not None and noted[1] != "pid" and said.flags & slot.ENDED:
        code = int(noted[2])
        if noted[1] == "oom":
            return ingest_pb2.WORKER_END_OUT_OF_MEMORY, code
        if noted[1] == "signal":
            return ingest_pb2.WORKER_END_SIGNAL, code
        return (ingest_pb2.WORKER_END_EXIT_CODE if code else ingest_pb2.WORKER_END_CLEAN), code
    if segment.locked_by_writer and not said.flags & slot.ENDED:
        return ingest_pb2.WORKER_END_RUNNING, 0
    if segment.died:
        return ingest_pb2.WORKER_END_DIED, 0
    if said.flags & (slot.ENDED | slot.CONTINUED) or segment.said_goodbye:
        return ingest_pb2.WORKER_END_CLEAN, 0
    if segment.ended_us:
        return ingest_pb2.WORKER_END_DIED, 0
    return ingest_pb2.WORKER_END_UNSPECIFIED, 0


def _merge(
    one: ingest_pb2.WorkerHeartbeat, other: ingest_pb2.WorkerHeartbeat
) -> ingest_pb2.WorkerHeartbeat:
    """Tell one worker of two files: the better one, with what waits in both."""
    better, worse = (one, other) if _rank(one) >= _rank(other) else (other, one)
    better.backlog_bytes += worse.backlog_bytes
    if better.progress_us < worse.progress_us and worse.end == better.end:
        better.progress_done, better.progress_total = worse.progress_done, worse.progress_total
        better.progress_us, better.progress_note = worse.progress_us, worse.progress_note
        better.progress_age_ms = worse.progress_age_ms
        better.progress_within_ms = worse.progress_within_ms
    return better


def _rank(heartbeat: ingest_pb2.WorkerHeartbeat) -> tuple[int, int]:
    if heartbeat.end == ingest_pb2.WORKER_END_RUNNING:
        return 2, heartbeat.started_us
    if heartbeat.end == ingest_pb2.WORKER_END_UNSPECIFIED:
        return 0, 0
    return 1, heartbeat.ended_us


def _shifted(unix_us: int, offset_us: int) -> int:
    return from_unix_us(unix_us) + offset_us if unix_us else 0


def _usage(found: processes.ProcessUsage | None) -> ingest_pb2.Usage:
    if found is None:
        return ingest_pb2.Usage()
    return ingest_pb2.Usage(
        cpu_ms=found.cpu_ms,
        rss_bytes=found.rss_bytes,
        rss_limit_bytes=found.rss_limit_bytes,
        open_files=found.open_files,
        threads=found.threads,
        is_stopped=found.is_stopped,
    )
