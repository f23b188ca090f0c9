"""Alerts for the seeded fleet: one of each state, each with its story."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection

    from tests.dashboard.seed import Seeder

FILTER = "service:trading error_code:EXCHANGE_UNAVAILABLE"


def alerts(url: str, seeder: Seeder) -> dict[str, int]:
    """Write rules, episodes, transitions and notifications; return the episodes' ids by rule."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        return _Alerts(connection, seeder.now).write()


class _Alerts:
    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now

    def write(self) -> dict[str, int]:
        self._rules()
        now = self._now
        dead = self._alert(
            "worker-dead", ["trading", "arb-binance-07", "trade-03"], "firing", now - _s(33),
            kind="liveness", priority="critical", summary="arb-binance-07 is dead",
        )  # fmt: skip
        self._told(dead, "fired", "in-app", "in-app", "sent", now - _s(32.9),
                   title="arb-binance-07 is dead", sentence="SIGKILL, out of memory.")  # fmt: skip
        self._told(dead, "fired", "trading-oncall", "telegram", "sent", now - _s(32.6), took=0.376)
        busy = self._exchange()
        silent = self._alert(
            "host-silent", ["edge-fra-02"], "firing", now - _s(222), kind="liveness",
            summary="edge-fra-02 is silent", labels={"host": "edge-fra-02"},
        )  # fmt: skip
        self._told(silent, "fired", "in-app", "in-app", "sent", now - _s(222),
                   title="Host edge-fra-02 is silent", sentence="No heartbeat.")  # fmt: skip
        pending = self._alert("backlog", ["etl", "etl-ledger-2"], "pending", now - _s(60),
                              summary="etl-ledger-2 is 2.1 MB behind")  # fmt: skip
        recovering = self._alert("error-spike", ["scrapers"], "recovering", now - _s(2460),
                                 summary="188 errors in 5 min")  # fmt: skip
        over = self._alert(
            "rate-limit", ["trading", "arb-binance-07"], "resolved", now - timedelta(hours=6),
            summary="rate limited 14 times", resolved=now - timedelta(hours=5, minutes=18),
        )  # fmt: skip
        self._told(over, "resolved", "in-app", "in-app", "sent", now - timedelta(hours=5),
                   title="arb-binance-07 is back", sentence="After 42 min.")  # fmt: skip
        return {"worker-dead": dead, "exchange-5xx": busy, "host-silent": silent,
                "backlog": pending, "error-spike": recovering, "rate-limit": over}  # fmt: skip

    def _rules(self) -> None:
        execute = self._connection.execute
        execute(
            "insert into rule_sets (version, applied_by, files, minimum_engine) "
            "values (7, 'operator', '[]', 1)"
        )
        definition = {"filter": FILTER, "by": ["service"], "window": "5m", "above": 8, "resolve": 3}
        execute(
            "insert into rule_versions (version, name, kind, definition) "
            "values (7, 'exchange-5xx', 'count', %s)",
            (json.dumps(definition),),
        )
        execute("insert into active_rule_set (version) values (7)")

    def _exchange(self) -> int:
        now = self._now
        fired = now - timedelta(minutes=19)
        number = self._alert(
            "exchange-5xx", ["trading"], "firing", fired - _s(60), priority="critical",
            summary="The exchange answers with 503: 14 errors in 5 min", fired=fired,
            acknowledged=fired + _s(175), value=14, threshold=8, labels={"service": "trading"},
            evidence=[
                {"ts": (fired - _s(n * 7)).isoformat(), "severity": 17, "service": "trading",
                 "worker": f"mm-kraken-0{n}", "message": "AddOrder answered 503 after 2714 ms",
                 "stream": None, "stream_offset": None}
                for n in range(1, 5)
            ],
        )  # fmt: skip
        for at, before, after, why in (
            (fired - _s(60), "inactive", "pending", "Above 8 (9 in 5 min). Waits 60 s."),
            (fired, "pending", "firing", "Still above 8: 14 in 5 min."),
            (fired + _s(655), "firing", "recovering", "Below 3 (2 in 5 min). Waits 5 min."),
            (fired + _s(805), "recovering", "firing", "Above 8 again. Same episode."),
        ):
            self._transition(number, at, before, after, why)
        self._told(number, "fired", "trading-oncall", "telegram", "sent", fired + _s(0.412),
                   took=0.412, provider="88214")  # fmt: skip
        mail = self._told(number, "fired", "desk-mail", "email", "sent", fired + _s(30.9),
                          took=30.9, attempts=2)  # fmt: skip
        self._try(mail, fired + _s(0.7), "error", "421 4.7.0 try again later")
        self._try(mail, fired + _s(30.8), "sent", None)
        self._told(number, "fired", "ops-night", "telegram", "suppressed", None,
                   why="silence 31, until 15:00")  # fmt: skip
        self._told(number, "fired", "in-app", "in-app", "sent", fired + _s(0.012), took=0.012,
                   title="The exchange fails 14 orders in 5 min",
                   sentence="Acknowledged after 2 min 55 s.")  # fmt: skip
        self._told(number, "escalation:1", "pager", "webhook", "superseded", None,
                   why="somebody acknowledged it")  # fmt: skip
        self._told(number, "reminder:1", "trading-oncall", "telegram", "waiting", None)
        return number

    def _alert(
        self, rule: str, key: list[str], state: str, started: datetime, *, kind: str = "count",
        priority: str = "warning", summary: str, fired: datetime | None = None,
        resolved: datetime | None = None, acknowledged: datetime | None = None,
        value: float | None = None, threshold: float | None = None,
        labels: dict[str, str] | None = None, evidence: list[dict[str, Any]] | None = None,
    ) -> int:  # fmt: skip
        names = {1: ["service"], 2: ["service", "worker"], 3: ["service", "worker", "host"]}
        labels = labels or dict(zip(names[len(key)], key, strict=True))
        row = self._connection.execute(
            "insert into alerts (rule, key, labels, kind, priority, state, summary, runbook, "
            "value, threshold, started_at, fired_at, resolved_at, acknowledged_at, "
            "acknowledged_by, evidence, rule_set) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
            "%s, %s, %s, %s, %s, %s, 7) returning id",
            (
                rule, key, json.dumps(labels), kind, priority, state, summary,
                "https://wiki.example/runbook", value, threshold, started,
                None if state == "pending" else fired or started, resolved, acknowledged,
                "oncall" if acknowledged else None, json.dumps(evidence or []),
            ),
        ).fetchone()  # fmt: skip
        assert row is not None
        number: int = row[0]
        return number

    def _transition(self, alert: int, at: datetime, before: str, after: str, why: str) -> None:
        self._connection.execute(
            "insert into alert_transitions (alert, step, from_state, to_state, at, concluded_at, "
            "reason) values (%s, 1, %s, %s, %s, %s, %s)",
            (alert, before, after, at, at, why),
        )

    def _told(
        self, alert: int, notice: str, channel: str, kind: str, fate: str, at: datetime | None,
        *, took: float = 0.01, why: str | None = None, provider: str | None = None,
        attempts: int = 1, title: str = "", sentence: str = "",
    ) -> int:  # fmt: skip
        created = (at or self._now - timedelta(minutes=5)) - _s(took)
        row = self._connection.execute(
            "insert into notifications (alert, notice, channel, channel_type, conversation, "
            "priority, fate, why, content, attempts, not_before, provider_id, created_at, "
            "finished_at) values (%s, %s, %s, %s, %s, 'critical', %s, %s, %s, %s, %s, %s, %s, %s) "
            "returning id",
            (
                alert, notice, channel, kind, channel, fate, why,
                json.dumps({"title": title, "sentence": sentence}), attempts, created, provider,
                created, at,
            ),
        ).fetchone()  # fmt: skip
        assert row is not None
        number: int = row[0]
        return number

    def _try(self, notification: int, at: datetime, outcome: str, error: str | None) -> None:
        self._connection.execute(
            "insert into notification_attempts (notification, started_at, finished_at, outcome, "
            "error) values (%s, %s, %s, %s, %s)",
            (notification, at, at + _s(0.2), outcome, error),
        )


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
