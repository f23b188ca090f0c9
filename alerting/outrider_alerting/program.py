"""A rule set made ready for evaluation: look-ups by hits key and name, the terms of each rule."""

from __future__ import annotations

from typing import Final, NamedTuple

from outrider_alerting.durations import SECOND_US, Duration
from outrider_alerting.needs import needs_of
from outrider_alerting.rules import (
    DEFAULT_QUIET,
    LIVENESS_BY,
    CountRule,
    LivenessRule,
    MatchRule,
    Rule,
    RuleSet,
    hits_key,
)
from outrider_alerting.watermarks import Scope

MAX_BUCKETS_A_WINDOW: Final = 600
"""Windows over 10 minutes count in coarser steps than a second, so that a key's state is small."""


class Threshold(NamedTuple):
    """What ``match`` and ``count`` come down to."""

    window_s: int
    """A multiple of ``step_s``, never more than the rule's window: nothing is over-counted."""
    step_s: int
    above: int
    resolve: int
    for_us: int
    keep_us: int
    lateness_us: int


class Program:
    """A rule set of one version, ready for evaluation."""

    def __init__(self, rule_set: RuleSet, version: int) -> None:
        self.rule_set = rule_set
        self.version = version
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rule_set.rules}
        self.by_hits: dict[bytes, list[MatchRule | CountRule]] = {}
        self.liveness: list[LivenessRule] = []
        self.thresholds: dict[str, Threshold] = {}
        self._subjects: dict[str, str] = {}
        self._services: dict[str, frozenset[str] | None] = {}
        for rule in rule_set.rules:
            key = hits_key(rule)
            if isinstance(rule, LivenessRule) or key is None:
                self.liveness.extend([rule] if isinstance(rule, LivenessRule) else [])
                continue
            self.by_hits.setdefault(key, []).append(rule)
            self._subjects[rule.name] = key.hex()[:16]
            self.thresholds[rule.name] = threshold(rule)
            self._services[rule.name] = needs_of(rule.filter.node).services

    def subject(self, rule: Rule) -> str:
        """Return what the keys of a rule are about: another subject, another window."""
        return rule.of if isinstance(rule, LivenessRule) else self._subjects[rule.name]

    def scopes(self, rule: MatchRule | CountRule, key: tuple[str, ...]) -> list[Scope]:
        """Return whose watermarks an end of (rule, key) needs."""
        known = dict(zip(rule.by, key, strict=False))
        worker, host = known.get("worker"), known.get("host")
        if "service" in known:
            return [Scope(known["service"], worker, host)]
        services = self._services[rule.name]
        if services is None:
            return [Scope(None, worker, host)]
        return [Scope(service, worker, host) for service in sorted(services)]


def key_names(rule: Rule) -> tuple[str, ...]:
    """Return the names of a rule's key values, as labels call them."""
    if isinstance(rule, LivenessRule):
        return LIVENESS_BY[rule.of]
    return tuple(name.removeprefix("attributes.") for name in rule.by)


def threshold(rule: MatchRule | CountRule) -> Threshold:
    """Say what a rule counts, in the terms of the sliding window.

    ``match`` is more than none in the quiet time: it stays one alert while records keep coming, and
    ends when the quiet time has passed without one.
    """
    if isinstance(rule, CountRule):
        window_us, above = rule.window.us, rule.above
        resolve = rule.above if rule.resolve is None else rule.resolve
        keep_us = rule.keep_firing_for.us if rule.keep_firing_for else 0
    else:
        window_us = (rule.keep_firing_for or Duration(DEFAULT_QUIET)).us
        above = resolve = keep_us = 0
    window_s = max(1, window_us // SECOND_US)
    step_s = -(-window_s // MAX_BUCKETS_A_WINDOW)
    return Threshold(
        window_s=window_s // step_s * step_s,
        step_s=step_s,
        above=above,
        resolve=resolve,
        for_us=rule.for_.us,
        keep_us=keep_us,
        lateness_us=rule.lateness.us,
    )
