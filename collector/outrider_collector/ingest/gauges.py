"""What a heartbeat says of a process, as the JSON document that is stored.

Heartbeats are from agents, so nothing in them is believed to fit: texts are cut and freed of NUL,
numbers brought into the range that Postgres can hold.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  msgspec reads the annotations

import msgspec

from outrider.instants import from_us
from outrider_protos.v1 import ingest_pb2

ENDS = {
    ingest_pb2.WORKER_END_CLEAN: "clean",
    ingest_pb2.WORKER_END_EXIT_CODE: "exit_code",
    ingest_pb2.WORKER_END_SIGNAL: "signal",
    ingest_pb2.WORKER_END_DIED: "died",
    ingest_pb2.WORKER_END_OUT_OF_MEMORY: "out_of_memory",
}
"""How a process has ended; what is not here has not."""

_NAME_CHARACTERS = 128
"""Of whatever names a worker or a component."""
_MOST = 2**63 - 1
_MOST_PID = 2**31 - 1
"""The view gives it as an integer of four bytes."""


class _Gauges(msgspec.Struct, omit_defaults=True, gc=False):
    """What is None is not in the document."""

    pid: int | None = None
    cpu_ms: int | None = None
    rss_bytes: int | None = None
    rss_limit_bytes: int | None = None
    open_files: int | None = None
    threads: int | None = None
    backlog_bytes: int | None = None
    backlog_age_ms: int | None = None
    stream_count: int | None = None
    clock_offset_ms: int | None = None
    dropped_records: int | None = None
    started_at: datetime | None = None
    last_line_at: datetime | None = None
    progress_at: datetime | None = None
    progress_done: int | None = None
    progress_total: int | None = None
    progress_note: str | None = None
    progress_within_ms: int | None = None
    end: str | None = None
    end_code: int | None = None
    ended_at: datetime | None = None


_encode = msgspec.json.Encoder().encode


def of_agent(heartbeat: ingest_pb2.HeartbeatRequest, now_us: int) -> bytes:
    """Return the document of an agent; ``now_us`` is database time."""
    gauges = _Gauges(
        backlog_bytes=min(heartbeat.backlog_bytes, _MOST),
        backlog_age_ms=min(heartbeat.backlog_age_ms, _MOST),
        stream_count=heartbeat.stream_count,
        clock_offset_ms=(heartbeat.clock_us - now_us) // 1_000,
    )
    _use(gauges, heartbeat.usage)
    return _encode(gauges)


def of_worker(worker: ingest_pb2.WorkerHeartbeat) -> bytes:
    """Return the document of a worker."""
    gauges = _Gauges(
        pid=min(worker.pid, _MOST_PID) or None,
        backlog_bytes=min(worker.backlog_bytes, _MOST),
        dropped_records=min(worker.dropped_records, _MOST),
        started_at=_when(worker.started_us),
        last_line_at=_when(worker.last_line_us),
    )
    _use(gauges, worker.usage)
    if progress_us := worker.progress_us:
        gauges.progress_at = _when(progress_us)
        gauges.progress_done = min(worker.progress_done, _MOST)
        gauges.progress_total = min(worker.progress_total, _MOST) or None
        gauges.progress_note = clean(worker.progress_note)
        gauges.progress_within_ms = worker.progress_within_ms or None
    if worker.end in ENDS:
        gauges.end = ENDS[worker.end]
        gauges.end_code = worker.end_code
        gauges.ended_at = _when(worker.ended_us)
    return _encode(gauges)


def clean(text: str, characters: int = _NAME_CHARACTERS) -> str:
    """Return a text that Postgres can hold and a page can show in one line."""
    return text[:characters].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _use(gauges: _Gauges, usage: ingest_pb2.Usage) -> None:
    if not usage.rss_bytes:
        return
    gauges.cpu_ms = min(usage.cpu_ms, _MOST)
    gauges.rss_bytes = min(usage.rss_bytes, _MOST)
    gauges.rss_limit_bytes = min(usage.rss_limit_bytes, _MOST)
    gauges.open_files = usage.open_files
    gauges.threads = usage.threads


def _when(us: int) -> datetime | None:
    return from_us(us) if us else None
