"""Alerts, what was told about them, rules and silences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_alerting.ledger import Fate


@dataclass(frozen=True, slots=True)
class Evidence:
    """A copy of a line that raised an alert."""

    ts: datetime
    severity: int
    service: str
    worker: str
    message: str
    stream: int | None
    stream_offset: int | None


@dataclass(frozen=True, slots=True)
class Alert:
    """An episode of (rule, key)."""

    id: int
    rule: str
    key: list[str]
    labels: dict[str, str]
    kind: str
    priority: str
    """info, warning or critical."""
    state: str
    """pending, firing, recovering or resolved."""
    summary: str
    runbook: str | None
    value: float | None
    threshold: float | None
    started_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    resolve_reason: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledge_comment: str | None
    suppressed_by: list[str]
    flapping: bool
    stale: bool
    evidence: list[Evidence]
    rule_set: int
    updated_at: datetime

    @property
    def subject(self) -> str:
        """What it is about, as a person calls it: the worker, else what the key has."""
        return self.labels.get("worker") or ", ".join(filter(None, self.key)) or self.rule


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of an alert's state."""

    id: int
    step: int
    from_state: str | None
    to_state: str
    at: datetime
    """When it became true, in event time."""
    concluded_at: datetime
    value: float | None
    reason: str
    without: list[str]
    """Sources it was concluded without."""


@dataclass(frozen=True, slots=True)
class Told:
    """That an alert fired or ended, for whoever follows all of them."""

    transition: int
    to_state: str
    concluded_at: datetime
    alert: int
    priority: str
    summary: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver a notification."""

    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Notification:
    """What one destination was told about an alert, or why not."""

    id: int
    alert: int
    notice: str
    """fired, raised:n, unsuppressed:n, escalation:n, reminder:n or resolved."""
    channel: str
    channel_type: str
    conversation: str
    priority: str
    fate: Fate
    why: str | None
    content: dict[str, Any] | list[Any]
    attempts: int
    not_before: datetime
    provider_id: str | None
    created_at: datetime
    finished_at: datetime | None
    rule: str
    """Of its alert, as is all that follows."""
    summary: str
    state: str
    labels: dict[str, str]
    tries: list[Attempt]
    """Oldest first; empty where they were not asked for."""

    @property
    def is_in_app(self) -> bool:
        """Whether it stands in the notification centre, and nowhere else."""
        return self.channel_type == "in-app"

    @property
    def was_tried(self) -> bool:
        """Whether its channel took it, refused it or left open which."""
        return self.fate in {"sent", "failed", "dead", "unknown"}

    @property
    def was_given_up(self) -> bool:
        """Whether it will never arrive."""
        return self.fate in {"failed", "dead"}


@dataclass(frozen=True, slots=True)
class AlertDetail:
    """One alert and everything that happened to it."""

    alert: Alert
    transitions: list[Transition]
    """Oldest first."""
    notifications: list[Notification]
    """Oldest first, with their tries."""
    definition: dict[str, Any]
    """The rule as it was when the alert last moved; empty where it is not kept any more."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A filter on alert labels that keeps destinations quiet for a while."""

    id: int
    filter: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    active: bool
    """Within its span; of its windows says ``schedule``."""
    schedule: str | None
    """Weekly windows, such as ``mon-fri 22:00-07:00``; None: all the time."""
    timezone: str | None
    quiet_hours: bool
    """Critical alerts pass."""
