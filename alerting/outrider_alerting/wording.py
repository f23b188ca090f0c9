"""The words of transitions: labels, summaries and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_alerting.durations import clock_time, compact
from outrider_alerting.kinds import (
    EXCHANGE,
    ComponentRule,
    CompositeRule,
    DistinctRule,
    GaugeRule,
    HealthRule,
    LivenessRule,
    MatchRule,
    NewErrorRule,
    Priority,
    Rule,
    ScheduleRule,
)
from outrider_alerting.program import key_names
from outrider_alerting.summaries import render
from outrider_alerting.terms import Judgement, Threshold

if TYPE_CHECKING:
    from outrider_alerting.episodes import Key
    from outrider_alerting.losses import Loss
    from outrider_alerting.thresholds import Move
    from outrider_alerting.watermarks import Answer

RESERVED_LABELS: Final = ("rule", "kind", "priority")

_WINDOW = ("rule", "priority", "count", "value", "window", "threshold")
SUMMARY_NAMES: Final = {
    "match": ("rule", "priority", "count", "window"),
    "count": _WINDOW,
    "absence": _WINDOW,
    "ratio": _WINDOW,
    "spike": _WINDOW,
    "distinct": _WINDOW,
    "gauge": _WINDOW,
    "new_error": ("rule", "priority", "count", "window"),
    "gap": ("rule", "priority", "count", "reason"),
    "liveness": ("rule", "priority", "state", "reason"),
    "health": ("rule", "priority", "state", "reason"),
    "schedule": ("rule", "priority", "state", "reason"),
    "composite": ("rule", "priority", "reason"),
}
"""What a summary may name, by kind, beside the rule's key and its labels."""


def labels(rule: Rule, key: Key, priority: Priority | None = None) -> dict[str, str]:
    """Return an alert's labels: what routes and silences filter on."""
    found = dict(rule.labels)
    found |= {name: value for name, value in zip(key_names(rule), key, strict=False) if value}
    if _is_about_exchange(rule):
        # A probe's component is called name@host.
        found.setdefault(EXCHANGE, key[0].partition("@")[0])
    return found | {"rule": rule.name, "kind": rule.kind, "priority": priority or rule.priority}


def label_names(rule: Rule) -> tuple[str, ...]:
    """Return the names of an alert's labels, but for those that every alert has."""
    return (*key_names(rule), *rule.labels, *((EXCHANGE,) if _is_about_exchange(rule) else ()))


def _is_about_exchange(rule: Rule) -> bool:
    return isinstance(rule, HealthRule) and rule.of == EXCHANGE


def limit(spec: Threshold | Judgement, priority: Priority) -> float:
    """Return the threshold of a priority."""
    return float(dict(spec.rungs).get(priority, spec.rungs[0][1]))


def count_summary(rule: Rule, key: Key, spec: Threshold | Judgement, move: Move) -> str:
    """Return the summary of an alert about records."""
    told = _amount(rule, spec, move.value)
    values = labels(rule, key, move.priority) | {
        "count": number(move.value) if _counts(spec) else told,
        "value": told,
        "window": compact(spec.window_s * 1_000_000),
        "threshold": _amount(rule, spec, limit(spec, move.priority), bare=True),
    }
    if rule.summary is not None:
        return render(rule.summary, values)
    whose = subject(rule, key)
    if isinstance(rule, MatchRule):
        return f"{rule.name}: a record matches{whose}"
    if isinstance(rule, NewErrorRule):
        return f"{rule.name}: an error not seen for {rule.within}{whose}"
    return f"{rule.name}: {_measured(rule, spec, move.value)}{whose}, {_than(rule, spec, move)}"


def gap_summary(rule: Rule, key: Key, priority: Priority, loss: Loss, why: str) -> str:
    """Return the summary of an alert about gaps: how much was lost by now, of whom, and why."""
    if rule.summary is not None:
        values = labels(rule, key, priority) | {"count": loss.count, "reason": why}
        return render(rule.summary, values)
    lost = f"{rule.name}: {loss.what} lost{subject(rule, key)}{loss.unknown}"
    return f"{lost}: {why}" if why else lost


def gap_reason(spec: Threshold | Judgement, move: Move, loss: Loss) -> str:
    """Say what was lost; of an end, how much in all."""
    if move.finding in {"holds", "lasted"}:
        return f"{loss.what} lost{loss.unknown}"
    quiet = compact(spec.window_s * 1_000_000)
    return f"no more for {quiet}; in all {loss.what} lost{loss.unknown}"


def count_reason(rule: Rule, spec: Threshold | Judgement, move: Move) -> str:
    """Say what was found about the records of a window."""
    found = _measured(rule, spec, move.value)
    if move.finding in {"holds", "lasted"}:
        return f"{found}, {_than(rule, spec, move)}"
    resolve = spec.rungs[0][1] if spec.resolve is None else spec.resolve
    is_below = isinstance(spec, Judgement) and spec.is_below
    past = f"{'fewer than' if is_below and _counts(spec) else 'below' if is_below else 'above'} "
    past += _amount(rule, spec, resolve, bare=True)
    if move.finding == "ceased":
        return f"{found}, no longer {past}"
    if is_below or not _counts(spec):
        return f"{found}, not {past}{_kept(spec)}"
    if isinstance(spec, Threshold) and spec.keep_us:
        return f"no more than {number(resolve)} for {compact(spec.keep_us)}"
    return f"{found}, no more than {number(resolve)}"


def _kept(spec: Threshold | Judgement) -> str:
    if isinstance(spec, Judgement) and spec.keep_s:
        return f" for {compact(spec.keep_s * 1_000_000)}"
    return ""


def _counts(spec: Threshold | Judgement) -> bool:
    return isinstance(spec, Threshold) or spec.measure == "count"


def _measured(rule: Rule, spec: Threshold | Judgement, value: float) -> str:
    """Say what a window holds: ``11 records in 5m``."""
    told, window = _amount(rule, spec, value), compact(spec.window_s * 1_000_000)
    if isinstance(rule, GaugeRule):
        return f"{rule.use} of {rule.field.removeprefix('attributes.')} {told} in {window}"
    if isinstance(spec, Judgement) and spec.measure == "spike":
        return f"{told} as many in {window} as the {compact(spec.baseline_s * 1_000_000)} before"
    if isinstance(spec, Judgement) and spec.measure == "ratio":
        return f"{told} of records in {window}"
    return f"{told} in {window}"


def _than(rule: Rule, spec: Threshold | Judgement, move: Move) -> str:
    past = _amount(rule, spec, limit(spec, move.priority), bare=True)
    n, of = spec.windows
    some = f" in {n} of {of} windows" if of > 1 else ""
    if isinstance(spec, Judgement) and spec.is_below:
        return f"{'fewer than' if _counts(spec) else 'below'} {past}{some}"
    return f"above {past}{some}"


def _amount(rule: Rule, spec: Threshold | Judgement, value: float, *, bare: bool = False) -> str:
    if isinstance(spec, Judgement) and spec.measure == "ratio":
        return f"{number(value * 100)} %"
    if isinstance(spec, Judgement) and spec.measure == "spike":
        return number(value) if bare else f"{number(value)} times"
    if isinstance(spec, Judgement) and spec.measure == "gauge":
        return number(value)
    if bare:
        return number(value)
    if isinstance(rule, DistinctRule):
        n = int(value)
        named = rule.field.removeprefix("attributes.")
        return f"{n:,} value{'' if n == 1 else 's'} of {named}"
    return records(int(value))


def blind_reason(answer: Answer, now_us: int) -> str:
    """Say that no source is left to tell."""
    if answer.last_seen_us is None:
        return "cannot tell: no source has sent anything within 24 hours"
    return f"cannot tell: the last source was heard at {clock_time(answer.last_seen_us, now_us)}"


def liveness_summary(rule: ComponentRule, key: Key, state: str, reason: str) -> str:
    """Return the summary of a liveness alert: ``w1 is dead: killed by SIGKILL``."""
    if rule.summary is not None:
        return render(rule.summary, labels(rule, key) | {"state": state, "reason": reason})
    # ("service", "worker", "host"), ("host", "agent"), ("component", "host"): what people say.
    name = key[1] if rule.of == "worker" else f"the agent on {key[0]}"
    if not isinstance(rule, LivenessRule) and rule.of not in {"worker", "agent"}:
        name = f"{rule.of} {key[0]}"
    return f"{name} is {state}: {reason}" if reason else f"{name} is {state}"


def schedule_summary(rule: ScheduleRule, state: str, reason: str) -> str:
    """Return the summary of a job's alert."""
    if rule.summary is not None:
        return render(rule.summary, labels(rule, ()) | {"state": state, "reason": reason})
    return f"{rule.name}: {reason}"


def composite_summary(rule: CompositeRule, reason: str) -> str:
    """Return the summary of an alert that follows from others."""
    if rule.summary is not None:
        return render(rule.summary, labels(rule, ()) | {"reason": reason})
    return f"{rule.name}: {reason}"


def subject(rule: Rule, key: Key) -> str:
    """Return `` of service payments, worker w1`` for a key, nothing without one."""
    named = [f"{name} {value}" for name, value in zip(key_names(rule), key, strict=False) if value]
    return f" of {', '.join(named)}" if named else ""


def records(n: int) -> str:
    """Return ``no records``, ``1 record`` or ``12 records``."""
    if n == 1:
        return "1 record"
    return f"{n:,} records" if n else "no records"


def number(value: float) -> str:
    """Write a number for people: ``1,234``, ``0.0523``, ``12.3``."""
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
