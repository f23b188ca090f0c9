"""What the types of :mod:`.kinds` cannot say of a rule: bounds, names, and what fits together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfoNotFoundError, available_timezones

import msgspec
from cronsim import CronSim, CronSimError

from outrider.configuration import suggest
from outrider.filter import FilterError, comparisons, parse
from outrider.instants import EPOCH
from outrider_alerting import built_in, summaries
from outrider_alerting.cases import case_faults
from outrider_alerting.checks import Fault, name_faults, whole_faults
from outrider_alerting.durations import DAY_US, HOUR_US, SECOND_US
from outrider_alerting.key_values import BY_FIELDS
from outrider_alerting.kinds import (
    ComponentRule,
    CompositeRule,
    CountRule,
    DistinctRule,
    GapRule,
    GaugeRule,
    JudgedRule,
    LivenessRule,
    MatchRule,
    NewErrorRule,
    RatioRule,
    RecordRule,
    Rule,
    ScheduleRule,
    SpikeRule,
    rungs,
)
from outrider_alerting.program import key_names
from outrider_alerting.schedules import zone_of
from outrider_alerting.terms import is_threshold, is_within_a_day
from outrider_alerting.wording import RESERVED_LABELS, SUMMARY_NAMES, label_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outrider.filter import Filter

MAX_BY: Final = 6
MAX_LABELS: Final = 16
MAX_WINDOWS: Final = 10
MAX_DISTINCT: Final = 1_000
MAX_MEMBERS: Final = 50
MAX_WITHIN_US: Final = 90 * DAY_US

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_COMPONENT = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_SHORT = "attrs."
_FILTER_FIELDS: Final = {
    "liveness": ("service", "worker", "host"),
    "health": ("component", "service", "worker", "host"),
    "gap": ("service", "worker", "host", "reason"),
}


def normal(rule: Rule) -> Rule:
    """Return the rule with the short field names of ``by`` and ``field`` written out."""
    changed: dict[str, Any] = {}
    if isinstance(rule, RecordRule):
        changed["by"] = tuple(map(_long, rule.by))
    if isinstance(rule, DistinctRule | GaugeRule):
        changed["field"] = _long(rule.field)
    return msgspec.structs.replace(rule, **changed)


def _long(name: str) -> str:
    return f"attributes.{name[len(_SHORT) :]}" if name.startswith(_SHORT) else name


def rule_faults(rule: Rule) -> Iterator[Fault]:
    """Yield everything wrong with a rule by itself."""
    yield from name_faults("name", rule.name)
    if rule.name in built_in.NAMES:
        yield Fault("name", f"`{rule.name}` is built in", "choose another name")
    yield from whole_faults("for", rule.for_)
    if rule.keep_firing_for is not None:
        yield from whole_faults("keep_firing_for", rule.keep_firing_for)
    if not 1 <= rule.max_instances <= 1_000:
        yield Fault("max_instances", f"`max_instances` is {rule.max_instances}", "1 to 1000")
    if rule.runbook is not None and not rule.runbook.startswith(("http://", "https://")):
        yield Fault("runbook", "`runbook` is not an http or https URL")
    yield from _labels(rule)
    if isinstance(rule, ComponentRule | GapRule):
        yield from _about_components(rule)
    elif isinstance(rule, ScheduleRule):
        yield from _schedule(rule)
    elif isinstance(rule, CompositeRule):
        yield from _composite(rule)
    else:
        yield from _record_rule(rule)
    yield from _summary(rule)
    yield from case_faults(rule)


STAND_INS: Final[dict[str, Any]] = {
    "name": "x", "filter": "x", "of": "x", "window": "1m", "above": 1, "within": "1h",
    "field": "attributes.x", "cron": "0 3 * * *", "grace": "1m", "states": ["dead"],
}  # fmt: skip
"""For keys that are missing or cannot be read, so that the others can be checked."""

_ALONE: Final = frozenset((
    "name", "for", "keep_firing_for", "max_instances", "runbook", "labels", "summary", "by",
    "evidence", "lateness", "window", "cron", "timezone", "max_runtime", "within", "learn",
))  # fmt: skip
"""Keys of which it can be said what is wrong whatever others say."""
_NAMING: Final = frozenset(("by", "labels", "field"))
"""What gives a summary its names."""


def faults_beside(rule: Rule, wrong: set[str]) -> Iterator[Fault]:
    """Yield what is surely wrong with a rule some of whose keys are wrong and stood in for."""
    known = _ALONE - wrong - (frozenset(("summary",)) if wrong & _NAMING else frozenset())
    yield from (fault for fault in rule_faults(normal(rule)) if fault.key in known)


def member_faults(rule: Rule, rules: Iterable[Rule]) -> Iterator[Fault]:
    """Yield what is wrong with the rules that a rule names; ``rules`` are all of the set."""
    if not isinstance(rule, CompositeRule):
        return
    kinds = {other.name: other.kind for other in rules}
    for key in ("all", "any", "none"):
        for name in getattr(rule, key):
            if name not in kinds:
                near = suggest(name, kinds)
                hint = f"did you mean `{near}`?" if near else f"known: {', '.join(sorted(kinds))}"
                yield Fault(key, f"no rule `{name}`", hint)
            elif kinds[name] == "composite":
                yield Fault(key, f"`{name}` is a composite rule", "name the rules that it names")


def _record_rule(rule: RecordRule) -> Iterator[Fault]:
    yield from _by(rule.by)
    if not 0 <= rule.evidence <= 10:
        yield Fault("evidence", f"`evidence` is {rule.evidence}", "0 to 10 lines")
    if rule.lateness.us > HOUR_US:
        yield Fault("lateness", "`lateness` is longer than 1h")
    if isinstance(rule, MatchRule | NewErrorRule):
        yield from _at_once(rule)
        return
    assert isinstance(rule, JudgedRule | DistinctRule)  # noqa: S101  all that is left has a window
    yield from whole_faults("window", rule.window, least_us=SECOND_US)
    yield from _levels(rule)
    yield from _windows(rule)
    if isinstance(rule, DistinctRule):
        yield from _by((rule.field,), key="field")
    if isinstance(rule, GaugeRule) and not rule.field.startswith("attributes."):
        yield Fault("field", f"`{rule.field}` is not an attribute", "write attrs.NAME")
    if isinstance(rule, RatioRule | SpikeRule) and not 1 <= rule.at_least <= 1_000_000:
        yield Fault("at_least", f"`at_least` is {rule.at_least}", "1 to 1000000 records")
    if isinstance(rule, SpikeRule):
        yield from whole_faults("baseline", rule.baseline, least_us=SECOND_US)
        if rule.baseline.us < rule.window.us:
            yield Fault("baseline", "`baseline` is shorter than `window`")
    if rule.no_data == "fire" and is_threshold(rule):
        yield Fault("no_data", "more records than `above` are never said to be there unseen",
                    "keep or resolve; kind `absence` or `liveness` tells who is gone")  # fmt: skip


def _at_once(rule: MatchRule | NewErrorRule) -> Iterator[Fault]:
    if rule.for_.us:
        word = "a match" if isinstance(rule, MatchRule) else "a new error"
        yield Fault("for", f"{word} fires at once", "use kind `count` for a condition over time")
    if rule.keep_firing_for is not None and not rule.keep_firing_for.us:
        yield Fault("keep_firing_for", "a match lasts at least 1s")
    if rule.no_data == "fire":
        yield Fault("no_data", "a record that is not there matches nothing", "keep or resolve")
    if isinstance(rule, NewErrorRule):
        if not rule.by:
            yield Fault(
                "by", "`by` is empty", 'it says what is new, by default ["service", "error"]'
            )
        if not HOUR_US <= rule.within.us <= MAX_WITHIN_US:
            yield Fault("within", f"`within` is {rule.within}", "1h to 90d")
        yield from whole_faults("learn", rule.learn)


def _levels(rule: JudgedRule | DistinctRule) -> Iterator[Fault]:
    """Check the thresholds: which side, their order, what ends the alert."""
    above, below = getattr(rule, "above", None), getattr(rule, "below", None)
    if above is None and below is None:
        yield Fault("above", "neither `above` nor `below`", "say above = 10, or below = 1")
        return
    if above is not None and below is not None:
        yield Fault("below", "both `above` and `below`", "write two rules")
        return
    key, level = ("above", above) if above is not None else ("below", below)
    if isinstance(level, dict) and not level:
        yield Fault(
            key, f"`{key}` names no priority", f"{key} = {{ warning = 10, critical = 100 }}"
        )
        return
    values = [value for _, value in rungs(rule, level)]
    rising = sorted(set(values), reverse=key == "below")
    if values != rising:
        word = "higher" if key == "above" else "lower"
        yield Fault(key, f"`{key}` of a higher priority is not {word}")
    yield from _bounds(rule, key, values)
    resolve = getattr(rule, "resolve", None)
    if resolve is None:
        return
    if key == "above" and not 0 <= resolve <= values[0] and not isinstance(rule, GaugeRule):
        hint = f"0 to `above` ({values[0]:g}): the alert ends at this count or below"
        yield Fault("resolve", f"`resolve` is {resolve:g}", hint)
    elif (resolve > values[0]) if key == "above" else (resolve < values[0]):
        side = "above" if key == "above" else "below"
        yield Fault("resolve", f"`resolve` is {resolve:g}, {side} `{key}` ({values[0]:g})")


def _bounds(rule: JudgedRule | DistinctRule, key: str, values: list[float]) -> Iterator[Fault]:
    lowest, highest = min(values), max(values)
    if isinstance(rule, GaugeRule):
        return
    if isinstance(rule, RatioRule):
        if lowest < 0 or highest > 1:
            yield Fault(key, f"`{key}` is a share", "0 to 1: 0.05 is 5 %")
    elif isinstance(rule, SpikeRule):
        if lowest < 1:
            yield Fault(key, f"`{key}` is {lowest:g}", "1 or more, times the baseline")
    elif key == "below" and lowest < 1:
        yield Fault(key, f"`{key}` is {lowest:g}", "1 or more; the count must be smaller")
    elif lowest < 0:
        yield Fault(key, f"`{key}` is {lowest:g}", "0 or more; the count must be greater")
    if isinstance(rule, DistinctRule) and highest > MAX_DISTINCT:
        yield Fault(key, f"`{key}` is {highest:g}", f"at most {MAX_DISTINCT} values")


def _windows(rule: JudgedRule | DistinctRule) -> Iterator[Fault]:
    of = rule.of if isinstance(rule, CountRule | GaugeRule) else None
    if of is not None and not 1 <= of[0] <= of[1] <= MAX_WINDOWS:
        yield Fault("of", f"`of` is [{of[0]}, {of[1]}]",
                    f"[3, 5] is 3 of the last 5 windows; at most {MAX_WINDOWS}")  # fmt: skip
        return
    has_level = any(getattr(rule, key, None) not in (None, {}) for key in ("above", "below"))
    if has_level and SECOND_US <= rule.window.us <= DAY_US and not is_within_a_day(rule):
        yield Fault("window", "all windows together are longer than 24h")


def _schedule(rule: ScheduleRule) -> Iterator[Fault]:
    try:
        if next(CronSim(rule.cron, EPOCH), None) is None:
            yield Fault("cron", f"`{rule.cron[:50]}` is never due")
    except CronSimError as error:
        yield Fault("cron", f"`{rule.cron[:50]}` is not a cron expression: {error}",
                    'minute hour day month weekday, such as "0 3 * * *"')  # fmt: skip
    try:
        zone_of(rule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = suggest(rule.timezone, available_timezones())
        hint = f"did you mean `{near}`?" if near else "a name such as Europe/Berlin"
        yield Fault("timezone", f"no time zone `{rule.timezone[:50]}`", hint)
    try:
        parse(f"({rule.filter.text}) event:job.started")
    except FilterError as error:
        yield Fault("filter", str(error))
    yield from whole_faults("grace", rule.grace)
    if rule.max_runtime is not None:
        yield from whole_faults("max_runtime", rule.max_runtime, least_us=SECOND_US)
    if rule.lateness.us > HOUR_US:
        yield Fault("lateness", "`lateness` is longer than 1h")
    if rule.for_.us:
        yield Fault("for", "a job that is late is told at once", "use `grace`")
    if rule.keep_firing_for is not None:
        yield Fault("keep_firing_for", "an alert of a job ends when the job has done its work")
    if rule.no_data == "resolve":
        yield Fault("no_data", "a job is not well because nobody can tell", "keep or fire")


def _composite(rule: CompositeRule) -> Iterator[Fault]:
    if not rule.all and not rule.any:
        yield Fault("all", "neither `all` nor `any` names a rule", 'all = ["one-rule", "another"]')
    if len({*rule.all, *rule.any, *rule.none}) > MAX_MEMBERS:
        yield Fault("all", f"more than {MAX_MEMBERS} rules")


def _about_components(rule: ComponentRule | GapRule) -> Iterator[Fault]:
    if isinstance(rule, GapRule):
        if rule.for_.us:
            yield Fault("for", "a gap fires at once")
        if rule.keep_firing_for is not None and not rule.keep_firing_for.us:
            yield Fault("keep_firing_for", "a gap is told for at least 1s")
    else:
        if not rule.states:
            yield Fault("states", "`states` is empty", "name at least one, e.g. dead")
        if not isinstance(rule, LivenessRule) and not _COMPONENT.fullmatch(rule.of):
            yield Fault("of", f"`{rule.of[:50]}` is not a kind of component", "such as exchange")
    if rule.filter is not None:
        yield from _fields(rule.filter, _FILTER_FIELDS[rule.kind])


def _fields(asked: Filter, known: tuple[str, ...]) -> Iterator[Fault]:
    for name in dict.fromkeys(field.name for field in comparisons(asked.node)):
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
            yield Fault("filter", f"no field `{name}` here", hint)


def _by(names: tuple[str, ...], *, key: str = "by") -> Iterator[Fault]:
    if len(names) > MAX_BY:
        yield Fault(key, f"more than {MAX_BY} fields in `{key}`")
    if len(set(names)) != len(names):
        yield Fault(key, f"a field twice in `{key}`")
    for name in names:
        if name in BY_FIELDS or re.fullmatch(r"attributes(\.[^.\s]+)+", name):
            continue
        near = suggest(name, (*BY_FIELDS, "attributes.PATH"))
        known = f"known: {', '.join(BY_FIELDS)}, attributes.PATH"
        yield Fault(key, f"no field `{name}`", f"did you mean `{near}`?" if near else known)


def _labels(rule: Rule) -> Iterator[Fault]:
    if len(rule.labels) > MAX_LABELS:
        yield Fault("labels", f"more than {MAX_LABELS} labels")
    taken = {*RESERVED_LABELS, *key_names(rule)}
    for name, value in rule.labels.items():
        if not _LABEL.fullmatch(name):
            yield Fault("labels", f"`{name}` is not a label's name", "letters, digits, _ . -")
        if name in taken:
            yield Fault("labels", f"the label `{name}` is set by itself", "choose another name")
        if len(value) > 200:
            yield Fault("labels", f"the label `{name}` is longer than 200 characters")


def _summary(rule: Rule) -> Iterator[Fault]:
    if rule.summary is None:
        return
    if len(rule.summary) > summaries.MAX_TEMPLATE:
        yield Fault("summary", f"longer than {summaries.MAX_TEMPLATE} characters")
    try:
        used = summaries.names(rule.summary)
    except summaries.SummaryError as error:
        yield Fault("summary", str(error))
        return
    known = (*SUMMARY_NAMES[rule.kind], *label_names(rule))
    for name in used:
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean `{{{near}}}`?" if near else f"known: {', '.join(known)}"
            yield Fault("summary", f"no value `{{{name}}}`", hint)
