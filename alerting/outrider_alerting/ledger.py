"""What the policy is given and what it decides, as values: alerts, ledger rows, silences, plans."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from outrider_alerting.content import (  # noqa: TC001  msgspec reads the annotations
    Content,
    EvidenceLine,
)
from outrider_alerting.episodes import Key, State  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.rules import Priority  # noqa: TC001  msgspec reads the annotations

Fate = Literal[
    "waiting", "claimed", "sent", "suppressed", "superseded", "failed", "dead", "unknown"
]

RANK: Final[dict[str, int]] = {"info": 0, "warning": 1, "critical": 2}

_TOLD: Final = frozenset(("sent", "unknown", "claimed"))
"""The destination has it, may have it, or is being told."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert's row as it stands after the step's transitions."""

    id: int
    rule: str
    key: Key
    labels: dict[str, str]
    kind: str
    priority: Priority
    state: State
    summary: str
    runbook: str | None = None
    value: float | None = None
    threshold: float | None = None
    started_us: int
    fired_us: int | None = None
    resolved_us: int | None = None
    resolve_reason: str | None = None
    acknowledged_by: str | None = None
    flapping: bool = False
    """It fired several times within the hour before."""
    told_us: int | None = None
    """Where it is flapping and critical: when somebody was last told of an earlier one of its key,
    if that was within the hour."""
    evidence: tuple[EvidenceLine, ...] = ()


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notification's row as it stands."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    priority: Priority = "warning"
    fate: Fate
    attempts: int = 0
    """Attempts with an unknown outcome: each may have arrived."""
    tries: int = 0
    """All attempts."""
    created_us: int = 0
    why: str | None = None
    content: Content | None = None
    """What was to be said, where it was not delivered that something came and went."""

    @property
    def announces(self) -> bool:
        """Whether it tells that the alert fires."""
        return self.notice != "resolved"

    @property
    def failed(self) -> bool:
        """Whether the channel gave up on it."""
        return self.fate in {"failed", "dead"}

    @property
    def may_be_known(self) -> bool:
        """Whether the destination has it or may have it."""
        return self.fate in _TOLD or self.attempts > 0

    @property
    def never_told(self) -> bool:
        """Whether the destination surely has it not and never will."""
        return (self.failed or self.fate == "suppressed") and not self.attempts


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence's row."""

    id: int
    filter: str
    starts_us: int
    ends_us: int
    comment: str = ""
    ended_us: int | None = None
    schedule: str | None = None
    """Weekly windows; None: all the time from start to end."""
    timezone: str | None = None
    quiet_hours: bool = False
    """Critical alerts pass."""


class Spoken(NamedTuple):
    """A firing that went out as a message of its own a moment ago: others may join it."""

    channel: str
    rule: str
    priority: Priority
    alert: int
    notice: str
    at_us: int
    followers: int = 0
    """How many have joined it already."""


class NotificationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A row to insert into the ledger."""

    alert: int
    notice: str
    """``fired``, ``raised:n``, ``unsuppressed:n``, ``escalation:n``, ``reminder:n`` or
    ``resolved``."""
    channel: str
    channel_type: str
    conversation: str
    priority: Priority
    fate: Literal["waiting", "sent", "suppressed", "superseded"]
    why: str | None = None
    content: Content
    not_before_us: int
    bundle: str | None = None
    """Rows of one channel and bundle that wait at the same time leave as one message."""
    joins: tuple[int, str] | None = None
    """Alert and notice of the row, same channel, whose message is to tell this too."""


class LedgerChange(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting row that is overtaken: its fate becomes superseded."""

    alert: int
    notice: str
    channel: str
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy decided."""

    rows: tuple[NotificationPlan, ...] = ()
    changes: tuple[LedgerChange, ...] = ()
    suppressed_by: dict[int, tuple[str, ...]] = {}
    """Open alert's id to what holds it back now (``A-3``, ``silence 31``); for the alert's flag."""
    owed: dict[int, bool] = {}
    """Resolved alert's id to whether it is to be told when what holds it back now is over."""
    next_us: dict[int, int] = {}
    """Open alert's id to when it is to be looked at again: an escalation or a reminder is due."""
