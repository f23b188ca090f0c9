"""Rows written straight into the tables, as a collector would have left them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import Connection

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
CLOSED: Any = None
"""A seeder without a connection: give it one before it writes again."""

FIRST_STREAM = 2**62
"""Stream ids are random numbers of 63 bits; a small one would hide what their digits break."""


@dataclass
class Line:
    """One record to be."""

    ts: datetime
    severity: int
    message: str
    event: str | None = None
    error_code: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    logger: str = "app"
    trace: UUID | None = None


class Seeder:
    """Writes rows over one connection, as a superuser."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.streams: dict[tuple[str, str], int] = {}
        self._offsets: dict[int, int] = {}
        self._commit = 0

    def partitions(self, hours_back: int) -> None:
        """Make partitions for the hours before now; those ahead are there."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        for n in range(hours_back + 1):
            start = hour - timedelta(hours=n)
            self.connection.execute(
                f"create table if not exists blocks_fresh_{start:%Y%m%d%H} "
                f"partition of blocks_fresh for values from ('{start}') "
                f"to ('{start + timedelta(hours=1)}')"
            )

    def agent(self, host: str, state: str = "up", since: datetime | None = None) -> int:
        """Add an agent with its health and heartbeat."""
        seen = self.now - SECOND * 2 if state == "up" else since or self.now
        row = self.connection.execute(
            "insert into agents (host, token_hash, software_version, connected_at) "
            "values (%s, %s, '0.1.0', %s) returning id",
            (host, host.encode(), self.now - timedelta(hours=30)),
        ).fetchone()
        assert row is not None
        number: int = row[0]
        self._health("agent", str(number), None, None, host, number, state,
                     since or self.now - timedelta(hours=30), "no heartbeat" if since else "",
        )  # fmt: skip
        self._heartbeat("agent", str(number), seen, {"rss_bytes": 41_000_000, "backlog_bytes": 0})
        return number

    def worker(
        self, service: str, name: str, host: str, agent: int, *, state: str = "up",
        since: datetime | None = None, reason: str = "", gauges: dict[str, Any] | None = None,
        watermark: datetime | None = None, committed: int = 1_204_551,
    ) -> int:  # fmt: skip
        """Add a worker with health, heartbeat and one open stream; return the stream's id."""
        component = f"{service}/{name}@{host}"
        begun = self.now - timedelta(hours=29)
        order = 1000 + len(self.streams)
        stream = FIRST_STREAM + order
        self.streams[service, name] = stream
        self._offsets[stream] = 0
        self._health("worker", component, service, name, host, agent, state, since or begun, reason)
        usual = {
            "pid": 40_000 + order, "rss_bytes": 600 * 2**20 + order * 2**17, "cpu_ms": 812_000,
            "open_files": 42, "backlog_bytes": 0, "backlog_age_ms": 0, "end": "running",
            "started_at": begun.isoformat(),
        }  # fmt: skip
        seen = since if since is not None and state in {"silent", "dead"} else self.now - SECOND * 3
        self._heartbeat("worker", component, seen, {**usual, **(gauges or {})})
        self.stream(service, name, host, stream, agent, watermark, committed)
        return stream

    def stream(
        self, service: str, name: str, host: str, number: int, agent: int = 1,
        watermark: datetime | None = None, committed: int = 1_204_551,
    ) -> None:  # fmt: skip
        """Add an open file of a worker under the stream's number."""
        self._offsets.setdefault(number, 0)
        self.connection.execute(
            "insert into stream_info (id, agent, team, service, worker, host, source, path, "
            "start_offset, born_at) values (%s, %s, 1, %s, %s, %s, 'file', %s, 0, %s)",
            (
                number, agent, service, name, host, f"/var/log/{service}/{name}.log",
                self.now - timedelta(hours=29),
            ),
        )  # fmt: skip
        self.connection.execute(
            "insert into streams (id, agent, committed, tail, watermark) "
            "values (%s, %s, %s, '', %s)",
            (number, agent, committed, watermark or self.now - SECOND * 2),
        )

    def history(self, component: str, changes: list[tuple[datetime, str | None, str, str]]) -> None:
        """Add changes of a worker's state: when, from, to, why."""
        for at, before, after, reason in changes:
            self.connection.execute(
                "insert into system_health_history (component_kind, component, from_state, "
                "to_state, at, reason) values ('worker', %s, %s, %s, %s, %s)",
                (component, before, after, at, reason),
            )

    def block(self, service: str, lines: list[tuple[int, Line]], received: datetime) -> int:
        """Add one block of (stream, line) pairs and its feed row; return the commit's id."""
        self._commit += 1
        columns: dict[str, list[Any]] = {
            "ts": [line.ts for _, line in lines],
            "observed_at": [line.ts + 3 * timedelta(milliseconds=1) for _, line in lines],
            "stream": [stream for stream, _ in lines],
            "stream_offset": [self._next_offset(stream) for stream, _ in lines],
            "severity": [line.severity for _, line in lines],
            "message": [line.message for _, line in lines],
            "logger": [line.logger for _, line in lines],
            "event": [line.event for _, line in lines],
            "error_code": [line.error_code for _, line in lines],
            "trace_id": [line.trace for _, line in lines],
            "attributes": [json.dumps(li.attributes) if li.attributes else None for _, li in lines],
        }
        levels = [0] * 6
        for value in columns["severity"]:
            levels[min(5, (value - 1) // 4)] += 1
        self.connection.execute(
            "insert into blocks_fresh (received_at, commit_id, team, service, n, ts_min, ts_max, "
            "level_counts, stream_ids, events, error_codes, ts, observed_at, stream, "
            "stream_offset, severity, message, logger, event, error_code, trace_id, attributes) "
            "values (%s, %s, 1, %s, %s, %s, %s, %s, %s::bigint[], %s::text[], %s::text[], "
            "%s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::smallint[], "
            "%s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[])",
            (
                received, self._commit, service, len(lines), min(columns["ts"]), max(columns["ts"]),
                levels, sorted(set(columns["stream"])),
                sorted({e for e in columns["event"] if e}) or None,
                sorted({e for e in columns["error_code"] if e}) or None,
                *columns.values(),
            ),
        )  # fmt: skip
        self.feed("ingest", self._commit, received)
        return self._commit

    def feed(self, kind: str, commit: int | None = None, at: datetime | None = None) -> int:
        """Add the next feed row."""
        row = self.connection.execute(
            "insert into feed (number, nonce, kind, commit_id, committed_at) select "
            "coalesce(max(number), 0) + 1, 'n', %s, %s, %s from feed returning number",
            (kind, commit, at or self.now),
        ).fetchone()
        assert row is not None
        number: int = row[0]
        return number

    def _next_offset(self, stream: int) -> int:
        self._offsets[stream] += 180
        return self._offsets[stream]

    def _health(
        self, kind: str, component: str, service: str | None, worker: str | None, host: str,
        agent: int, state: str, since: datetime, reason: str,
    ) -> None:  # fmt: skip
        self.connection.execute(
            "insert into system_health (component_kind, component, service, worker, host, agent, "
            "state, since, reason) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (kind, component, service, worker, host, agent, state, since, reason),
        )

    def _heartbeat(self, kind: str, component: str, seen: datetime, gauges: dict[str, Any]) -> None:
        self.connection.execute(
            "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
            " values (%s, %s, %s, %s, 'collector-1', %s)",
            (kind, component, seen, seen + SECOND * 30, json.dumps(gauges)),
        )
