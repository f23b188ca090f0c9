"""The words of transitions: labels, summaries and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_alerting.durations import compact
from outrider_alerting.program import key_names
from outrider_alerting.rules import CountRule, LivenessRule, MatchRule, Rule
from outrider_alerting.summaries import render

if TYPE_CHECKING:
    from outrider_alerting.episodes import Finding, Key
    from outrider_alerting.program import Threshold

RESERVED_LABELS: Final = ("rule", "kind", "priority")

SUMMARY_NAMES: Final = {
    "match": ("rule", "priority", "count", "window"),
    "count": ("rule", "priority", "count", "window", "threshold"),
    "liveness": ("rule", "priority", "state", "reason"),
}
"""What a summary may name, by kind, beside the rule's key and its labels."""


def labels(rule: Rule, key: Key) -> dict[str, str]:
    """Return an alert's labels: what routes and silences filter on."""
    found = dict(rule.labels)
    found |= {name: value for name, value in zip(key_names(rule), key, strict=False) if value}
    return found | {"rule": rule.name, "kind": rule.kind, "priority": rule.priority}


def count_summary(rule: MatchRule | CountRule, key: Key, spec: Threshold, value: int) -> str:
    """Return the summary of a match or count alert."""
    values = labels(rule, key) | {
        "count": f"{value:,}",
        "window": compact(spec.window_s * 1_000_000),
        "threshold": f"{spec.above:,}",
    }
    if rule.summary is not None:
        return render(rule.summary, values)
    whose = subject(rule, key)
    if isinstance(rule, MatchRule):
        return f"{rule.name}: a record matches{whose}"
    return (
        f"{rule.name}: {records(value)} in {values['window']}{whose}, above {values['threshold']}"
    )


def liveness_summary(rule: LivenessRule, key: Key, state: str, reason: str) -> str:
    """Return the summary of a liveness alert: ``w1 is dead: killed by SIGKILL``."""
    if rule.summary is not None:
        return render(rule.summary, labels(rule, key) | {"state": state, "reason": reason})
    # ("service", "worker", "host") or ("host", "agent"): the name people use.
    name = key[1] if rule.of == "worker" else f"the agent on {key[0]}"
    return f"{name} is {state}: {reason}" if reason else f"{name} is {state}"


def subject(rule: Rule, key: Key) -> str:
    """Return `` of service payments, worker w1`` for a key, nothing without one."""
    named = [f"{name} {value}" for name, value in zip(key_names(rule), key, strict=False) if value]
    return f" of {', '.join(named)}" if named else ""


def count_reason(finding: Finding, spec: Threshold, value: int) -> str:
    """Say what was found about the count."""
    counted = f"{records(value)} in {compact(spec.window_s * 1_000_000)}"
    if finding in {"holds", "lasted"}:
        return f"{counted}, above {spec.above:,}"
    if finding == "ceased":
        return f"{counted}, no longer above {spec.resolve:,}"
    if spec.keep_us:
        return f"no more than {spec.resolve:,} for {compact(spec.keep_us)}"
    return f"{counted}, no more than {spec.resolve:,}"


def records(n: int) -> str:
    """Return ``no records``, ``1 record`` or ``12 records``."""
    if n == 1:
        return "1 record"
    return f"{n:,} records" if n else "no records"
