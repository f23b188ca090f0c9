"""Alerts, their ledger, and channels that stand in and insist: what tests of few messages share."""

from __future__ import annotations

from typing import Any

import msgspec

from outrider_alerting.ledger import Alert, LedgerRow, NotificationPlan, Plan
from tests.alerting.deciding import MAIL, NOW, OPS
from tests.alerting.scene import rules

BOSS_AND_ROUTES = """
[[channel]]
name = "boss"
type = "telegram"
bot_token_file = "t"
chat_id = 5
[[route]]
match = "service:mail"
channels = ["mail"]
[[route]]
channels = ["ops"]
escalate = [{ after = "10m", channels = ["boss"] }, { after = "1h", channels = ["mail"] }]
remind = "4h"
"""
TEXT = OPS + 'fallback = "mail"\n' + MAIL + BOSS_AND_ROUTES
RULES = rules(TEXT)


def alert(number: int = 12, **changes: Any) -> Alert:
    """An alert that fires since now."""
    fields: dict[str, Any] = {
        "id": number,
        "rule": "errors",
        "key": (str(number),),
        "kind": "count",
        "priority": "warning",
        "state": "firing",
        "summary": f"errors of {number}",
        "started_us": NOW,
        "fired_us": NOW,
    } | changes
    named = {"rule": fields["rule"], "kind": fields["kind"], "priority": fields["priority"]}
    labels = {**named, **changes.get("labels", {})}
    return msgspec.convert(fields | {"labels": labels}, Alert)


def over_alert(number: int) -> Alert:
    """An alert that came and went."""
    return alert(number, state="resolved", resolved_us=NOW)


def of(row: NotificationPlan, fate: str = "", created: int = NOW, **changes: object) -> LedgerRow:
    """The ledger's row that a plan's row becomes."""
    fields = {"alert": row.alert, "notice": row.notice, "channel": row.channel,
              "channel_type": row.channel_type, "conversation": row.conversation,
              "priority": row.priority, "fate": fate or row.fate, "created_us": created,
              "why": row.why} | changes  # fmt: skip
    return msgspec.convert(fields, LedgerRow)


def ledger_of(planned: Plan, fate: str = "sent") -> list[LedgerRow]:
    """The ledger after everything that waited had this fate."""
    return [of(row, fate if row.fate == "waiting" else "") for row in planned.rows]


def told(planned: Plan, channel: str = "ops") -> list[tuple[str, str]]:
    """(notice, fate) of a channel's new rows."""
    return [(row.notice, row.fate) for row in planned.rows if row.channel == channel]


def only(planned: Plan, channel: str) -> list[NotificationPlan]:
    """A channel's new rows."""
    return [row for row in planned.rows if row.channel == channel]


AGENT: dict[str, Any] = {"kind": "liveness", "rule": "agent-gone",
         "labels": {"host": "h1", "agent": "7", "state": "silent"}}  # fmt: skip
WORKER: dict[str, Any] = {"kind": "liveness", "rule": "worker-gone",
          "labels": {"host": "h1", "service": "pay", "worker": "w1",
                     "state": "silent"}}  # fmt: skip
