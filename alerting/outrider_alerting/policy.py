"""Who is told what: from alerts as they stand and the ledger as it stands to new ledger rows.

A pure function, called in the transaction that stores the transitions, with the rows of the alerts
concerned locked. It looks at states, not at events, so calling it again changes nothing:

* An alert that fires goes to the destinations of its routes, and always to the notification centre.
  What another alert explains, or a silence holds back, is a row too, naming it.
* The first firing of a rule speaks at once. Others of no higher priority within half a minute join
  it: by an edit of its message, which makes no sound, where the channel can edit; else in one
  message at the end of that time. A higher priority speaks, also that of an alert already told.
* When what held it back ends and the alert still fires, it is told then: ``unsuppressed:n``.
* A resolve goes to whoever was told the firing, or may have been, by the alert's own ledger: over
  any silence, whatever the routes say by now. Who was not told gets none.
* A firing that is still waiting when the alert resolves is overtaken: one message tells both. Not
  one that waits for its repeat because nobody knows whether it arrived: the resolve follows it.
* What a channel could not be told, its fallback is, and the notification centre names both.
* While nobody acknowledges, others are told in the steps of the route (``escalation:n``), and the
  same ones again where the route asks for it (``reminder:n``).
* What began and ended before its records came (more than a minute late) is told as one digest, if
  there is more than one of it; critical alerts speak for themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from outrider_alerting import content as say
from outrider_alerting.durations import MINUTE_US, SECOND_US, clock_time
from outrider_alerting.ledger import (
    RANK,
    Alert,
    Fate,
    LedgerChange,
    LedgerRow,
    NotificationPlan,
    Plan,
    Silence,
    Spoken,
)
from outrider_alerting.routing import (
    CENTRE,
    EDITABLE,
    Destination,
    causes_of,
    destinations,
    escalations,
    named,
    remind_us,
    silencing,
)
from outrider_alerting.rules import IN_APP, RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outrider_alerting.content import Content

__all__ = [
    "Alert", "Fate", "LedgerChange", "LedgerRow", "NotificationPlan", "Plan", "Silence", "Spoken",
    "plan",
]  # fmt: skip

LATE_US: Final = MINUTE_US
"""A firing older than this came late."""

LATE_WAIT_US: Final = 30 * SECOND_US
"""So long a late firing waits for its resolve, to be told in one message."""

JOIN_US: Final = 30 * SECOND_US
"""So long after a firing was told others of its rule join it."""

AFTER_CAUSE_WAIT_US: Final = 30 * SECOND_US
"""What an ended cause explained has so long to end as well, before it is told."""

OVERDUE_US: Final = 2 * MINUTE_US
"""A channel that could not be reached for so long has its fallback told."""

_EXPLAINED = "explained by "
_TOGETHER = "told together with its resolve"


def plan(
    alerts: Iterable[Alert],
    ledger: Mapping[int, Sequence[LedgerRow]],
    silences: Sequence[Silence],
    rule_set: RuleSet,
    now_us: int,
    *,
    spoken: Iterable[Spoken] = (),
    causes: Sequence[Alert] = (),
) -> Plan:
    """Decide for each of the alerts what its ledger lacks.

    Give the alerts that moved in this step and those whose time in ``Plan.next_us`` has come; those
    that are open as well whenever a silence or a cause begins or ends, or a notification's last
    attempt has failed. ``spoken`` are the firings of the last JOIN_US; ``causes`` open alerts that
    may explain others.
    """
    run = _Planner(ledger, silences, rule_set, now_us, spoken)
    chosen = sorted(alerts, key=lambda alert: alert.id)
    for alert in chosen:
        run.find_causes(alert, causes)
    for alert in chosen:
        run.decide(alert)
    run.digest()
    return Plan(
        rows=tuple(run.rows),
        changes=tuple(run.changes),
        suppressed_by=run.suppressed_by,
        next_us=run.next_us,
    )


class _Planner:
    def __init__(
        self,
        ledger: Mapping[int, Sequence[LedgerRow]],
        silences: Sequence[Silence],
        rule_set: RuleSet,
        now_us: int,
        spoken: Iterable[Spoken],
    ) -> None:
        self.rows: list[NotificationPlan] = []
        self.changes: list[LedgerChange] = []
        self.suppressed_by: dict[int, tuple[str, ...]] = {}
        self.next_us: dict[int, int] = {}
        self._ledger = ledger
        self._silences = silences
        self._rule_set = rule_set
        self._now_us = now_us
        self._spoken = {(s.channel, s.rule): s for s in sorted(spoken, key=lambda s: s.at_us)}
        self._backfill: dict[Destination, list[Alert]] = {}
        self._causes: dict[int, list[Alert]] = {}
        self._effects: dict[int, list[Alert]] = {}

    def find_causes(self, alert: Alert, causes: Sequence[Alert]) -> None:
        """Note what explains an alert; a cause that is told now lists what it explains."""
        self._causes[alert.id] = found = causes_of(alert, causes)
        if alert.fired_us is not None and alert.state != "resolved":
            for cause in found:
                self._effects.setdefault(cause.id, []).append(alert)

    def decide(self, alert: Alert) -> None:
        causes = self._causes[alert.id]
        silences = silencing(self._silences, alert.labels, self._now_us)
        names = [say.name(cause.id) for cause in causes] + [f"silence {s.id}" for s in silences]
        if alert.state != "resolved":
            self.suppressed_by[alert.id] = tuple(names)
        if alert.fired_us is None:
            return
        held = self._because(causes, silences)
        known: dict[str, list[LedgerRow]] = {}
        for row in self._ledger.get(alert.id, ()):
            known.setdefault(row.channel, []).append(row)
        if not known:
            if alert.state == "resolved":
                self._tell_both(alert, held)
            else:
                self._announce(alert, held)
                self._schedule(alert, self._now_us)
            return
        self._stand_in(alert, known)
        if alert.state == "resolved":
            self._settle(alert, known)
            return
        if self._is_raised(alert, known):
            self._raise(alert, known, held)
        elif alert.state == "firing" and not held:
            self._resume(alert, known)
        self._insist(alert, known, held)

    # -------------------------------------------------------------- telling a firing

    def _announce(self, alert: Alert, held: str) -> None:
        content = say.firing(alert, self._now_us, self._effects.get(alert.id, ()))
        for to in destinations(self._rule_set, alert.labels):
            if to == CENTRE:
                self._add(alert, "fired", to, "sent", content)
            elif held:
                self._add(alert, "fired", to, "suppressed", content, why=held)
            elif self._is_late(alert, alert.fired_us):
                bundle = f"late {alert.rule}"
                self._add(
                    alert, "fired", to, "waiting", content, wait_us=LATE_WAIT_US, bundle=bundle
                )
            else:
                self._speak(alert, "fired", to, content)

    def _speak(self, alert: Alert, notice: str, to: Destination, content: Content) -> None:
        """Tell at once, or join one of the same rule that was told a moment ago."""
        first = self._spoken.get((to.channel, alert.rule))
        if (
            first is None
            or self._now_us - first.at_us >= JOIN_US
            or RANK[alert.priority] > RANK[first.priority]
        ):
            self._spoken[to.channel, alert.rule] = Spoken(
                to.channel, alert.rule, alert.priority, alert.id, notice, self._now_us
            )
            self._add(alert, notice, to, "waiting", content)
            return
        bundle = f"with {say.name(first.alert)} {first.notice}"
        if to.channel_type in EDITABLE:
            joins = (first.alert, first.notice)
            self._add(alert, notice, to, "waiting", content, bundle=bundle, joins=joins)
        else:
            wait_us = first.at_us + JOIN_US - self._now_us
            self._add(alert, notice, to, "waiting", content, bundle=bundle, wait_us=wait_us)

    def _is_raised(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> bool:
        told = [RANK[row.priority] for row in known.get(IN_APP, ()) if row.announces]
        return bool(told) and RANK[alert.priority] > max(told)

    def _raise(self, alert: Alert, known: Mapping[str, list[LedgerRow]], held: str) -> None:
        """Tell the higher priority to where the alert goes by now; it always speaks."""
        n = 1 + sum(row.notice.startswith("raised:") for row in known.get(IN_APP, ()))
        notice, content = f"raised:{n}", say.raised(alert, self._now_us)
        for to in destinations(self._rule_set, alert.labels):
            for row in known.get(to.channel, ()):
                if row.announces and row.fate == "waiting" and not row.attempts:
                    self._overtake(row, f"told as {notice}")
            if to == CENTRE:
                self._add(alert, notice, to, "sent", content)
            elif held:
                self._add(alert, notice, to, "suppressed", content, why=held)
            else:
                self._add(alert, notice, to, "waiting", content)

    def _resume(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
        """Tell those who were kept from knowing."""
        for channel, rows in known.items():
            if channel == IN_APP or any(row.fate != "suppressed" for row in rows):
                continue
            to = _destination(rows[0])
            if self._rule_set.channel(channel) is None:
                continue
            n = 1 + sum(row.notice.startswith("unsuppressed:") for row in rows)
            why = rows[-1].why or "a silence"
            notice = f"unsuppressed:{n}"
            if why.startswith(_EXPLAINED):
                name = why.removeprefix(_EXPLAINED).split(":", 1)[0]
                content = say.still_firing(alert, self._now_us, name)
                wait_us = AFTER_CAUSE_WAIT_US
                bundle = f"after {name}"
                self._add(alert, notice, to, "waiting", content, wait_us=wait_us, bundle=bundle)
            else:
                content = say.still_firing(alert, self._now_us, why.split(":", 1)[0])
                self._speak(alert, notice, to, content)

    def _stand_in(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
        """Tell the fallback what a channel could not be told, or was not told in time."""
        for channel, rows in known.items():
            config = self._rule_set.channel(channel)
            if config is None or config.fallback is None:
                continue
            undelivered = [row for row in rows if row.announces and self._is_undelivered(row)]
            for to in named(self._rule_set, (config.fallback,)):
                there = {row.notice for row in known.get(to.channel, ())}
                there |= self._planned(alert, to.channel)
                for row in undelivered:
                    if row.notice not in there:
                        self._stand_in_for(alert, row, to, is_first=not there)

    def _stand_in_for(
        self, alert: Alert, row: LedgerRow, to: Destination, *, is_first: bool
    ) -> None:
        if alert.state != "resolved":
            content = say.instead(say.firing(alert, self._now_us), row.channel)
            self._add(alert, row.notice, to, "waiting", content)
        elif is_first:
            content = say.instead(say.fired_and_resolved(alert, self._now_us), row.channel)
            self._add(alert, row.notice, to, "superseded", content, why=_TOGETHER)
            self._add(alert, "resolved", to, "waiting", content)

    def _is_undelivered(self, row: LedgerRow) -> bool:
        if row.fate == "waiting":
            return row.tries > 0 and self._now_us - row.created_us > OVERDUE_US
        return row.fate in {"failed", "dead", "unknown"}

    def _planned(self, alert: Alert, channel: str) -> set[str]:
        return {row.notice for row in self.rows if row.alert == alert.id and row.channel == channel}

    # -------------------------------------------------------------- telling it again

    def _insist(self, alert: Alert, known: Mapping[str, list[LedgerRow]], held: str) -> None:
        """Escalate and remind while nobody acknowledges."""
        told = [row.created_us for rows in known.values() for row in rows if row.announces]
        since_us = min(told)
        self._schedule(alert, since_us)
        if alert.acknowledged_by is not None or alert.state != "firing" or held:
            return
        for n, step in enumerate(escalations(self._rule_set, alert.labels), 1):
            if since_us + step.after.us <= self._now_us:
                content = say.escalated(alert, self._now_us)
                self._once(alert, f"escalation:{n}", step.channels, known, content)
        every_us = remind_us(self._rule_set, alert.labels)
        if every_us is not None and (n := (self._now_us - since_us) // every_us):
            content = say.escalated(alert, self._now_us)
            knows = [channel for channel, rows in known.items() if channel != IN_APP
                     and any(row.announces and row.may_be_known for row in rows)]  # fmt: skip
            self._once(alert, f"reminder:{n}", knows, known, content)

    def _once(
        self,
        alert: Alert,
        notice: str,
        channels: Iterable[str],
        known: Mapping[str, list[LedgerRow]],
        content: Content,
    ) -> None:
        for to in named(self._rule_set, channels):
            if all(row.notice != notice for row in known.get(to.channel, ())):
                self._add(alert, notice, to, "waiting", content)

    def _schedule(self, alert: Alert, since_us: int) -> None:
        """Note when this alert is to be looked at again."""
        if alert.acknowledged_by is not None:
            return
        due = [since_us + step.after.us for step in escalations(self._rule_set, alert.labels)]
        every_us = remind_us(self._rule_set, alert.labels)
        if every_us is not None:
            passed = (self._now_us - since_us) // every_us
            due.append(since_us + (passed + 1) * every_us)
        coming = [at_us for at_us in due if at_us > self._now_us]
        if coming:
            self.next_us[alert.id] = min(coming)

    # -------------------------------------------------------------- telling the end

    def _settle(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
        """Tell the resolve to whoever has, or may have, the firing."""
        for channel, rows in known.items():
            told = [row for row in rows if row.announces]
            end = next((row for row in rows if not row.announces), None)
            if end is not None:
                if end.fate == "waiting" and told and all(row.never_told for row in told):
                    self._overtake(end, "its firing was never delivered")
                continue
            self._end(alert, channel, _destination(rows[0]), told)

    def _end(self, alert: Alert, channel: str, to: Destination, told: list[LedgerRow]) -> None:
        waiting = [row for row in told if row.fate == "waiting" and not row.attempts]
        explained = _was_explained(told)
        for row in waiting:
            self._overtake(row, "over before it was told" if explained else _TOGETHER)
        both = say.fired_and_resolved(alert, self._now_us)
        if channel == IN_APP:
            self._add(alert, "resolved", to, "sent", say.resolved(alert, self._now_us))
        elif self._rule_set.channel(channel) is None:
            why = f"there is no channel {channel} any more"
            self._add(alert, "resolved", to, "suppressed", both, why=why)
        elif any(row.may_be_known for row in told):
            self._add(alert, "resolved", to, "waiting", say.resolved(alert, self._now_us))
        elif waiting and not explained:
            self._add(alert, "resolved", to, "waiting", both)
        else:
            self._add(alert, "resolved", to, "suppressed", both, why=_why_not_told(told))

    def _tell_both(self, alert: Alert, held: str) -> None:
        """Tell an alert that fired and resolved before anybody was told."""
        content = say.fired_and_resolved(alert, self._now_us)
        late = self._is_late(alert, alert.resolved_us)
        for to in destinations(self._rule_set, alert.labels):
            if held and to != CENTRE:
                self._add(alert, "fired", to, "suppressed", content, why=held)
                self._add(alert, "resolved", to, "suppressed", content, why=held)
                continue
            self._add(alert, "fired", to, "superseded", content, why=_TOGETHER)
            if to == CENTRE:
                self._add(alert, "resolved", to, "sent", content)
            elif late:
                self._backfill.setdefault(to, []).append(alert)
            else:
                self._add(alert, "resolved", to, "waiting", content, bundle=f"over {alert.rule}")

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

    # -------------------------------------------------------------- rows

    def _is_late(self, alert: Alert, at_us: int | None) -> bool:
        records = alert.kind in {"match", "count"} and alert.priority != "critical"
        return records and at_us is not None and self._now_us - at_us > LATE_US

    def _because(self, causes: Sequence[Alert], silences: Sequence[Silence]) -> str:
        """Say what holds an alert back; empty: nothing does."""
        if causes:
            return f"{_EXPLAINED}{say.name(causes[0].id)}: {causes[0].summary[:120]}"
        if not silences:
            return ""
        first = silences[0]
        comment = f" '{first.comment[:80]}'" if first.comment else ""
        what = "quiet hours of silence" if first.quiet_hours else "silence"
        if first.schedule is not None:
            return f"{what} {first.id}{comment}: {first.schedule} {first.timezone}"
        until = clock_time(first.ends_us, self._now_us)
        return f"{what} {first.id}{comment}: until {until}"

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
        bundle: str | None = None,
        joins: tuple[int, str] | None = None,
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
                bundle=bundle,
                joins=joins,
            )
        )


def _destination(row: LedgerRow) -> Destination:
    return Destination(row.channel, row.channel_type, row.conversation)


def _was_explained(told: Sequence[LedgerRow]) -> bool:
    """Whether all that waits was held back by a cause until a moment ago."""
    held = [row.why or "" for row in told if row.fate == "suppressed"]
    waiting = [row for row in told if row.fate == "waiting"]
    return (
        bool(held)
        and held[-1].startswith(_EXPLAINED)
        and all(row.notice.startswith("unsuppressed:") for row in waiting)
    )


def _why_not_told(told: list[LedgerRow]) -> str:
    if any(row.failed for row in told):
        return "its firing was never delivered"
    last = next((row.why for row in reversed(told) if row.fate == "suppressed" and row.why), None)
    return f"its firing was not told: {last}" if last else "its firing was not told"
