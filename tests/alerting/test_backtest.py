"""Alerts of a back-test beside those of then: each once, paired in time, each difference told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting import backtest
from outrider_alerting.backtest import Episode, Past, Told
from outrider_alerting.durations import SECOND_US
from outrider_alerting.rule_files import read

if TYPE_CHECKING:
    from outrider_alerting.backtest import Finding, Then

MINUTE = 60 * SECOND_US
NOW = 1_000 * MINUTE

RULES = """
[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
window = "5m"
above = 10

[[rule]]
name = "share"
kind = "ratio"
filter = "severity>=error"
of = "service:shop"
window = "5m"
above = 0.5

[[rule]]
name = "both"
kind = "composite"
all = ["errors", "share"]
"""


def would(at: int, until: int | None = None, rule: str = "r") -> Episode:
    """An alert of the back-test; times in minutes."""
    ended = None if until is None else until * MINUTE
    return Episode(rule, ("k",), {}, "warning", "s", "why", at * MINUTE, ended)


def told(
    at: int, until: int | None = None, *, later: int = 0, without: tuple[str, ...] = ()
) -> Told:
    """An alert of then, concluded some minutes later."""
    ended = None if until is None else until * MINUTE
    return Told(1, "r", ("k",), "s", at * MINUTE, ended, (at + later) * MINUTE, without)


def past(
    then: Then = "same", *, odd: tuple[int, ...] = (), oldest: int | None = 0, reach: int = 5
) -> Past:
    """What is known of then; times in minutes."""
    kept = None if oldest is None else oldest * MINUTE
    seconds = [minute * 60 for minute in odd]
    return Past([(0, {"r": then})], seconds, kept, {"r": reach * MINUTE})


def cause(found: list[Finding]) -> str:
    """The only cause."""
    (one,) = found
    return one.cause


def test_alerts_open_at_the_same_time_are_one() -> None:
    """Pairs agree without a cause where they fired within two seconds."""
    found = backtest.compare([would(10, 12), would(20, 22)], [told(10, 13), told(40)], past())
    assert [(one.would is not None, one.told is not None) for one in found] == [
        (True, True), (True, False), (False, True),
    ]  # fmt: skip
    assert [bool(one.cause) for one in found] == [False, True, True]


def test_each_difference_names_the_nearest_cause() -> None:
    """Rule, silence of a source, clocks, lateness and retention are told apart."""
    assert "no rule of this name" in cause(backtest.compare([would(10)], [], past("none")))
    assert "another then" in cause(backtest.compare([would(10)], [], past("other")))
    assert "no rule of this name" in cause(backtest.compare([would(10)], [], Past([], [], 0, {})))
    before = backtest.compare([would(10)], [told(12)], past("none"))
    assert "dated before the rule was applied" in cause(before)
    late = backtest.compare([would(10)], [told(12, later=3)], past())
    assert "arrived late: live it was concluded 3m afterwards" in cause(late)
    without = backtest.compare([], [told(10, without=("web-3",))], past())
    assert "without web-3" in cause(without)
    assert "more than a minute" in cause(backtest.compare([would(10)], [], past(odd=(7,))))
    learning = past()._replace(learn_us={"r": 11 * MINUTE})
    assert "still learned" in cause(backtest.compare([would(10)], [], learning))
    assert "no cause" in cause(backtest.compare([would(12)], [], learning))
    assert "not kept" in cause(backtest.compare([], [told(10)], past(oldest=8)))
    assert "not kept" in cause(backtest.compare([], [told(10)], past(oldest=None)))
    assert "no cause was found" in cause(backtest.compare([], [told(10)], past(odd=(2,))))


spans = st.lists(st.integers(0, 60), min_size=0, max_size=12, unique=True).map(
    lambda edges: list(zip(*[iter(sorted(edges))] * 2, strict=False))
)


@given(spans, spans)
def test_every_alert_is_told_once(
    mine: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    """Whatever both sides hold, each alert is in one finding, and pairs overlapped in time."""
    here = [would(*span) for span in mine]
    there = [told(*span) for span in theirs]
    found = backtest.compare(here, there, past())
    assert sorted(one.would for one in found if one.would) == sorted(here)
    assert sorted(one.told for one in found if one.told) == sorted(there)
    for one in found:
        if one.would and one.told:
            assert one.would.resolved_us is not None
            assert one.told.resolved_us is not None
            assert one.would.fired_us <= one.told.resolved_us + backtest.SAME_US
            assert one.told.fired_us <= one.would.resolved_us + backtest.SAME_US


def test_records_of_every_side_of_a_rule_are_read() -> None:
    """A ratio's wider filter is read; rules asked by a composite come with it."""
    rules = read([("r.toml", RULES)]).rules
    wanted = backtest.wanted(rules)
    assert wanted is not None
    assert str(wanted) == "(severity>=error OR service:shop)" or "service:shop" in str(wanted)
    assert [rule.name for rule in backtest.needed(rules, ["both"])] == ["errors", "share", "both"]
    assert [rule.name for rule in backtest.needed(rules, ["share"])] == ["share"]
    assert backtest.wanted(backtest.needed(rules, [])) is None
