"""Who is told what: from alerts as they stand and the ledger as it stands to new ledger rows.

A pure function, called in the transaction that stores the transitions, with the rows of the alerts
concerned locked. It looks at states, not at events, so calling it again changes nothing:

* An alert that fires goes to the destinations of its routes, and always to the notification centre.
  What a silence holds back is a row too, naming the silence.
* When the silence ends and the alert still fires, it is told then: ``unsuppressed:n``.
* A resolve goes to whoever was told the firing, or may have been, by the alert's own ledger: over
  any silence, whatever the routes say by now. Who was not told gets none.
* A firing that is still waiting when the alert resolves is overtaken: one message tells both. Not
  one that waits for its repeat because nobody knows whether it arrived: the resolve follows it.
* What began and ended before its records came (more than a minute late) is told as one digest, if
  there is more than one of it; critical alerts speak for themselves.

Acknowledging stops nothing here: it would stop an escalation, and reminders are off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from outrider_alerting import content as say
from outrider_alerting.content import (  # noqa: TC001  msgspec reads the annotations
    Content,
    EvidenceLine,
)
from outrider_alerting.durations import MINUTE_US, SECOND_US, clock_time
from outrider_alerting.episodes import Key, State  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.routing import CENTRE, Destination, destinations, silencing
from outrider_alerting.rules import (
    IN_APP,
    Priority,
    RuleSet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Fate = Literal[
    "waiting", "claimed", "sent", "suppressed", "superseded", "failed", "dead", "unknown"
]

LATE_US: Final = MINUTE_US
"""A firing older than this came late."""

LATE_WAIT_US: Final = 30 * SECOND_US
"""So long a late firing waits for its resolve, to be told in one message."""

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
    evidence: tuple[EvidenceLine, ...] = ()


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notification's row as it stands."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    fate: Fate
    attempts: int = 0
    """Attempts with an unknown outcome: each may have arrived."""
    why: str | None = None

    @property
    def announces(self) -> bool:
        """Whether it tells that the alert fires."""
        return self.notice != "resolved"


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence's row."""

    id: int
    filter: str
    starts_us: int
    ends_us: int
    comment: str = ""
    ended_us: int | None = None


class NotificationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A row to insert into the ledger."""

    alert: int
    notice: str
    """``fired``, ``unsuppressed:n`` or ``resolved``."""
    channel: str
    channel_type: str
    conversation: str
    priority: Priority
    fate: Literal["waiting", "sent", "suppressed", "superseded"]
    why: str | None = None
    content: Content
    not_before_us: int


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
    """Open alert's id to the silences that hold it back now; for the alert's flag."""


def plan(
    alerts: Iterable[Alert],
    ledger: Mapping[int, Sequence[LedgerRow]],
    silences: Sequence[Silence],
    rule_set: RuleSet,
    now_us: int,
) -> Plan:
    """Decide for each of the alerts what its ledger lacks.

    Give the alerts that moved in this step; those that are open as well whenever a silence was
    made, has ended or was ended, or a notification's last attempt has failed.
    """
    run = _Planner(ledger, silences, rule_set, now_us)
    for alert in sorted(alerts, key=lambda alert: alert.id):
        run.decide(alert)
    run.digest()
    return Plan(rows=tuple(run.rows), changes=tuple(run.changes), suppressed_by=run.suppressed_by)


class _Planner:
    def __init__(
        self,
        ledger: Mapping[int, Sequence[LedgerRow]],
        silences: Sequence[Silence],
        rule_set: RuleSet,
        now_us: int,
    ) -> None:
        self.rows: list[NotificationPlan] = []
        self.changes: list[LedgerChange] = []
        self.suppressed_by: dict[int, tuple[str, ...]] = {}
        self._ledger = ledger
        self._silences = silences
        self._rule_set = rule_set
        self._now_us = now_us
        self._backfill: dict[Destination, list[Alert]] = {}

    def decide(self, alert: Alert) -> None:
        held = silencing(self._silences, alert.labels, self._now_us)
        if alert.state != "resolved":
            self.suppressed_by[alert.id] = tuple(f"silence {silence.id}" for silence in held)
        if alert.fired_us is None:
            return
        known: dict[str, list[LedgerRow]] = {}
        for row in self._ledger.get(alert.id, ()):
            known.setdefault(row.channel, []).append(row)
        if alert.state == "resolved":
            if known:
                self._settle(alert, known)
            else:
                self._tell_both(alert, held)
        elif not known:
            self._announce(alert, held)
        elif alert.state == "firing" and not held:
            self._resume(alert, known)

    def _announce(self, alert: Alert, held: list[Silence]) -> None:
        content = say.firing(alert, self._now_us)
        for to in destinations(self._rule_set, alert.labels):
            if to == CENTRE:
                self._add(alert, "fired", to, "sent", content)
            elif held:
                self._add(alert, "fired", to, "suppressed", content, why=self._because(held))
            else:
                wait = LATE_WAIT_US if self._is_late(alert, alert.fired_us) else 0
                self._add(alert, "fired", to, "waiting", content, wait_us=wait)

    def _resume(self, alert: Alert, known: dict[str, list[LedgerRow]]) -> None:
        """Tell those who were kept from knowing."""
        for channel, rows in known.items():
            if channel == IN_APP or any(row.fate != "suppressed" for row in rows):
                continue
            to = _destination(rows[0])
            if self._rule_set.channel(channel) is None:
                continue
            n = 1 + sum(row.notice.startswith("unsuppressed:") for row in rows)
            why = rows[-1].why or "a silence"
            content = say.still_firing(alert, self._now_us, why.split(":", 1)[0])
            self._add(alert, f"unsuppressed:{n}", to, "waiting", content)

    def _settle(self, alert: Alert, known: dict[str, list[LedgerRow]]) -> None:
        """Tell the resolve to whoever has, or may have, the firing."""
        for channel, rows in known.items():
            told = [row for row in rows if row.announces]
            end = next((row for row in rows if not row.announces), None)
            if end is not None:
                if end.fate == "waiting" and told and all(_never_told(row) for row in told):
                    self._overtake(end, "its firing was never delivered")
                continue
            to = _destination(rows[0])
            waiting = [row for row in told if row.fate == "waiting" and not row.attempts]
            for row in waiting:
                self._overtake(row, "told together with its resolve")
            both = say.fired_and_resolved(alert, self._now_us)
            if channel == IN_APP:
                self._add(alert, "resolved", to, "sent", say.resolved(alert, self._now_us))
            elif self._rule_set.channel(channel) is None:
                why = f"there is no channel {channel} any more"
                self._add(alert, "resolved", to, "suppressed", both, why=why)
            elif any(_may_know(row) for row in told):
                self._add(alert, "resolved", to, "waiting", say.resolved(alert, self._now_us))
            elif waiting:
                self._add(alert, "resolved", to, "waiting", both)
            else:
                why = _why_not_told(told)
                self._add(alert, "resolved", to, "suppressed", both, why=why)

    def _tell_both(self, alert: Alert, held: list[Silence]) -> None:
        """Tell an alert that fired and resolved before anybody was told."""
        content = say.fired_and_resolved(alert, self._now_us)
        late = self._is_late(alert, alert.resolved_us)
        for to in destinations(self._rule_set, alert.labels):
            if held and to != CENTRE:
                why = self._because(held)
                self._add(alert, "fired", to, "suppressed", content, why=why)
                self._add(alert, "resolved", to, "suppressed", content, why=why)
                continue
            why = "told together with its resolve"
            self._add(alert, "fired", to, "superseded", content, why=why)
            if to == CENTRE:
                self._add(alert, "resolved", to, "sent", content)
            elif late:
                self._backfill.setdefault(to, []).append(alert)
            else:
                self._add(alert, "resolved", to, "waiting", content)

    def digest(self) -> None:
        """Tell what came late and is over: one message for each destination."""
        for to, alerts in self._backfill.items():
            first, *others = alerts
            content = (
                say.digest(alerts, self._now_us)
                if others
                else say.fired_and_resolved(first, self._now_us)
            )
            self._add(first, "resolved", to, "waiting", content)
            for alert in others:
                content = say.fired_and_resolved(alert, self._now_us)
                why = f"told in the digest of {say.name(first.id)}"
                self._add(alert, "resolved", to, "superseded", content, why=why)

    def _is_late(self, alert: Alert, at_us: int | None) -> bool:
        records = alert.kind in {"match", "count"} and alert.priority != "critical"
        return records and at_us is not None and self._now_us - at_us > LATE_US

    def _because(self, held: list[Silence]) -> str:
        first = held[0]
        comment = f" '{first.comment[:80]}'" if first.comment else ""
        until = clock_time(first.ends_us, self._now_us)
        return f"silence {first.id}{comment}: until {until}"

    def _overtake(self, row: LedgerRow, why: str) -> None:
        self.changes.append(
            LedgerChange(alert=row.alert, notice=row.notice, channel=row.channel, why=why)
        )

    def _add(
        self,
        alert: Alert,
        notice: str,
        to: Destination,
        fate: Literal["waiting", "sent", "suppressed", "superseded"],
        content: Content,
        *,
        why: str | None = None,
        wait_us: int = 0,
    ) -> None:
        self.rows.append(
            NotificationPlan(
                alert=alert.id,
                notice=notice,
                channel=to.channel,
                channel_type=to.channel_type,
                conversation=to.conversation,
                priority=alert.priority,
                fate=fate,
                why=why,
                content=content,
                not_before_us=self._now_us + wait_us,
            )
        )


def _destination(row: LedgerRow) -> Destination:
    return Destination(row.channel, row.channel_type, row.conversation)


def _failed(row: LedgerRow) -> bool:
    return row.fate in {"failed", "dead"}


def _may_know(row: LedgerRow) -> bool:
    return row.fate in _TOLD or row.attempts > 0


def _never_told(row: LedgerRow) -> bool:
    return (_failed(row) or row.fate == "suppressed") and not row.attempts


def _why_not_told(told: list[LedgerRow]) -> str:
    if any(_failed(row) for row in told):
        return "its firing was never delivered"
    last = next((row.why for row in reversed(told) if row.fate == "suppressed" and row.why), None)
    return f"its firing was not told: {last}" if last else "its firing was not told"
