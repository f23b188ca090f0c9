"""An alert, its ledger and what the policy decides: what tests of the policy share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting.ledger import Alert, Fate, LedgerRow, Plan, Silence
from outrider_alerting.policy import plan
from tests.alerting.scene import S, rules

if TYPE_CHECKING:
    from outrider_alerting.episodes import State
    from outrider_alerting.rules import Priority, RuleSet

OPS = """
[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "t"
chat_id = -1
"""
MAIL = """
[[channel]]
name = "mail"
type = "email"
smtp_host = "localhost"
tls = "none"
from = "a@b"
to = ["c@d"]
"""
CHANNELS = OPS + MAIL
ROUTES = """
[[route]]
match = "priority>=critical"
channels = ["mail"]
continue = true
[[route]]
match = "service:pay"
channels = ["ops"]
[[route]]
channels = ["mail"]
"""
RULES = rules(CHANNELS + ROUTES)
NO_ROUTES = rules(CHANNELS)
NOW = 1_000 * S


def alert(
    state: State = "firing", *, priority: Priority = "warning", service: str = "pay",
    fired: int | None = NOW, resolved: int | None = None, alert_id: int = 12,
    kind: str = "count",
) -> Alert:  # fmt: skip
    """An alert as its row has it."""
    return Alert(
        id=alert_id,
        rule="errors",
        key=(service,),
        labels={"rule": "errors", "kind": kind, "priority": priority, "service": service},
        kind=kind,
        priority=priority,
        state=state,
        summary="11 errors in 5m on w1",
        value=11.0,
        threshold=10.0,
        started_us=NOW if fired is None else fired,
        fired_us=fired,
        resolved_us=NOW if resolved is None and state == "resolved" else resolved,
        resolve_reason="no records in 5m" if state == "resolved" else None,
    )


def silence(text: str = "service:pay", *, start: int = 0, end: int = 2000, n: int = 31) -> Silence:
    """A silence between two seconds."""
    return Silence(id=n, filter=text, starts_us=start * S, ends_us=end * S, comment="at work")


def row(
    channel: str, fate: Fate, notice: str = "fired", *, why: str | None = None, attempts: int = 0
) -> LedgerRow:
    """A row of the alert's ledger."""
    kinds = {"ops": ("telegram", "telegram:-1"), "mail": ("email", "email:mail")}
    channel_type, conversation = kinds.get(channel, (channel, channel))
    return LedgerRow(
        alert=12, notice=notice, channel=channel, channel_type=channel_type,
        conversation=conversation, fate=fate, why=why, attempts=attempts,
    )  # fmt: skip


def decide(
    *alerts: Alert, ledger: tuple[LedgerRow, ...] = (), silences: tuple[Silence, ...] = (),
    rule_set: RuleSet = RULES, now: int = NOW,
) -> Plan:  # fmt: skip
    """Call the policy for alerts that share one ledger."""
    return plan(alerts, {12: ledger} if ledger else {}, silences, rule_set, now)


def short(planned: Plan) -> list[tuple[str, str, str]]:
    """(channel, notice, fate) of the new rows."""
    return [(r.channel, r.notice, r.fate) for r in planned.rows]
