"""Telling it again while nobody acknowledges: the steps of the route, and reminders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting import telling
from outrider_alerting.routing import escalations, named, remind_us
from outrider_alerting.rules import IN_APP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outrider_alerting.content import Content
    from outrider_alerting.draft import Draft
    from outrider_alerting.ledger import Alert, LedgerRow


def insist(draft: Draft, alert: Alert, known: Mapping[str, list[LedgerRow]], held: str) -> None:
    """Escalate and remind while nobody acknowledges."""
    if not _insists(draft):
        return
    told = [row.created_us for rows in known.values() for row in rows if row.announces]
    since_us = min(told)
    schedule(draft, alert, since_us)
    if alert.acknowledged_by is not None or alert.state != "firing" or held:
        return
    for n, step in enumerate(escalations(draft.rule_set, alert.labels), 1):
        if since_us + step.after.us <= draft.now_us:
            content = telling.escalated(alert, draft.now_us)
            _once(draft, alert, f"escalation:{n}", step.channels, known, content)
    every_us = remind_us(draft.rule_set, alert.labels)
    if every_us is not None and (n := (draft.now_us - since_us) // every_us):
        content = telling.escalated(alert, draft.now_us)
        knows = [channel for channel, rows in known.items() if channel != IN_APP
                 and any(row.announces and row.may_be_known for row in rows)]  # fmt: skip
        _once(draft, alert, f"reminder:{n}", knows, known, content)


def _once(
    draft: Draft,
    alert: Alert,
    notice: str,
    channels: Iterable[str],
    known: Mapping[str, list[LedgerRow]],
    content: Content,
) -> None:
    for to in named(draft.rule_set, channels):
        if all(row.notice != notice for row in known.get(to.channel, ())):
            draft.add(alert, notice, to, "waiting", content)


def _insists(draft: Draft) -> bool:
    """Whether any route tells again: asking them for each alert of a storm takes its time."""
    return any(route.escalate or route.remind for route in draft.rule_set.routes)


def schedule(draft: Draft, alert: Alert, since_us: int) -> None:
    """Note when this alert is to be looked at again."""
    if alert.acknowledged_by is not None or not _insists(draft):
        return
    due = [since_us + step.after.us for step in escalations(draft.rule_set, alert.labels)]
    every_us = remind_us(draft.rule_set, alert.labels)
    if every_us is not None:
        passed = (draft.now_us - since_us) // every_us
        due.append(since_us + (passed + 1) * every_us)
    coming = [at_us for at_us in due if at_us > draft.now_us]
    if coming:
        draft.next_us[alert.id] = min(coming)
