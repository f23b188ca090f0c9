"""Tests of rules: `[[rule.test]]` says what is given and what is expected, in event time."""

from __future__ import annotations

import re

import pytest

from outrider_alerting import cases, rule_files
from outrider_alerting.rules import diff
from tests.alerting.scene import rules

SURFACE = """
[[rule]]
name = "payment-errors"
kind = "count"
filter = "service:payments severity>=error"
by = ["service", "worker"]
window = "5m"
above = 10
resolve = 5
priority = "critical"
summary = "{count} errors in {window} on {worker}"

[[rule.test]]
given = [
    { at = "0s", repeat = 11, service = "payments", worker = "w1", severity = "error" },
]
expect = [
    { at = "9s", state = "inactive" },
    { at = "10s", state = "firing", by = { service = "payments", worker = "w1" } },
    { at = "10s", state = "firing", priority = "critical", summary = "11 errors in 5m on w1" },
    { at = "10s", state = "inactive", by = { worker = "w2" } },
    { at = "304s", state = "firing" },
    { at = "306s", state = "inactive" },
]
"""
OTHERS = """
[[rule]]
name = "no-orders"
kind = "absence"
filter = "event:order.filled"
window = "10m"
for = "1m"
[[rule.test]]
given = [{ at = "0s", repeat = 5, every = "1m", event = "order.filled" }]
expect = [
    { at = "13m59s", state = "inactive" },
    { at = "14m", state = "pending" },
    { at = "15m", state = "firing", priority = "warning" },
    { at = "20h", state = "firing" },
]

[[rule]]
name = "slow"
kind = "gauge"
filter = "event:api.called"
field = "attrs.ms"
use = "avg"
window = "1m"
above = 200
[[rule.test]]
given = [
    { at = "0s", event = "api.called", attributes = { ms = 100 } },
    { at = "1s", event = "api.called", attributes = { ms = 400 } },
]
expect = [{ at = "0s", state = "inactive" }, { at = "1s", state = "firing" }]

[[rule]]
name = "died"
kind = "liveness"
states = ["dead"]
[[rule.test]]
given = [
    { at = "5s", state = "dead", service = "a", worker = "w1", host = "h", reason = "SIGKILL" },
    { at = "20s", state = "up", service = "a", worker = "w1", host = "h" },
]
expect = [
    { at = "5s", state = "firing", by = { worker = "w1" } },
    { at = "20s", state = "inactive" },
]

[[rule]]
name = "lost"
kind = "gap"
[[rule.test]]
given = [{ at = "1s", gap = "disk_full", records = 3, worker = "w1" }]
expect = [
    { at = "1s", state = "firing" },
    { at = "59m", state = "firing" },
    { at = "61m", state = "inactive" },
]

[[rule]]
name = "nightly"
kind = "schedule"
filter = "service:etl"
cron = "30 2 * * *"
timezone = "Europe/Berlin"
grace = "5m"
[[rule.test]]
name = "the hour that the clocks skip"
start = 2026-03-29T00:59:00Z
given = [{ at = "62s", event = "job.started", service = "etl" }]
expect = [{ at = "23h", state = "inactive" }]
[[rule.test]]
start = 2026-03-29T00:59:00Z
expect = [{ at = "5m59s", state = "inactive" }, { at = "6m", state = "firing" }]

[[rule]]
name = "dead-and-lost"
kind = "composite"
all = ["died", "lost"]
[[rule.test]]
given = [{ at = "1s", gap = "x", worker = "w1" }, { at = "9s", state = "dead", worker = "w1" }]
expect = [{ at = "8s", state = "inactive" }, { at = "9s", state = "firing" }]
"""


def test_the_documented_example_passes() -> None:
    """The rule of the documentation with its test, and more about it, holds."""
    assert cases.run(rules(SURFACE)) == (1, [])


def test_every_kind_can_be_tested() -> None:
    """Records, components, gaps, schedules and composites are played by the engine itself."""
    assert cases.run(rules(OTHERS)) == (7, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("repeat = 11", "repeat = 10"), "worker w1 is inactive, expected firing"),
        (('priority = "critical", summary', 'priority = "info", summary'),
         "at 10s the priority is `critical`, expected `info`"),
        (('summary = "11 errors', 'summary = "12 errors'), "is `11 errors in 5m on w1`, expected"),
        (('at = "306s"', 'at = "300s"'), "at 5m the alert is firing, expected inactive"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_told(change: tuple[str, str], message: str) -> None:
    """A failed expectation says when, of whom, what is there and what was expected."""
    _, (failure, *_) = cases.run(rules(SURFACE.replace(*change)))

    assert message in failure.message
    assert failure.rule == "payment-errors"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('severity = "error" }', 'severty = "error" }'), "did you mean `severity`?"),
        (('severity = "error" }', 'severity = "bad" }'), "no severity `bad`"),
        (('by = { worker = "w2" }', 'by = { wrker = "w2" }'), "did you mean `worker`?"),
        (('at = "0s", repeat', 'at = "1", repeat'), "`1` is not a duration"),
        (("repeat = 11", "repeat = 1000000"), "`repeat` is not a number from 0 to 100,000"),
        (("[[rule.test]]", "[[rule.test]]\nstart = 2026-01-01T00:00:00"), "`start` has no offset"),
    ],
)
def test_a_mistake_in_a_test_is_found_by_lint(change: tuple[str, str], told: str) -> None:
    """A mistake names the line of the test."""
    problems = [str(p) for p in rule_files.lint([("a.toml", SURFACE.replace(*change))])]

    assert any(told in problem for problem in problems), problems
    assert all(re.search(r"a.toml:(1|2)\d", problem) for problem in problems), problems


def test_tests_are_no_part_of_a_rule() -> None:
    """A changed test changes no rule."""
    assert not diff(rules(SURFACE), rules(SURFACE.replace("306s", "400s")))
