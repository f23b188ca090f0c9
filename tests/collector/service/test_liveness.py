"""States decided from heartbeats, and when silence may be concluded."""

from __future__ import annotations

from typing import Any

import pytest

from outrider_collector.ingest.liveness import (
    QUIET_MS,
    Watch,
    agent_verdict,
    due_us,
    worker_verdict,
)
from outrider_protos.v1 import ingest_pb2

FULL = ingest_pb2.Usage(rss_bytes=95, rss_limit_bytes=100)
RUNNING = ingest_pb2.WORKER_END_RUNNING
PROGRESS = {"end": RUNNING, "progress_within_ms": 30_000, "progress_age_ms": 30_000}
STALLED = {**PROGRESS, "progress_age_ms": 30_001}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "up"),
        ({"backlog_bytes": 5, "backlog_age_ms": 61_000}, "lagging"),
        ({"usage": FULL}, "degraded"),
        ({"stopping": True, "backlog_age_ms": 61_000}, "retired"),
    ],
)
def test_agent(fields: dict[str, Any], state: str) -> None:
    """An agent's state follows from its heartbeat alone."""
    assert agent_verdict(ingest_pb2.HeartbeatRequest(**fields)).state == state


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"end": RUNNING}, "up"),
        ({"end": RUNNING, "usage": FULL}, "degraded"),
        ({"end": RUNNING, "backlog_bytes": 1}, "lagging"),
        ({"last_line_us": 1, "last_line_age_ms": QUIET_MS - 1}, "up"),
        ({"last_line_us": 1, "last_line_age_ms": QUIET_MS}, "unknown"),
        ({}, "unknown"),
        ({"end": ingest_pb2.WORKER_END_CLEAN, "usage": FULL}, "retired"),
        ({"end": ingest_pb2.WORKER_END_EXIT_CODE, "end_code": 1}, "dead"),
        ({"end": ingest_pb2.WORKER_END_SIGNAL, "end_code": 11}, "dead"),
        ({"end": ingest_pb2.WORKER_END_DIED}, "dead"),
        ({"end": ingest_pb2.WORKER_END_OUT_OF_MEMORY}, "dead"),
        ({"end": RUNNING, "usage": ingest_pb2.Usage(is_stopped=True)}, "degraded"),
        (PROGRESS, "up"),
        (STALLED, "degraded"),
        # It said that nothing is to be expected, it has done everything, or it has ended.
        ({**STALLED, "progress_within_ms": 0}, "up"),
        ({**STALLED, "progress_done": 7, "progress_total": 7}, "up"),
        ({**STALLED, "end": ingest_pb2.WORKER_END_CLEAN}, "retired"),
        # What it wrote waits: that is the agent's lag, not the worker's.
        ({**PROGRESS, "backlog_bytes": 1}, "lagging"),
    ],
)
def test_worker(fields: dict[str, Any], state: str) -> None:
    """A worker's state follows from what its agent says of it."""
    worker = ingest_pb2.WorkerHeartbeat(**fields)
    late = 61_000 if fields.get("backlog_bytes") else 0
    agent = ingest_pb2.HeartbeatRequest(backlog_age_ms=late)

    assert worker_verdict(worker, agent).state == state


def test_worker_whose_records_found_no_room_is_degraded() -> None:
    """Losing records is a state, and says how many are gone."""
    worker = ingest_pb2.WorkerHeartbeat(end=RUNNING, dropped_records=7)
    verdict = worker_verdict(worker, ingest_pb2.HeartbeatRequest(), losing=True)

    assert verdict.state == "degraded"
    assert "7 records" in verdict.reason


def test_next_heartbeat_is_due_within_what_was_announced_and_a_grace() -> None:
    """An absurd announcement does not postpone silence for ever."""
    assert due_us(0, 10_000) == 18_000_000
    assert due_us(0, 2**32 - 1) == 608_000_000


def test_silence_waits_for_a_grace_after_every_gap_in_watching() -> None:
    """Who just started, was frozen or cut off knows nothing of anybody's silence."""
    watch = Watch(grace_s=60)
    assert not watch.may_conclude(0)
    for second in range(0, 61, 2):
        watch.saw(second)
    assert watch.may_conclude(60)
    assert not watch.may_conclude(60 + 16)
    watch.saw(80)
    assert not watch.may_conclude(80)
    for second in range(82, 141, 2):
        watch.saw(second)

    assert watch.may_conclude(140)
    assert watch.watched_s(140) == 60
