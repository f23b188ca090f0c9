"""A rule set made ready for evaluation: look-ups by hits key and name, the terms of each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outrider_alerting.kinds import (
    GAP_BY,
    HEALTH_BY,
    LIVENESS_BY,
    ComponentRule,
    CompositeRule,
    GapRule,
    Rule,
    ScheduleRule,
    top_priority,
)
from outrider_alerting.needs import needs_of
from outrider_alerting.terms import Judgement, Threshold, is_threshold, judgement, threshold
from outrider_alerting.watches import Role, watches
from outrider_alerting.watermarks import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider_alerting.frozen import Frozen
    from outrider_alerting.rules import RuleSet


class Wanted(NamedTuple):
    """A rule that wants some hits, and what they are for it."""

    rule: Rule
    role: Role


class Program:
    """A rule set of one version, ready for evaluation."""

    def __init__(
        self, rule_set: RuleSet, version: int, frozen: Mapping[str, Frozen] | None = None
    ) -> None:
        self.rule_set = rule_set
        self.version = version
        self.frozen: Mapping[str, Frozen] = frozen or {}
        """By rule: neither counted nor evaluated."""
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rule_set.rules}
        self.by_hits: dict[bytes, list[Wanted]] = {}
        self.components: list[ComponentRule] = []
        self.gaps: list[GapRule] = []
        self.composites: list[CompositeRule] = []
        self.standing: list[Rule] = []
        """Rules without keys that watch for what does not come."""
        self.thresholds: dict[str, Threshold] = {}
        self.judgements: dict[str, Judgement] = {}
        self._subjects: dict[str, str] = {}
        self._services: dict[str, frozenset[str] | None] = {}
        for rule in rule_set.rules:
            self._add(rule)
        self.urgent_rules, self.urgent_keys = self._urgent()
        """Rules that can be critical, and what their hits are filed under: nobody else has these
        hits, so they can be evaluated ahead of others."""

    def _urgent(self) -> tuple[frozenset[str], frozenset[bytes]]:
        names = {rule.name for rule in self.rules.values() if top_priority(rule) == "critical"}
        keys: set[bytes] = set()
        while True:
            # A rule that shares hits with an urgent one goes with it.
            of_these = {w.rule.name for key in keys for w in self.by_hits[key]} | names
            more = {
                key for key, ws in self.by_hits.items() if any(w.rule.name in of_these for w in ws)
            }
            if more == keys:
                return frozenset(of_these), frozenset(keys)
            keys = more

    def _add(self, rule: Rule) -> None:
        counts = rule.name not in self.frozen
        for watch in watches(rule) if counts else ():
            self.by_hits.setdefault(watch.key, []).append(Wanted(rule, watch.role))
        if isinstance(rule, ComponentRule):
            if counts:
                self.components.append(rule)
            known = rule.of in LIVENESS_BY
            self._subjects[rule.name] = rule.of if known else f"component:{rule.of}"
            return
        if isinstance(rule, CompositeRule):
            self.composites.append(rule)
            self._subjects[rule.name] = "composite:"
            return
        if isinstance(rule, GapRule):
            if counts:
                self.gaps.append(rule)
            self.thresholds[rule.name] = threshold(rule)
            self._subjects[rule.name] = f"gap:{rule.filter.key if rule.filter else ''}"
            return
        asked = watches(rule)
        subject = asked[0].key.hex()[:16]
        self._services[rule.name] = needs_of(asked[-1].filter.node).services
        if isinstance(rule, ScheduleRule):
            subject = f"schedule:{subject}:{rule.cron}:{rule.timezone}"
        elif is_threshold(rule):
            self.thresholds[rule.name] = threshold(rule)  # type: ignore[arg-type]  # by its kind
        else:
            self.judgements[rule.name] = spec = judgement(rule)  # type: ignore[arg-type]  # by its kind
            # Other lengths are other questions: what was counted so far cannot answer them.
            subject = f"judged:{subject}:{spec.reach_s}:{asked[-1].key.hex()[:8]}"
        self._subjects[rule.name] = subject
        if rule.name not in self.thresholds and not key_names(rule) and counts:
            self.standing.append(rule)

    @property
    def subjects(self) -> frozenset[str]:
        """What the rules that count are about, altogether."""
        return frozenset(s for name, s in self._subjects.items() if name not in self.frozen)

    def subject(self, rule: Rule) -> str:
        """Return what the keys of a rule are about: another subject, another window."""
        return self._subjects[rule.name]

    def scopes(self, rule: Rule, key: tuple[str, ...]) -> list[Scope]:
        """Return whose watermarks an end of (rule, key) needs."""
        known = dict(zip(key_names(rule), key, strict=False))
        worker, host = known.get("worker"), known.get("host")
        if "service" in known:
            return [Scope(known["service"], worker, host)]
        services = self._services[rule.name]
        if services is None:
            return [Scope(None, worker, host)]
        return [Scope(service, worker, host) for service in sorted(services)]


def sort_of(subject: str) -> str:
    """Return which part of the engine evaluates keys about this: other sorts share no state."""
    if subject in LIVENESS_BY:
        return "component"
    return subject.partition(":")[0] if ":" in subject else "records"


def key_names(rule: Rule) -> tuple[str, ...]:
    """Return the names of a rule's key values, as labels call them."""
    if isinstance(rule, ComponentRule):
        return LIVENESS_BY.get(rule.of, HEALTH_BY)
    if isinstance(rule, GapRule):
        return GAP_BY
    if isinstance(rule, CompositeRule | ScheduleRule):
        return ()
    return tuple(name.removeprefix("attributes.") for name in rule.by)
