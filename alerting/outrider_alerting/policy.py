"""Who is told what: from alerts as they stand and the ledger as it stands to new ledger rows.

A pure function, called in the transaction that stores the transitions, with the rows of the alerts
concerned locked. It looks at states, not at events, so calling it again changes nothing:

* An alert that fires goes to the destinations of its routes, and always to the notification centre.
  What another alert explains, or a silence holds back, is a row too, naming it.
* The first firing of a rule speaks at once. Others of no higher priority within half a minute join
  it: by an edit of its message, which makes no sound, where the channel can edit; else in one
  message at the end of that time. A higher priority speaks, also that of an alert already told.
  Where an edited message names as many as it can, the next speaks, but no sooner than ten seconds
  after it: a storm is one message that counts, and the ledger says of whom it does not name.
* When what held it back ends and the alert still fires, it is told then: ``unsuppressed:n``.
* A resolve goes to whoever was told the firing, or may have been, by the alert's own ledger: over
  any silence, whatever the routes say by now. Who was not told gets none.
* What came and went under a silence is told when the silence ends: one digest for each destination
  that its firing would have had.
* An alert that comes and goes (its flag says so) is told when it has lasted, not each time; a
  critical one at once, unless it was told of within the last ten minutes.
* A firing that is still waiting when the alert resolves is overtaken: one message tells both. Not
  one that waits for its repeat because nobody knows whether it arrived: the resolve follows it.
* What a channel could not be told, its fallback is, and the notification centre names both.
* While nobody acknowledges, others are told in the steps of the route (``escalation:n``), and the
  same ones again where the route asks for it (``reminder:n``).
* What began and ended before its records came (more than a minute late) is told as one digest, if
  there is more than one of it, at the full five minutes, so that one message tells of much.
  Critical alerts speak for themselves, unless they were over an hour ago; one that still holds
  speaks at once, however old it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_alerting import ending, telling
from outrider_alerting.draft import (
    ACKNOWLEDGED,
    EXPLAINED,
    FLAPPING,
    HISTORY_US,
    TOGETHER,
    Draft,
    destination_of,
)
from outrider_alerting.durations import MINUTE_US, SECOND_US, clock_time, said
from outrider_alerting.insisting import insist, schedule
from outrider_alerting.ledger import RANK, Spoken
from outrider_alerting.routing import CENTRE, EDITABLE, causes_of, destinations, named, silencing
from outrider_alerting.rules import IN_APP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outrider_alerting.content import Content
    from outrider_alerting.ledger import Alert, LedgerRow, Plan, Silence
    from outrider_alerting.routing import Destination
    from outrider_alerting.rules import RuleSet

LATE_WAIT_US: Final = 30 * SECOND_US
"""So long a late firing waits for its resolve, to be told in one message."""

JOIN_US: Final = 30 * SECOND_US
"""So long after a firing was told others of its rule join it."""

FULL_US: Final = 10 * SECOND_US
"""So long they join it also where its message can only count them."""

AFTER_CAUSE_WAIT_US: Final = 30 * SECOND_US
"""What an ended cause explained has so long to end as well, before it is told."""

LASTS_US: Final = {"info": 5 * MINUTE_US, "warning": 5 * MINUTE_US, "critical": MINUTE_US}
"""So long an alert that has come and gone before must last, by priority, to be told again."""

AGAIN_US: Final = 10 * MINUTE_US
"""A critical alert that comes and goes is told at once, but no oftener than this."""

OVERDUE_US: Final = 2 * MINUTE_US
"""A channel that could not be reached for so long has its fallback told."""


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
    that are open or owed as well whenever a silence or a cause begins or ends, or a notification's
    last attempt has failed. ``spoken`` are the firings of the last JOIN_US; ``causes`` open alerts
    that may explain others.
    """
    run = _Planner(ledger, silences, rule_set, now_us, spoken)
    chosen = sorted(alerts, key=lambda alert: alert.id)
    for alert in chosen:
        run.find_causes(alert, causes)
    for alert in chosen:
        run.decide(alert)
    ending.digest(run.draft)
    ending.digest_held(run.draft)
    return run.draft.finished()


class _Planner:
    def __init__(
        self,
        ledger: Mapping[int, Sequence[LedgerRow]],
        silences: Sequence[Silence],
        rule_set: RuleSet,
        now_us: int,
        spoken: Iterable[Spoken],
    ) -> None:
        self.draft = Draft(rule_set, now_us)
        self._ledger = ledger
        self._silences = silences
        self._rule_set = rule_set
        self._now_us = now_us
        self._spoken = {(s.channel, s.rule): s for s in sorted(spoken, key=lambda s: s.at_us)}
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
        names = [telling.name(cause.id) for cause in causes] + [f"silence {s.id}" for s in silences]
        if alert.state != "resolved":
            self.draft.suppressed_by[alert.id] = tuple(names)
        if alert.fired_us is None:
            return
        suppressed = self._because(causes, silences)
        held = suppressed or self._flaps(alert)
        known: dict[str, list[LedgerRow]] = {}
        for row in self._ledger.get(alert.id, ()):
            known.setdefault(row.channel, []).append(row)
        if not known:
            if alert.state == "resolved":
                ending.tell_both(self.draft, alert, held)
            else:
                self._announce(alert, held)
                schedule(self.draft, alert, self._now_us)
                self._look_when_it_has_lasted(alert)
                self._look_when_overdue(alert, self.draft.planned_at_once(alert))
            return
        self._stand_in(alert, known)
        self._go_on(alert, known, suppressed, held)
        waiting = [
            (row.channel, row.created_us) for rows in known.values() for row in rows
            if row.fate == "waiting" and (row.announces or row.content is not None)
        ]  # fmt: skip
        self._look_when_overdue(alert, [*waiting, *self.draft.planned_at_once(alert)])

    def _go_on(
        self, alert: Alert, known: Mapping[str, list[LedgerRow]], suppressed: str, held: str
    ) -> None:
        """Decide what an alert lacks of which the ledger has something."""
        if alert.state == "resolved":
            ending.settle(self.draft, alert, known)
            ending.account(self.draft, alert, known, suppressed)
            return
        if self._is_raised(alert, known):
            self._raise(alert, known, held)
        elif alert.state == "firing" and not held:
            self._resume(alert, known)
        insist(self.draft, alert, known, held)
        self._look_when_it_has_lasted(alert)

    # -------------------------------------------------------------- telling a firing

    def _announce(self, alert: Alert, held: str) -> None:
        content = telling.firing(alert, self._now_us, self._effects.get(alert.id, ()))
        if alert.flapping and not held:
            content = telling.again(content)
        for to in destinations(self._rule_set, alert.labels):
            if to == CENTRE:
                self.draft.add(alert, "fired", to, "sent", content)
            elif held:
                self.draft.add(alert, "fired", to, "suppressed", content, why=held)
            elif alert.priority != "critical" and self.draft.is_late(alert, alert.fired_us):
                is_past = self._now_us - (alert.fired_us or 0) > HISTORY_US
                wait_us = self.draft.digest_wait_us() if is_past else LATE_WAIT_US
                bundle = f"late {alert.rule}"
                self.draft.add(
                    alert, "fired", to, "waiting", content, wait_us=wait_us, bundle=bundle
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
            or self._is_full(first, to)
        ):
            self._spoken[to.channel, alert.rule] = Spoken(
                to.channel, alert.rule, alert.priority, alert.id, notice, self._now_us
            )
            self.draft.add(alert, notice, to, "waiting", content)
            return
        bundle = f"with {telling.name(first.alert)} {first.notice}"
        if to.channel_type in EDITABLE:
            self._spoken[to.channel, alert.rule] = first._replace(followers=first.followers + 1)
            joins = (first.alert, first.notice)
            self.draft.add(alert, notice, to, "waiting", content, bundle=bundle, joins=joins)
        else:
            wait_us = first.at_us + JOIN_US - self._now_us
            self.draft.add(alert, notice, to, "waiting", content, bundle=bundle, wait_us=wait_us)

    def _is_full(self, first: Spoken, to: Destination) -> bool:
        """Whether an edit would not name another, which nobody would hear of then."""
        return (
            to.channel_type in EDITABLE
            and first.followers >= telling.MAX_DIGEST
            and self._now_us - first.at_us >= FULL_US
        )

    def _is_raised(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> bool:
        told = [RANK[row.priority] for row in known.get(IN_APP, ()) if row.announces]
        return bool(told) and RANK[alert.priority] > max(told)

    def _raise(self, alert: Alert, known: Mapping[str, list[LedgerRow]], held: str) -> None:
        """Tell the higher priority to where the alert goes by now; it always speaks."""
        n = 1 + sum(row.notice.startswith("raised:") for row in known.get(IN_APP, ()))
        notice, content = f"raised:{n}", telling.raised(alert, self._now_us)
        for to in destinations(self._rule_set, alert.labels):
            for row in known.get(to.channel, ()):
                if row.announces and row.fate == "waiting" and not row.attempts:
                    self.draft.overtake(row, f"told as {notice}")
            if to == CENTRE:
                self.draft.add(alert, notice, to, "sent", content)
            elif held:
                self.draft.add(alert, notice, to, "suppressed", content, why=held)
            else:
                self.draft.add(alert, notice, to, "waiting", content)

    def _resume(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
        """Tell those who were kept from knowing."""
        for channel, rows in known.items():
            if channel == IN_APP or any(row.fate != "suppressed" for row in rows):
                continue
            to = destination_of(rows[0])
            if self._rule_set.channel(channel) is None:
                continue
            n = 1 + sum(row.notice.startswith("unsuppressed:") for row in rows)
            why = rows[-1].why or "a silence"
            if why.startswith(ACKNOWLEDGED):
                continue
            notice = f"unsuppressed:{n}"
            if why.startswith(EXPLAINED):
                name = why.removeprefix(EXPLAINED).split(":", 1)[0]
                content = telling.still_firing(alert, self._now_us, name)
                wait_us = AFTER_CAUSE_WAIT_US
                bundle = f"after {name}"
                self.draft.add(
                    alert, notice, to, "waiting", content, wait_us=wait_us, bundle=bundle
                )
            else:
                content = telling.still_firing(alert, self._now_us, why.split(":", 1)[0])
                self._speak(alert, notice, to, content)

    def _stand_in(self, alert: Alert, known: Mapping[str, list[LedgerRow]]) -> None:
        """Tell the fallback what a channel could not be told, or was not told in time."""
        for channel, rows in known.items():
            config = self._rule_set.channel(channel)
            if config is None or config.fallback is None:
                continue
            undelivered = [row for row in rows if self._is_undelivered(row)]
            for to in named(self._rule_set, (config.fallback,)):
                there = {row.notice for row in known.get(to.channel, ())}
                there |= self.draft.planned(alert, to.channel)
                for row in undelivered:
                    if row.notice not in there:
                        self._stand_in_for(alert, row, to, is_first=not there)

    def _stand_in_for(
        self, alert: Alert, row: LedgerRow, to: Destination, *, is_first: bool
    ) -> None:
        if alert.state != "resolved" and alert.acknowledged_by is not None:
            why = f"{ACKNOWLEDGED}{alert.acknowledged_by} before {row.channel} could be told"
            content = telling.instead(telling.firing(alert, self._now_us), row.channel)
            self.draft.add(alert, row.notice, to, "suppressed", content, why=why)
        elif alert.state != "resolved":
            content = telling.instead(telling.firing(alert, self._now_us), row.channel)
            # What was one message there is one here.
            bundle = f"instead of {row.channel}: {alert.rule}"
            self.draft.add(alert, row.notice, to, "waiting", content, bundle=bundle)
        elif is_first:
            # Where that was a digest, it names others too: they are told by no other row.
            content = row.content or telling.fired_and_resolved(alert, self._now_us)
            content = telling.instead(content, row.channel)
            begin = row.notice if row.announces else "fired"
            self.draft.add(alert, begin, to, "superseded", content, why=TOGETHER)
            self.draft.add(alert, "resolved", to, "waiting", content)

    def _is_undelivered(self, row: LedgerRow) -> bool:
        if not row.announces and row.content is None:
            return False
        if row.fate == "waiting":
            return row.tries > 0 and self._now_us - row.created_us >= OVERDUE_US
        return row.fate in {"failed", "dead", "unknown"}

    def _flaps(self, alert: Alert) -> str:
        """Say that an alert comes and goes and has not lasted; empty: it does not, or has."""
        if not alert.flapping or alert.fired_us is None:
            return ""
        end_us = self._now_us if alert.resolved_us is None else alert.resolved_us
        lasts_us = LASTS_US[alert.priority]
        if alert.priority == "critical" and (
            alert.told_us is None or alert.fired_us - alert.told_us >= AGAIN_US
        ):
            return ""
        if end_us - alert.fired_us >= lasts_us:
            return ""
        return f"{FLAPPING}: it comes and goes, and is told when it lasts {said(lasts_us)}"

    def _look_when_it_has_lasted(self, alert: Alert) -> None:
        if self._flaps(alert) and alert.fired_us is not None:
            self.draft.look(alert, alert.fired_us + LASTS_US[alert.priority])

    def _look_when_overdue(self, alert: Alert, waiting: Iterable[tuple[str, int]]) -> None:
        """See to a fallback in time: a channel out of reach may be tried again much later."""
        for channel, since_us in waiting:
            config = self._rule_set.channel(channel)
            if config is not None and config.fallback and since_us + OVERDUE_US > self._now_us:
                self.draft.look(alert, since_us + OVERDUE_US)

    def _because(self, causes: Sequence[Alert], silences: Sequence[Silence]) -> str:
        """Say what holds an alert back; empty: nothing does."""
        if causes:
            return f"{EXPLAINED}{telling.name(causes[0].id)}: {causes[0].summary[:120]}"
        if not silences:
            return ""
        first = silences[0]
        comment = f" '{first.comment[:80]}'" if first.comment else ""
        what = "quiet hours of silence" if first.quiet_hours else "silence"
        if first.schedule is not None:
            return f"{what} {first.id}{comment}: {first.schedule} {first.timezone}"
        until = clock_time(first.ends_us, self._now_us)
        return f"{what} {first.id}{comment}: until {until}"
