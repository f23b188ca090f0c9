"""What is looked at beside the fleet: exchanges, a database, web services, ninety days of them.

Kraken is degraded from everywhere and a page is not reached from one of two hosts; a closing is
announced, a certificate ends soon. Without chance, like the fleet.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from outrider.instants import to_us
from tests.dashboard.seed import CLOSED, MINUTE, Line

if TYPE_CHECKING:
    from tests.dashboard.seed import Seeder

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOSTS = ("trade-01", "trade-02")


class Seen(NamedTuple):
    """A component as it is to be seen: how it is, what was measured, and days not only up."""

    kind: str
    name: str
    hosts: tuple[str, ...] = HOSTS
    state: str = "up"
    since: timedelta = timedelta(days=12)
    reason: str = ""
    facts: dict[str, Any] = {}  # noqa: RUF012  never changed
    degraded: dict[int, int] = {}  # noqa: RUF012  days ago -> minutes
    down: dict[int, int] = {}  # noqa: RUF012
    closed: dict[int, int] = {}  # noqa: RUF012
    first_day: int = 89
    """Measured since so many days ago."""


def health(url: str, seeder: Seeder) -> None:
    """Write all of it into a database that has the fleet."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        now = seeder.now
        today = now.astimezone(UTC).date()
        agents = {
            host: number
            for number, host in connection.execute("select id, host from agents").fetchall()
        }
        connection.execute("update health_rolled set before = %s", (today,))
        connection.execute(
            "insert into health_watches values (%s, %s)", (now - timedelta(days=89), now)
        )
        for seen in _seen(now):
            for host in seen.hosts:
                component = f"{seen.name}@{host}"
                _component(connection, seen, component, host, agents[host], now)
                _days(connection, seen.kind, component, seen, today)
        for host, number in agents.items():
            _days(connection, "agent", str(number), _host(host), today)
        connection.execute(
            "update collectors set status = status || %s",
            (json.dumps({"channels": CHANNELS}),),
        )
        seeder.connection = connection
        _samples(seeder, [seen for seen in _seen(now) if seen.kind == "exchange"])
        seeder.connection = CLOSED


CHANNELS = {
    "ops": {"state": "ok", "error": None},
    "oncall-mail": {"state": "failing", "error": "421 4.7.0 try again later"},
    "pager": {"state": "unused", "error": None},
}


def _seen(now: datetime) -> list[Seen]:
    def exchange(rest_ms: float, skew_ms: float, announced: str = "nothing") -> dict[str, Any]:
        used_pct = abs(skew_ms) / 10
        return {
            "mode": "ONLINE", "decided_by": "announced", "announced": announced,
            "rest_ms": rest_ms, "skew_ms": skew_ms, "skew_used_pct": used_pct, "skew_samples": 5,
            "tls_expires_us": to_us(now + timedelta(days=68 + rest_ms)),
        }  # fmt: skip

    closed_until = now + timedelta(minutes=57)
    soon = {"tls_expires_us": to_us(now + timedelta(days=11, hours=3))}
    return [
        Seen("exchange", "Binance", facts=exchange(94, 12), degraded={67: 31}, down={28: 14}),
        Seen(
            "exchange", "Kraken", state="degraded", since=timedelta(minutes=22, seconds=17),
            reason="cancel_only, announced: degraded performance",
            facts={**exchange(2800, -61), "mode": "CANCEL_ONLY",
                   "announced": "“degraded performance” since 13:52"},
            degraded={80: 90, 55: 70, 31: 25, 1: 55}, down={56: 80, 18: 9}, closed={42: 90},
        ),
        Seen("exchange", "OKX", facts=exchange(128, 38), degraded={49: 6}),
        Seen("exchange", "Bybit", facts=exchange(141, -9, "upgrade 16 Jul 02:00 to 02:30 UTC"),
             degraded={12: 35}, down={74: 5}),
        Seen(
            "exchange", "Coinbase", state="maintenance", since=timedelta(minutes=33),
            reason="maintenance, announced",
            facts={**exchange(0, 4, "maintenance to 15:00 UTC"), "mode": "MAINTENANCE",
                   "announced_until_us": to_us(closed_until)},
            closed={84: 90, 63: 90, 42: 90, 21: 90}, degraded={37: 12},
        ),
        Seen("database", "postgres", ("trade-01",), down={59: 2}, degraded={25: 4}),
        Seen("probe", "settle.example.net", facts=soon, degraded={3: 4}, first_day=40),
        Seen("probe", "shop", HOSTS[:1], facts={"status": 200}, down={9: 3}),
        Seen("probe", "shop", HOSTS[1:], state="down", since=timedelta(minutes=6),
             reason="no connection within 5 s", down={9: 3}),
    ]  # fmt: skip


def _host(host: str) -> Seen:
    if host == "edge-fra-02":
        return Seen("agent", host, down={46: 40, 45: 3}, first_day=75)
    if host == "trade-03":
        return Seen("agent", host, degraded={1: 1})
    return Seen("agent", host, closed={53: 60} if host == "etl-01" else {})


def _component(
    connection: psycopg.Connection, seen: Seen, component: str, host: str, agent: int,
    now: datetime,
) -> None:  # fmt: skip
    connection.execute(
        "insert into system_health (component_kind, component, host, agent, state, since, reason) "
        "values (%s, %s, %s, %s, %s, %s, %s)",
        (seen.kind, component, host, agent, seen.state, now - seen.since, seen.reason),
    )
    if seen.state != "up":
        connection.execute(
            "insert into system_health_history (component_kind, component, from_state, to_state, "
            "at, reason) values (%s, %s, 'up', %s, %s, %s)",
            (seen.kind, component, seen.state, now - seen.since, seen.reason),
        )
    looked = {"took_ms": seen.facts.get("rest_ms", 12.5), "checked_at": now.isoformat()}
    connection.execute(
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges) "
        "values (%s, %s, %s, %s, 'collector-1', %s)",
        (
            seen.kind,
            component,
            now - 4 * MINUTE / 60,
            now + MINUTE,
            json.dumps({**seen.facts, **looked}),
        ),
    )


def _days(
    connection: psycopg.Connection, kind: str, component: str, seen: Seen, today: date
) -> None:
    for ago in range(1, seen.first_day + 1):
        degraded, down, closed = (
            days.get(ago, 0) * 60_000 for days in (seen.degraded, seen.down, seen.closed)
        )
        connection.execute(
            "insert into health_days values (%s, %s, %s, 1, %s, %s, %s, %s)",
            (
                today - timedelta(days=ago), kind, component,
                DAY_MS - degraded - down - closed, degraded, down, closed,
            ),
        )  # fmt: skip


def _samples(seeder: Seeder, exchanges: list[Seen]) -> None:
    """One record a minute and component, as agents write them."""
    agent = next(iter(seeder.streams.values())) + 5_000
    for offset, host in enumerate(HOSTS):
        stream = agent + offset
        seeder.streams["outrider-agent", host] = stream
        seeder.stream("outrider-agent", "agent", host, stream)
    for minute in range(60):
        at = seeder.now - timedelta(minutes=60 - minute)
        lines = [
            (seeder.streams["outrider-agent", host], _sample(seen, host, at, minute))
            for seen in exchanges
            for host in HOSTS
            if seen.state != "maintenance" or minute < 27
        ]
        seeder.block("outrider-agent", lines, at + MINUTE / 2)


def _sample(seen: Seen, host: str, at: datetime, minute: int) -> Line:
    usual = {"Binance": 94, "Kraken": 180, "OKX": 128, "Bybit": 141, "Coinbase": 120}[seen.name]
    p95 = usual * (1 + 0.08 * math.sin(minute * 1.7 + len(host)))
    if seen.name == "Kraken" and minute > 37:
        p95 = 2800 * (1 + 0.06 * math.sin(minute))
    attributes = {
        "component_kind": "exchange", "component": f"{seen.name}@{host}", "n": 6, "failed": 0,
        "p50_ms": p95 / 2, "p95_ms": p95, "max_ms": p95 * 1.2,
    }  # fmt: skip
    return Line(at, 5, f"{seen.name}: 6 looks", "health.sampled", None, attributes, "outrider")
