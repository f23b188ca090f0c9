"""A fleet in trouble, written straight into the tables: what the pages of the tests show.

Sixty workers of three services on fifteen hosts. One was killed, a host is silent, four suffer from
an exchange, one is behind and has lost lines; the rest is well. Without chance: the same every time
but for the moment it is told relative to.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

if TYPE_CHECKING:
    from psycopg import Connection

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOST_OF = {"trading": "trade", "etl": "etl", "scrapers": "edge-fra"}
TRACE = UUID("7f0c2a914be34d0e9c1a52ab0e6d1f77")
STACK = """Traceback (most recent call last):
  File "/srv/arb/book/depth.py", line 188, in resync
    snap = await self.client.depth(symbol, limit=5000)
  File "/srv/arb/book/client.py", line 402, in depth
    raise Refused(response.status, text)
arb.errors.Refused: code -1003: too much request weight used; the limit is 6000 a minute"""

WORKERS: dict[str, list[str]] = {
    "trading": [
        "arb-binance-07", "mm-kraken-01", "mm-kraken-02", "mm-kraken-03", "mm-kraken-04",
        *[f"arb-binance-{n:02d}" for n in (1, 2, 3, 4, 5, 6, 8)],
        *[f"mm-okx-{n:02d}" for n in range(1, 5)],
        "arb-bybit-01", "arb-bybit-02", "hedge-cb-1", "hedge-cb-2", "risk-guard",
    ],
    "etl": [
        *[f"etl-ledger-{n}" for n in (1, 2, 3)], *[f"etl-trades-{n}" for n in range(1, 7)],
        "etl-fx-1", "etl-fx-2", *[f"etl-dwh-{n}" for n in range(1, 5)],
        "recon-daily", "recon-hourly", "settle-eod",
    ],
    "scrapers": [
        *[f"scrape-news-{n:02d}" for n in range(1, 13)],
        *[f"scrape-filings-{n}" for n in range(1, 6)],
        *[f"scrape-social-{n}" for n in range(1, 5)],
    ],
}  # fmt: skip

TALK = (
    ("order filled", "order.filled", {"order_id": 88431, "symbol": "ETHUSDT", "qty": "1.2400"}),
    ("exposure within limits", "position.audit", {"gross": 1284220.15, "net": -18402.77}),
    ("batch committed", "job.progress", {"table": "trades_2026_07", "rows": 12000, "ms": 212}),
    ("quotes placed", "strategy.quoted", {"symbol": "SOL-USDT", "bids": 4, "asks": 4}),
    ("page fetched", "job.progress", {"url": "https://news.example/42", "bytes": 48211}),
    ("order submitted", "order.submitted", {"order_id": 88432, "type": "limit", "tif": "IOC"}),
)


_CLOSED: Any = None
"""A seeder without a connection: give it one before it writes again."""


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
        stream = 1000 + len(self.streams)
        self.streams[service, name] = stream
        self._offsets[stream] = 0
        self._health("worker", component, service, name, host, agent, state, since or begun, reason)
        usual = {
            "pid": 40_000 + stream, "rss_bytes": 600 * 2**20 + stream * 2**17, "cpu_ms": 812_000,
            "open_files": 42, "backlog_bytes": 0, "backlog_age_ms": 0, "end": "running",
            "started_at": begun.isoformat(),
        }  # fmt: skip
        seen = since if since is not None and state in {"silent", "dead"} else self.now - SECOND * 3
        self._heartbeat("worker", component, seen, {**usual, **(gauges or {})})
        self.connection.execute(
            "insert into stream_info (id, agent, team, service, worker, host, source, path, "
            "start_offset, born_at) values (%s, %s, 1, %s, %s, %s, 'file', %s, 0, %s)",
            (stream, agent, service, name, host, f"/var/log/{service}/{name}.log", begun),
        )
        self.connection.execute(
            "insert into streams (id, agent, committed, tail, watermark) "
            "values (%s, %s, %s, '', %s)",
            (stream, agent, committed, watermark or self.now - SECOND * 2),
        )
        return stream

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


def fleet(url: str, now: datetime | None = None, *, per_minute: float = 1.0) -> Seeder:
    """Write the fleet. ``per_minute`` scales how many lines there are."""
    with psycopg.connect(url, autocommit=True) as connection:
        moment = now or datetime.now(UTC)
        seeder = Seeder(connection, moment)
        with connection.transaction():
            seeder.partitions(2)
            _workers(seeder)
            _lines(seeder, per_minute)
            _death(seeder)
            _gap(seeder)
            _collector(seeder)
        seeder.connection = _CLOSED
        return seeder


def _workers(seeder: Seeder) -> None:
    now = seeder.now
    silent_since = now - timedelta(minutes=4, seconds=12)
    agents = {
        f"{prefix}-{n:02d}": 0
        for prefix, most in (("trade", 6), ("etl", 5), ("edge-fra", 4))
        for n in range(1, most + 1)
    }
    for host in agents:
        gone = host == "edge-fra-02"
        agents[host] = seeder.agent(
            host, "silent" if gone else "up", silent_since if gone else None
        )
    for service, names in WORKERS.items():
        prefix = HOST_OF[service]
        hosts = [h for h in agents if h.startswith(prefix) and h != "edge-fra-02"]
        for i, name in enumerate(names):
            host = hosts[i % len(hosts)]
            seeder.worker(service, name, *_place(name, host, agents), **_condition(name, now))


def _place(name: str, host: str, agents: dict[str, int]) -> tuple[str, int]:
    if name in {"scrape-news-11", "scrape-news-12"}:
        host = "edge-fra-02"
    if name == "arb-binance-07":
        host = "trade-03"
    return host, agents[host]


def _condition(name: str, now: datetime) -> dict[str, Any]:
    if name == "arb-binance-07":
        died = now - 33 * SECOND
        return {
            "state": "dead", "since": died, "reason": "killed by SIGKILL, out of memory",
            "committed": 18_402_118,
            "gauges": {
                "end": "signal", "end_code": 9, "ended_at": died.isoformat(), "pid": 48_211,
                "rss_bytes": 2 * 2**30, "rss_limit_bytes": 2 * 2**30, "progress_done": 88_412,
                "progress_at": (died - SECOND).isoformat(), "progress_note": "orders",
            },
        }  # fmt: skip
    if name.startswith("mm-kraken"):
        return {"state": "degraded", "since": now - timedelta(minutes=22, seconds=17),
                "reason": "9.1 % of orders answered 5xx"}  # fmt: skip
    if name == "etl-ledger-2":
        behind = now - 100 * SECOND
        return {
            "state": "lagging", "since": behind, "reason": "its file grows faster than it is read",
            "watermark": behind, "gauges": {"backlog_bytes": 2_100_000, "backlog_age_ms": 100_000},
        }  # fmt: skip
    if name in {"scrape-news-11", "scrape-news-12"}:
        since = now - timedelta(minutes=4, seconds=12)
        return {"state": "silent", "since": since, "reason": "its agent is silent",
                "watermark": since}  # fmt: skip
    if name == "etl-trades-3":
        return {"gauges": {"backlog_bytes": 18_400}}
    if name == "risk-guard":
        return {"gauges": {"progress_done": 41_200, "progress_note": "checks",
                           "progress_at": (now - SECOND).isoformat()}}  # fmt: skip
    return {}


def _lines(seeder: Seeder, per_minute: float) -> None:
    now = seeder.now
    for minute in range(60):
        start = now - timedelta(minutes=60 - minute)
        for service, names in WORKERS.items():
            batch: list[tuple[int, Line]] = []
            for i, name in enumerate(names):
                if name in {"scrape-news-11", "scrape-news-12"} and minute >= 56:
                    continue
                if name == "arb-binance-07" and minute >= 59:
                    continue
                stream = seeder.streams[service, name]
                batch.extend((stream, line) for line in _minute(name, i, minute, start, per_minute))
            batch.sort(key=lambda pair: pair[1].ts)
            if batch:
                seeder.block(service, batch, start + MINUTE - SECOND)


def _minute(name: str, i: int, minute: int, start: datetime, per_minute: float) -> list[Line]:
    day = 1 + 0.16 * math.sin(minute / 9) + 0.09 * _noise(minute, i)
    number = max(1, round((2 + (i * 7) % 11) * day * per_minute))
    out = []
    for n in range(number):
        text, event, attributes = TALK[(i + n + minute) % len(TALK)]
        ts = start + timedelta(seconds=59 * (n + 0.5) / number, milliseconds=(i * 37) % 400)
        debug = (n + minute) % 6 == 5
        out.append(Line(ts, 5 if debug else 9, text, event, None, attributes, "app.work"))
    if _noise(minute * 3, i * 5) > 0.86:
        at = start + ((minute * 17 + i * 11) % 59) * SECOND
        out.append(Line(at, 13, "request weight 6104 of 6000, waiting 11.2 s",
                        "exchange.rate_limited", None, {"endpoint": "/api/v3/depth"}))  # fmt: skip
    if name.startswith("mm-kraken") and minute > 38:
        out.extend(_refusals(i, minute, start))
    if name == "etl-fx-1" and minute % 19 == 3:
        out.append(Line(start + 31 * SECOND, 17, "deadlock detected while upserting fx_rates",
                        "database.deadlock", "DB_DEADLOCK", {"pgcode": "40P01"}))  # fmt: skip
    return out


def _refusals(i: int, minute: int, start: datetime) -> list[Line]:
    out = []
    for n in range(2 + (minute + i) % 3):
        at = start + ((13 * i + 17 * n + 7 * minute) % 57) * SECOND
        text = f"AddOrder answered 503 after {2700 + 13 * minute} ms, try {n + 1} of 5"
        out.append(Line(at, 17, text, "exchange.request_failed", "EXCHANGE_UNAVAILABLE",
                        {"order_id": 87_000 + minute}))  # fmt: skip
        if n % 2:
            out.append(Line(at + 2 * SECOND, 13, "switched to cancel-only",
                            None, None, {"reason": "exchange_mode"}))  # fmt: skip
    return out


def _noise(a: int, b: int) -> float:
    """Return a number between -1 and 1 that looks like chance and is none."""
    value = math.sin(a * 12.9898 + b * 78.233) * 43758.5453
    return 2 * (value - math.floor(value)) - 1


def _death(seeder: Seeder) -> None:
    died = seeder.now - 33 * SECOND
    stream = seeder.streams["trading", "arb-binance-07"]
    words: list[tuple[float, int, str, str | None, dict[str, Any]]] = [
        (12.4, 9, "order filled", None, {"order_id": 88409, "symbol": "BTCUSDT", "side": "buy"}),
        (9.1, 13, "depth cache holds 1204551 levels", None, {"symbols": 214, "rss_mib": 1931.0}),
        (7.25, 13, "sequence gap in depth stream, 41 updates missing", None, {"symbol": "BTCUSDT"}),
        (7.24, 9, "resync started", None, {"symbols": 214, "reason": "sequence_gap"}),
        (6.42, 17, "depth resync failed for BTCUSDT, try 4 of 5", "EXCHANGE_RATE_LIMITED",
         {"symbol": "BTCUSDT", "attempt": 4, "weight": {"used": 6104, "limit": 6000},
          "exception": {"type": "Refused", "message": "code -1003", "stacktrace": STACK}}),
        (3.38, 13, "rss 1998 of 2048 MiB", None, {"source": "agent"}),
        (0.41, 13, "gc generation 2 took 1842 ms", None, {"rss_mib": 2041.7}),
        (0.03, 9, "replaying snapshot 171 of 214", None, {"symbol": "AVAXUSDT"}),
    ]  # fmt: skip
    lines = [
        (stream, Line(died - timedelta(seconds=before), severity, text, None, code, attributes,
                      "arb.book.depth", TRACE if code else None))
        for before, severity, text, code, attributes in words
    ]  # fmt: skip
    fatal = Line(died, 21, "worker died: SIGKILL, out of memory", "worker.died", None,
                 {"signal": 9, "exit": 137, "rss_mib": 2048.0}, "outrider")  # fmt: skip
    seeder.block("trading", [*lines, (stream, fatal)], died + SECOND)
    component = "trading/arb-binance-07@trade-03"
    now = seeder.now
    seeder.history(component, [
        (now - timedelta(hours=14), "up", "dead", "exit code 1"),
        (now - timedelta(hours=13, minutes=58), "dead", "up", "started"),
        (now - timedelta(hours=6, minutes=30), "up", "degraded", "exchange refuses"),
        (now - timedelta(hours=6, minutes=10), "degraded", "up", "recovered"),
        (now - timedelta(hours=3, minutes=47), "up", "dead", "SIGKILL"),
        (now - timedelta(hours=3, minutes=46), "dead", "up", "started"),
        (died, "up", "dead", "killed by SIGKILL, out of memory"),
    ])  # fmt: skip


def _gap(seeder: Seeder) -> None:
    stream = seeder.streams["etl", "etl-ledger-2"]
    at = seeder.now - timedelta(minutes=5, seconds=20)
    seeder.connection.execute(
        "insert into gaps (gap_id, commit_id, team, stream, service, worker, host, begin_offset, "
        "end_offset, records, at_least, bytes, reason, detail, from_at, to_at, detected_at) values "
        "('g', 0, 1, %s, 'etl', 'etl-ledger-2', 'etl-02', 100, 4200, 37, false, 4100, 'truncated', "
        "'the file was truncated before it was read', %s, %s, %s)",
        (stream, at, at + 2 * SECOND, at + 3 * SECOND),
    )


def _collector(seeder: Seeder) -> None:
    status = {"sessions": 15, "records_per_s": 11.4, "commit_ms_p99": 284}
    seeder.connection.execute(
        "insert into collectors (name, started_at, seen_at, status) values (%s, %s, %s, %s)",
        ("collector-1", seeder.now - timedelta(hours=30), seeder.now, json.dumps(status)),
    )
