"""What the alerts page says in words: states, fates with their why, notes of the centre. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from outrider import durations
from outrider_dashboard import timing
from outrider_dashboard.numbers import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import Alert, Attempt, Notification

_ORDINALS = {2: "2nd", 3: "3rd"}


@dataclass(frozen=True)
class Item:
    """An episode in the list."""

    alert: Alert
    note: str
    when: str


@dataclass(frozen=True)
class Group:
    """Episodes of one state."""

    title: str
    items: list[Item]


def groups(opened: Sequence[Alert], recent: Sequence[Alert], clock: timing.Clock) -> list[Group]:
    """Group episodes: firing, pending, recovering, then those resolved in the last 24 h."""
    out, frozen = [], frozen_rules(opened)
    for state in ("firing", "pending", "recovering"):
        items = [
            Item(
                a, _note(a, is_frozen=a.rule in frozen), clock.short_age(a.fired_at or a.started_at)
            )
            for a in opened
            if a.state == state
        ]
        if items:
            out.append(Group(state.capitalize(), items))
    resolved = [
        Item(a, _note(a), clock.minute(a.resolved_at))
        for a in recent
        if a.state == "resolved" and a.resolved_at is not None
    ]
    if resolved:
        out.append(Group("Resolved in 24 h", resolved))
    return out


def frozen_rules(opened: Sequence[Alert]) -> frozenset[str]:
    """Return the rules that are frozen for what they cost: a built-in alert tells of each."""
    told = (a.labels.get("frozen") for a in opened if a.kind == "built-in")
    return frozenset(rule for rule in told if rule)


def _note(alert: Alert, *, is_frozen: bool = False) -> str:
    parts = [alert.priority]
    if is_frozen:
        parts.append("rule frozen")
    if alert.state == "resolved" and alert.resolved_at is not None:
        began = alert.fired_at or alert.started_at
        parts.append(f"took {timing.short_age((alert.resolved_at - began).total_seconds())}")
    elif alert.acknowledged_at:
        parts.append("acknowledged")
    elif alert.suppressed_by:
        parts.append(f"by {alert.suppressed_by[0]}")
    elif alert.flapping:
        parts.append("flapping")
    elif alert.evidence:
        parts.append(plural(len(alert.evidence), "line"))
    return ", ".join(parts)


def state_sentence(alert: Alert, clock: timing.Clock, *, is_frozen: bool = False) -> str:
    """Continue the sentence that begins with the state: since when, how grave, who knows."""
    began = alert.fired_at or alert.started_at
    if alert.state == "resolved" and alert.resolved_at is not None:
        took = durations.said((alert.resolved_at - began).total_seconds())
        text = f" at {clock.sentence(alert.resolved_at)} after {took}."
        if alert.resolve_reason:
            text += f" {_sentence(alert.resolve_reason)}"
    else:
        text = f" since {clock.sentence(began)}, {clock.age(began)}."
    text += f" {alert.priority.capitalize()}."
    if alert.acknowledged_at:
        by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
        text += f" Acknowledged{by} at {clock.plain(alert.acknowledged_at)}"
        text += f": {alert.acknowledge_comment}." if alert.acknowledge_comment else "."
    if alert.suppressed_by:
        text += f" Kept quiet by {', '.join(alert.suppressed_by)}."
    if alert.flapping:
        text += " It flaps."
    if is_frozen:
        text += (
            " Its rule is frozen for what it costs: this stays as it is, and nothing new alerts, "
            "until the rules are applied again."
        )
    elif alert.stale:
        text += " Its sources are behind, so this may be old."
    return text


@dataclass(frozen=True)
class Try:
    """A try that failed: when, the server's words, the pause until the next one."""

    at: str
    said: str
    pause: str


@dataclass(frozen=True)
class LedgerLine:
    """One notification: its fate and why."""

    notification: Notification
    fate: str
    word: str
    purpose: str
    at: datetime | None
    took: str
    to: str
    why: str
    story: list[Try] = field(default_factory=list)
    """Tries that failed, oldest first."""


def ledger(notifications: Sequence[Notification], clock: timing.Clock) -> list[LedgerLine]:
    """Write every notification with its fate."""
    return [_ledger_line(n, clock) for n in notifications]


def _ledger_line(n: Notification, clock: timing.Clock) -> LedgerLine:
    decided = n.fate in {"suppressed", "superseded"}
    at = n.finished_at or n.created_at if decided else n.finished_at if n.was_tried else None
    took = timing.DASH
    if at is not None and n.was_tried:
        took = timing.latency((at - n.created_at).total_seconds() * 1000)
    word = {"unknown": "outcome unknown", "claimed": "on its way"}.get(n.fate, n.fate)
    if n.fate == "sent" and n.attempts > 1:
        word += f", {_ORDINALS.get(n.attempts, f'{n.attempts}th')} try"
    return LedgerLine(
        notification=n,
        fate=n.fate,
        word=word,
        purpose=purpose(n.notice),
        at=at,
        took=took,
        to=destination(n),
        why=_why(n, clock),
        story=_story(n.tries, clock),
    )


def purpose(notice: str) -> str:
    """Say what a notification is for: ``firing``, ``escalation 2``."""
    name, _, number = notice.partition(":")
    words = {"fired": "firing", "raised": "raised to"}
    return f"{words.get(name, name)} {number}".strip()


def destination(n: Notification) -> str:
    """Name a destination: ``Telegram trading-oncall``, ``In-app, everyone``."""
    if n.is_in_app:
        return "In-app, everyone"
    kinds = {"telegram": "Telegram", "email": "E-mail", "webhook": "Webhook"}
    return f"{kinds.get(n.channel_type, n.channel_type)} {n.channel}"


def _story(tries: Sequence[Attempt], clock: timing.Clock) -> list[Try]:
    out = []
    for i, one in enumerate(tries):
        if not one.error:
            continue
        later = tries[i + 1].started_at if i + 1 < len(tries) else None
        pause = timing.latency((later - one.started_at).total_seconds() * 1000) if later else ""
        out.append(Try(clock.row(one.started_at), one.error, pause))
    return out


def _why(n: Notification, clock: timing.Clock) -> str:
    # What a try failed by stands in its story already.
    is_told = any(one.error == n.why for one in n.tries)
    said = "" if is_told else _sentence(n.why or "")
    if n.fate == "sent":
        if n.is_in_app:
            return "Exactly once, committed with the transition."
        taken = "Accepted." if n.attempts > 1 else ""
        return f"Message {n.provider_id}. {said}".strip() if n.provider_id else said or taken
    if n.fate == "suppressed":
        return f"By {n.why}." if n.why else "Kept quiet."
    if n.fate == "waiting":
        if n.not_before > clock.now:
            return f"Next try at {clock.plain(n.not_before)}. {said}".strip()
        return said or "Goes out next."
    if n.fate == "unknown":
        return "It may have arrived. At most one repeat follows, marked as such."
    return said


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


@dataclass(frozen=True)
class Note:
    """One note of the notification centre."""

    id: int
    alert: int
    state: str
    title: str
    text: str
    at: datetime
    priority: str = ""
    """Of a firing alert, else empty."""


@dataclass(frozen=True)
class NoteGroup:
    """Notes of one stretch of time."""

    title: str
    notes: list[Note]


def notes(notifications: Sequence[Notification], clock: timing.Clock) -> list[NoteGroup]:
    """Group the in-app notices: last hour, earlier today, before."""
    hour: list[Note] = []
    today: list[Note] = []
    before: list[Note] = []
    for n in notifications:
        if not (n.is_in_app or n.was_given_up):
            continue
        note = _note_of(n)
        if clock.now - note.at < timedelta(hours=1):
            hour.append(note)
        elif clock.same_day(note.at):
            today.append(note)
        else:
            before.append(note)
    titled = (("Last hour", hour), ("Earlier today", today), ("Before today", before))
    return [NoteGroup(title, found) for title, found in titled if found]


def _note_of(n: Notification) -> Note:
    at = n.finished_at or n.created_at
    if not n.is_in_app:
        word = "could not be delivered" if n.fate == "dead" else "failed"
        text = f"{n.channel}: {n.why}" if n.why else n.channel
        return Note(n.id, n.alert, "failed", f"A message {word}", text, at)
    resolved = n.notice == "resolved"
    said = _content(n.content, "sentence")
    return Note(
        id=n.id,
        alert=n.alert,
        state="resolved" if resolved else "firing",
        title=_content(n.content, "title") or n.summary,
        text=said or f"{n.rule}, {n.priority}",
        at=at,
        priority="" if resolved else n.priority,
    )


def _content(content: dict[str, Any] | list[Any], key: str) -> str:
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""
