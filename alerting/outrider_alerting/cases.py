"""Tests of rules: what is given, what is expected, and where the two differ.

A case plays what is given and asks at each time in ``expect`` what the rule's alerts are like.
Times count from the beginning of the case and are those of the records: how much later something
is concluded live (``lateness``, watermarks) is no part of it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from outrider import severity
from outrider.configuration import suggest
from outrider.instants import EPOCH
from outrider_alerting.checks import Fault
from outrider_alerting.components import ComponentState
from outrider_alerting.durations import DAY_US, SECOND_US, Duration, compact
from outrider_alerting.gaps import GapSeen
from outrider_alerting.kinds import ComponentRule, CompositeRule
from outrider_alerting.plays import Play, Record
from outrider_alerting.program import key_names
from outrider_alerting.rules import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from outrider_alerting.episodes import Key, Transition
    from outrider_alerting.kinds import Case, Expectation, Rule

MAX_GIVEN: Final = 100_000
"""Records of one case."""
MAX_CASES: Final = 50

DEFAULT_START: Final = datetime.fromisoformat("2026-01-05T12:00:00+00:00")
"""When a case begins that does not say: a Monday at noon."""

_TIMES = ("at", "repeat", "every")
_TEXTS = ("service", "worker", "host", "source", "logger", "event", "error_code", "message",
          "trace_id", "correlation_id")  # fmt: skip
_RECORD = (*_TEXTS, "severity", "attributes")
_COMPONENT = ("state", "component_kind", "component", "service", "worker", "host", "reason")
_GAP = ("gap", "records", "service", "worker", "host")


class Failure(NamedTuple):
    """An expectation that does not hold."""

    rule: str
    case: int
    expect: int
    message: str


def case_faults(rule: Rule) -> Iterator[Fault]:
    """Yield what is wrong with the tests of a rule; keys are paths such as ``test[0].given[1]``."""
    if len(rule.test) > MAX_CASES:
        yield Fault("test", f"more than {MAX_CASES} tests")
    for number, case in enumerate(rule.test):
        if case.start is not None and case.start.tzinfo is None:
            yield Fault(f"test[{number}].start", "`start` has no offset",
                        "write it like 2026-03-29T00:30:00Z")  # fmt: skip
        total = 0
        for index, given in enumerate(case.given):
            where = f"test[{number}].given[{index}]"
            for message, hint in _given_faults(given):
                yield Fault(where, message, hint)
            repeat = given.get("repeat", 1)
            total += repeat if isinstance(repeat, int) else 1
        if total > MAX_GIVEN:
            yield Fault("test", f"test {number + 1} gives more than {MAX_GIVEN:,} records")
        names = key_names(rule)
        for index, expected in enumerate(case.expect):
            where = f"test[{number}].expect[{index}]"
            for name in expected.by:
                if name not in names:
                    near = suggest(name, names)
                    known = f"known: {', '.join(names) or 'none, the rule has no keys'}"
                    hint = f"did you mean `{near}`?" if near else known
                    yield Fault(where, f"the rule has no key `{name}`", hint)
            if expected.at.us > DAY_US:
                yield Fault(where, f"`at` is {expected.at}", "at most 24h")


def _given_faults(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = (*_TIMES, *_fields(given))
    for key, value in given.items():
        if key not in known:
            near = suggest(key, known)
            yield (
                f"unknown key `{key}`",
                f"did you mean `{near}`?" if near else (f"known: {', '.join(known)}"),
            )
        elif key in {"at", "every"}:
            try:
                if not isinstance(value, str) or Duration(value).us > DAY_US:
                    yield f"`{key}` is not a duration of at most 24h", "write it like 90s"
            except ValueError as error:
                yield str(error), ""
        elif key in {"repeat", "records"}:
            if not isinstance(value, int) or not 0 <= value <= MAX_GIVEN:
                yield f"`{key}` is not a number from 0 to {MAX_GIVEN:,}", ""
        elif key == "attributes":
            if not isinstance(value, dict):
                yield "`attributes` is not a table", "attributes = { ms = 250 }"
        elif not isinstance(value, str):
            yield f"`{key}` is not a text", ""
        elif key == "severity" and severity.parse(value) is None:
            yield f"no severity `{value}`", "such as info, warn, error, fatal"
        elif key == "trace_id" and not _is_trace(value):
            yield "`trace_id` is not 32 hexadecimal digits", ""


def _fields(given: Mapping[str, Any]) -> tuple[str, ...]:
    if "state" in given:
        return _COMPONENT
    return _GAP if "gap" in given else _RECORD


def _is_trace(text: str) -> bool:
    digits = text.replace("-", "")
    return len(digits) == 32 and all(d in "0123456789abcdefABCDEF" for d in digits)


def run(rule_set: RuleSet) -> tuple[int, list[Failure]]:
    """Run the tests of all rules; return how many there were, and what does not hold."""
    failures: list[Failure] = []
    count = 0
    for rule in rule_set.rules:
        for number, case in enumerate(rule.test):
            count += 1
            failures.extend(
                Failure(rule.name, number, index, message)
                for index, message in _run(rule_set, rule, case)
            )
    return count, failures


def _run(rule_set: RuleSet, rule: Rule, case: Case) -> Iterator[tuple[int, str]]:
    start_s = int(((case.start or DEFAULT_START) - EPOCH).total_seconds())
    told = _played(rule_set, rule, case, start_s)
    for index, expected in enumerate(case.expect):
        message = _difference(rule, expected, told, start_s * SECOND_US + expected.at.us)
        if message is not None:
            yield index, message


def _played(rule_set: RuleSet, rule: Rule, case: Case, start_s: int) -> list[Transition]:
    names = {rule.name}
    if isinstance(rule, CompositeRule):
        names |= {*rule.all, *rule.any, *rule.none}
    rules = tuple(other for other in rule_set.rules if other.name in names)
    play = Play(RuleSet(rules=rules), start_s)
    happened: dict[int, tuple[list[Record], list[ComponentState], list[GapSeen]]] = {}
    for at_us, given in _expanded(case, start_s):
        records, health, gaps = happened.setdefault(at_us // SECOND_US, ([], [], []))
        if "state" in given:
            health.append(_component(rule, given, at_us))
        elif "gap" in given:
            gaps.append(_gap(given, at_us))
        else:
            records.append(_record(given, at_us, len(records)))
    for second in sorted(happened):
        play.happens(second, *happened[second])
    last_s = max((expected.at.us // SECOND_US for expected in case.expect), default=0)
    play.settle(start_s + last_s)
    return [transition for transition in play.transitions if transition.rule == rule.name]


def _expanded(case: Case, start_s: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for given in case.given:
        at_us = start_s * SECOND_US + Duration(given.get("at", "0s")).us
        every_us = Duration(given.get("every", "1s")).us
        for i in range(given.get("repeat", 1)):
            yield at_us + i * every_us, given


def _record(given: Mapping[str, Any], at_us: int, place: int) -> Record:
    attributes = given.get("attributes")
    number = severity.parse(given.get("severity", "info"))
    assert number is not None  # noqa: S101  lint has read it
    return Record(
        at_us=at_us,
        severity=number,
        attributes=None if attributes is None else json.dumps(attributes, default=str),
        stream_offset=place,
        **{name: given[name] for name in _TEXTS if name in given},
    )


def _component(rule: Rule, given: Mapping[str, Any], at_us: int) -> ComponentState:
    kind = given.get("component_kind") or (rule.of if isinstance(rule, ComponentRule) else "worker")
    named = {name: given.get(name, "") for name in ("service", "worker", "host")}
    return ComponentState(
        component_kind=kind,
        component=given.get("component", "{service}/{worker}@{host}".format(**named)),
        state=given["state"],
        since_us=at_us,
        reason=given.get("reason", ""),
        **named,
    )


def _gap(given: Mapping[str, Any], at_us: int) -> GapSeen:
    return GapSeen(
        service=given.get("service", ""),
        worker=given.get("worker", ""),
        host=given.get("host", ""),
        reason=given["gap"],
        records=given.get("records", 0),
        detected_us=at_us,
    )


def _difference(
    rule: Rule, expected: Expectation, told: Iterable[Transition], at_us: int
) -> str | None:
    """Say how an expectation differs from what was told; None: it holds."""
    names = key_names(rule)
    latest: dict[Key, Transition] = {}
    for transition in told:
        if transition.at_us <= at_us and (transition.key or not names):
            latest[transition.key] = transition
    wanted = expected.by.items()
    found = {
        key: transition
        for key, transition in latest.items()
        if wanted <= dict(zip(names, key, strict=False)).items()
    }
    states = {key: _state(transition) for key, transition in found.items()}
    whose = f" of {', '.join(f'{k} {v}' for k, v in expected.by.items())}" if expected.by else ""
    at = compact(expected.at.us)
    is_there = expected.state in states.values() or (expected.state == "inactive" and not states)
    if expected.state == "inactive":
        is_there = all(state == "inactive" for state in states.values())
    if not is_there:
        kept = ", ".join(sorted(set(states.values()))) or "inactive"
        return f"at {at} the alert{whose} is {kept}, expected {expected.state}"
    matching = [t for key, t in found.items() if states[key] == expected.state]
    for what in ("priority", "summary"):
        value = getattr(expected, what)
        seen = sorted({getattr(t, what) for t in matching})
        if value is not None and value not in seen:
            return f"at {at} the {what}{whose} is `{'`, `'.join(seen)}`, expected `{value}`"
    return None


def _state(transition: Transition) -> str:
    return "inactive" if transition.to_state == "resolved" else transition.to_state
