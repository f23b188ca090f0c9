"""The kinds of rules: what each may say. :mod:`.checks` knows what fits together.

Records, one alert for each combination of values of ``by``:

* ``match``: a record matches.
* ``count``: more than ``above``, or fewer than ``below``, matching records in a ``window``.
* ``absence``: fewer than ``below`` (by default none at all) in a ``window``.
* ``ratio``: the share of the records of ``of`` that match ``filter`` too.
* ``spike``: how many times more than in the ``baseline`` before.
* ``distinct``: how many different values of a ``field``.
* ``gauge``: a number that records carry: its last, average, highest, lowest or sum.
* ``new_error``: an error that was not seen for ``within``.
* ``schedule``: a job that did not start in time, failed, or runs too long.

Components and losses: ``liveness`` (a worker or agent), ``health`` (any component), ``gap``.
Other rules: ``composite``.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  msgspec reads the annotations
from typing import Any, Final, Literal

import msgspec

from outrider.filter import Filter, parse
from outrider_alerting.durations import Duration

Priority = Literal["info", "warning", "critical"]
"""An alert's own scale, so that severity always means a record's."""

PRIORITIES: Final[tuple[Priority, ...]] = ("info", "warning", "critical")

NoData = Literal["keep", "fire", "resolve"]
"""What follows when no source is left that could tell."""

Level = int | dict[Priority, int]
"""A threshold, or one for each priority: ``{ warning = 10, critical = 100 }``."""
Amount = float | dict[Priority, float]
"""The same, for what is not counted in whole records."""


def _duration(text: str) -> Any:
    return msgspec.field(default_factory=lambda: Duration(text))


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a test of a rule expects at one time."""

    at: Duration
    state: Literal["inactive", "pending", "firing", "recovering"]
    by: dict[str, str] = {}
    """Values of the rule's key; those that are not named may be any."""
    priority: Priority | None = None
    summary: str | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A test of a rule: what is given, what is expected; run by ``outrider rules test``."""

    name: str = ""
    start: datetime | None = None
    """When it begins; by default a Monday at noon, UTC."""
    given: tuple[dict[str, Any], ...] = ()
    """``at``, ``repeat``, ``every``; else the fields of a record, a component or a gap."""
    expect: tuple[Expectation, ...]


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of rule may say."""

    name: str
    kind: str
    priority: Priority = "warning"
    for_: Duration = msgspec.field(default_factory=lambda: Duration("0s"), name="for")
    """How long the condition must hold without a break before the alert fires, in event time."""
    keep_firing_for: Duration | None = None
    """How long the condition must be gone before the alert resolves."""
    max_instances: int = 100
    """Open alerts of this rule at a time; all beyond are one overflow alert."""
    labels: dict[str, str] = {}
    """Added to the alert's labels; routes and silences filter on them."""
    summary: str | None = None
    """A template: ``{count} errors in {window} on {worker}``."""
    runbook: str | None = None
    """An http or https URL."""
    test: tuple[Case, ...] = ()


class RecordRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the kinds that look at records share."""

    filter: Filter
    by: tuple[str, ...] = ()
    """One alert for each combination of values of these fields."""
    evidence: int = 5
    """Lines copied into the alert, at most 10."""
    lateness: Duration = _duration("10s")
    """How much later than the watermarks say a record may come before an end is concluded."""
    urgent: bool | None = None
    """Whether agents send matching records at once; by default where the priority is critical."""
    no_data: NoData = "keep"


class MatchRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires with the first matching record."""


class CountRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when a window has more than ``above``, or fewer than ``below``, matching records."""

    window: Duration
    above: Level | None = None
    below: Level | None = None
    resolve: int | None = None
    """The alert ends at this count; by default where the condition does."""
    of: tuple[int, int] | None = None
    """N of the last M windows, which follow each other, must be so."""


class AbsenceRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when a window has fewer than ``below`` matching records."""

    window: Duration
    below: int = 1
    no_data: NoData = "fire"


class RatioRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires by the share of the records of ``of`` that match ``filter`` too."""

    of: Filter
    window: Duration
    above: Amount | None = None
    below: Amount | None = None
    resolve: float | None = None
    at_least: int = 20
    """Records of ``of`` that a window must hold; with fewer the share says nothing."""


class SpikeRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when a window has more than ``above`` times what the baseline before it promises."""

    window: Duration
    baseline: Duration = _duration("1h")
    above: Amount
    resolve: float | None = None
    at_least: int = 10
    """Records that the window must hold; fewer are no spike of anything."""


class DistinctRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when more than ``above`` different values of ``field`` fall into one window."""

    field: str
    window: Duration
    above: Level


class GaugeRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires by a number that records carry."""

    field: str
    """An attribute."""
    use: Literal["last", "avg", "max", "min", "sum"] = "last"
    window: Duration
    above: Amount | None = None
    below: Amount | None = None
    resolve: float | None = None
    of: tuple[int, int] | None = None


class NewErrorRule(RecordRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires with an error that was not seen for ``within``."""

    filter: Filter = msgspec.field(default_factory=lambda: parse("severity>=error"))
    by: tuple[str, ...] = ("service", "error")
    within: Duration = _duration("14d")
    learn: Duration = _duration("1h")
    """After the rule came to be, what is seen for the first time counts as known."""


class ScheduleRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when a job did not start in time, failed, or runs too long."""

    filter: Filter
    """Of the job's records; its events are job.started, job.succeeded, job.failed and so on."""
    cron: str
    timezone: str = "UTC"
    """Of the cron expression, as in the IANA data base."""
    grace: Duration = _duration("1m")
    """How late a start may be."""
    max_runtime: Duration | None = None
    lateness: Duration = _duration("10s")
    urgent: bool | None = None
    no_data: NoData = "fire"


LivenessState = Literal["silent", "dead", "lagging", "degraded"]
HealthState = Literal[
    "up", "degraded", "lagging", "maintenance", "silent", "dead", "down", "expired", "retired"
]


class LivenessRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires while a worker or agent is in one of the named states."""

    of: Literal["worker", "agent"] = "worker"
    states: tuple[LivenessState, ...] = ("silent", "dead")
    filter: Filter | None = None
    """On the labels service, worker and host."""


class HealthRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires while a component of any kind is in one of the named states."""

    of: str
    """A component kind of ``system_health``."""
    states: tuple[HealthState, ...] = ("degraded", "silent", "dead", "down", "expired")
    filter: Filter | None = None
    """On the labels component, service, worker and host."""


class GapRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires with a gap row, and ends ``keep_firing_for`` (1 hour) after the last."""

    filter: Filter | None = None
    """On the labels service, worker, host and reason."""


class CompositeRule(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires by whether other rules fire."""

    all: tuple[str, ...] = ()
    """Names of rules: each of these must fire,"""
    any: tuple[str, ...] = ()
    """... one of these (where any is named),"""
    none: tuple[str, ...] = ()
    """... and none of these."""


ThresholdRule = MatchRule | CountRule | DistinctRule | NewErrorRule | GapRule
"""Concluded from what is there: more records can only make it truer (``count`` with ``above``)."""
JudgedRule = CountRule | AbsenceRule | RatioRule | SpikeRule | GaugeRule
"""Concluded when the watermarks have passed (``count`` with ``below``)."""
ComponentRule = LivenessRule | HealthRule
Rule = (
    MatchRule
    | CountRule
    | AbsenceRule
    | RatioRule
    | SpikeRule
    | DistinctRule
    | GaugeRule
    | NewErrorRule
    | ScheduleRule
    | LivenessRule
    | HealthRule
    | GapRule
    | CompositeRule
)
KINDS: Final[dict[str, type[Rule]]] = {
    "match": MatchRule,
    "count": CountRule,
    "ratio": RatioRule,
    "spike": SpikeRule,
    "absence": AbsenceRule,
    "liveness": LivenessRule,
    "schedule": ScheduleRule,
    "health": HealthRule,
    "new_error": NewErrorRule,
    "distinct": DistinctRule,
    "gauge": GaugeRule,
    "gap": GapRule,
    "composite": CompositeRule,
}
FIRST_KINDS: Final = frozenset(("match", "count", "liveness"))
"""What an engine of version 1 has."""

LIVENESS_BY: Final = {"worker": ("service", "worker", "host"), "agent": ("host", "agent")}
HEALTH_BY: Final = ("component", "host")
EXCHANGE: Final = "exchange"
"""A component kind, and the label by which its alerts explain those of workers that use it."""
GAP_BY: Final = ("service", "worker", "host")


def rungs(
    rule: Common, level: float | dict[Priority, int] | dict[Priority, float] | None
) -> tuple[tuple[Priority, float], ...]:
    """Return the thresholds with their priorities, the lowest priority first."""
    if level is None:
        return ()
    if isinstance(level, dict):
        return tuple((name, level[name]) for name in PRIORITIES if name in level)
    return ((rule.priority, level),)


def top_priority(rule: Common) -> Priority:
    """Return the highest priority that an alert of the rule can have."""
    for name in ("above", "below"):
        level = getattr(rule, name, None)
        if isinstance(level, dict):
            return next((p for p in reversed(PRIORITIES) if p in level), rule.priority)
    return rule.priority


def is_higher(priority: Priority, other: Priority) -> bool:
    """Tell whether a priority is higher than another."""
    return PRIORITIES.index(priority) > PRIORITIES.index(other)
