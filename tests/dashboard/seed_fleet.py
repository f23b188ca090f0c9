"""A fleet in trouble, written straight into the tables: what the pages of the tests show.

Sixty workers of three services on fifteen hosts. One was killed, a host is silent, four suffer from
an exchange, one is behind and has lost lines; the rest is well. Without chance: the same every time
but for the moment it is told relative to.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from tests.dashboard.seed import CLOSED, MINUTE, SECOND, Line, Seeder

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
        seeder.connection = CLOSED
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
        # Heard in time for however long the tests run: nobody renews this row.
        (
            "collector-1",
            seeder.now - timedelta(hours=30),
            seeder.now + timedelta(hours=1),
            json.dumps(status),
        ),
    )
