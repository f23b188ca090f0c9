"""Telling the end of an alert: to whoever was told the firing, or may have been, by its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting import telling
from outrider_alerting.draft import EXPLAINED, TOGETHER, UNTOLD_FOR_GOOD, destination_of
from outrider_alerting.ledger import RANK
from outrider_alerting.routing import CENTRE, destinations
from outrider_alerting.rules import IN_APP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider_alerting.draft import Draft
    from outrider_alerting.ledger import Alert, LedgerRow
    from outrider_alerting.routing import Destination


def settle(draft: Draft, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
    """Tell the resolve to whoever has, or may have, the firing."""
    for channel, rows in known.items():
        told = [row for row in rows if row.announces]
        end = next((row for row in rows if not row.announces), None)
        if end is not None:
            if end.fate == "waiting" and told and all(row.never_told for row in told):
                draft.overtake(end, "its firing was never delivered")
            continue
        _end(draft, alert, channel, destination_of(rows[0]), told)


def _end(draft: Draft, alert: Alert, channel: str, to: Destination, told: list[LedgerRow]) -> None:
    waiting = [row for row in told if row.fate == "waiting" and not row.attempts]
    explained = _was_explained(told)
    for row in waiting:
        draft.overtake(row, "over before it was told" if explained else TOGETHER)
    both = telling.fired_and_resolved(alert, draft.now_us)
    if channel == IN_APP:
        draft.add(alert, "resolved", to, "sent", telling.resolved(alert, draft.now_us))
    elif draft.rule_set.channel(channel) is None:
        why = f"there is no channel {channel} any more"
        draft.add(alert, "resolved", to, "suppressed", both, why=why)
    elif any(row.may_be_known for row in told):
        draft.add(alert, "resolved", to, "waiting", telling.resolved(alert, draft.now_us))
    elif waiting and not explained and draft.is_late(alert, alert.resolved_us):
        draft.late.setdefault(to, []).append(alert)
    elif waiting and not explained:
        draft.add(alert, "resolved", to, "waiting", both)
    else:
        draft.add(alert, "resolved", to, "suppressed", both, why=_why_not_told(told))


def tell_both(draft: Draft, alert: Alert, held: str) -> None:
    """Tell an alert that fired and resolved before anybody was told."""
    content = telling.fired_and_resolved(alert, draft.now_us)
    late = draft.is_late(alert, alert.resolved_us)
    for to in destinations(draft.rule_set, alert.labels):
        if held and to != CENTRE:
            draft.owed[alert.id] = not held.startswith(UNTOLD_FOR_GOOD)
            draft.add(alert, "fired", to, "suppressed", content, why=held)
            draft.add(alert, "resolved", to, "suppressed", content, why=held)
            continue
        draft.add(alert, "fired", to, "superseded", content, why=TOGETHER)
        if to == CENTRE:
            draft.add(alert, "resolved", to, "sent", content)
        elif late:
            draft.late.setdefault(to, []).append(alert)
        else:
            draft.add(alert, "resolved", to, "waiting", content, bundle=f"over {alert.rule}")


def digest(draft: Draft) -> None:
    """Tell what came late and is over: one message for each destination."""
    wait_us = draft.digest_wait_us()
    for to, late in draft.late.items():
        first, *others = alerts = sorted(late, key=lambda alert: -RANK[alert.priority])
        content = (
            telling.digest(alerts, draft.now_us)
            if others
            else telling.fired_and_resolved(first, draft.now_us)
        )
        draft.add(first, "resolved", to, "waiting", content, wait_us=wait_us, bundle="late")
        for alert in others:
            content = telling.fired_and_resolved(alert, draft.now_us)
            why = f"told in the digest of {telling.name(first.id)}"
            draft.add(alert, "resolved", to, "superseded", content, why=why)


def account(draft: Draft, alert: Alert, known: Mapping[str, list[LedgerRow]], held: str) -> None:
    """Note who is to be told that an alert came and went unannounced, once nothing holds it."""
    untold = [rows for channel, rows in known.items() if channel != IN_APP and _was_silenced(rows)]
    draft.owed[alert.id] = bool(held and untold)
    if held:
        return
    for rows in untold:
        if draft.rule_set.channel(rows[0].channel) is not None:
            by = (_last_reason(rows) or "a silence").split(":", 1)[0]
            draft.held.setdefault(destination_of(rows[0]), []).append((alert, by))


def digest_held(draft: Draft) -> None:
    """Tell what came and went while silences held it back: one message for each destination."""
    for to, held in draft.held.items():
        (first, by), *others = sorted(held, key=lambda pair: -RANK[pair[0].priority])
        content = telling.after_silence(
            [first, *(alert for alert, _ in others)],
            by if all(name == by for _, name in others) else "silences",
            draft.now_us,
        )
        # A bundle of its own: what fires next must not join it, and be heard by nobody.
        bundle = f"held {telling.name(first.id)}"
        draft.add(first, "unsuppressed:1", to, "waiting", content, bundle=bundle)
        for alert, name in others:
            content = telling.after_silence([alert], name, draft.now_us)
            why = f"told in the digest of {telling.name(first.id)}"
            draft.add(alert, "unsuppressed:1", to, "superseded", content, why=why)


def _was_silenced(rows: Sequence[LedgerRow]) -> bool:
    """Whether a silence, and nothing else, kept a destination from knowing."""
    return all(row.fate == "suppressed" for row in rows) and not (
        _last_reason(rows) or EXPLAINED
    ).startswith(UNTOLD_FOR_GOOD)


def _last_reason(rows: Sequence[LedgerRow]) -> str | None:
    """Return why the last of these firings was not told."""
    held = (row.why for row in reversed(rows) if row.announces and row.fate == "suppressed")
    return next((why for why in held if why), None)


def _was_explained(told: Sequence[LedgerRow]) -> bool:
    """Whether all that waits was held back by a cause until a moment ago."""
    held = [row.why or "" for row in told if row.fate == "suppressed"]
    waiting = [row for row in told if row.fate == "waiting"]
    return (
        bool(held)
        and held[-1].startswith(EXPLAINED)
        and all(row.notice.startswith("unsuppressed:") for row in waiting)
    )


def _why_not_told(told: list[LedgerRow]) -> str:
    if any(row.failed for row in told):
        return "its firing was never delivered"
    last = _last_reason(told)
    return f"its firing was not told: {last}" if last else "its firing was not told"
