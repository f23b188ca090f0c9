"""Frozen rules: nothing of them moves, one alert says why, and applying thaws them."""

from __future__ import annotations

import pytest

from outrider.filter import parse
from outrider_alerting import built_in, freezing, rule_files
from outrider_alerting.kinds import MatchRule
from outrider_alerting.rules import RuleSet
from outrider_alerting.watches import hits_key
from tests.alerting.scene import T0, S, Scene, component

TWO = """
[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
by = ["worker"]
window = "10s"
above = 2
priority = "critical"

[[rule]]
name = "others"
kind = "match"
filter = "needle"
keep_firing_for = "5s"
"""


def test_frozen_alerts_stay_and_one_alert_says_why() -> None:
    """Neither an end nor a firing of the rule is concluded; others go on; nobody is misled."""
    scene = Scene(TWO, restarts=True)
    scene.step(1, scene.hit(1, 5, ("w1",)))
    scene.freeze("errors")
    told = scene.step(2)

    assert [(t.rule, t.key, t.to_state, t.priority) for t in told] == [
        (freezing.RULE, ("errors",), "firing", "critical"),
    ]
    assert "took 50 % of the time" in told[0].summary
    assert [(c.rule, c.key, c.stale) for c in scene.results[-1].stale] == [
        ("errors", ("w1",), True)
    ]
    told = scene.step(3, scene.hit(3, 9, ("w2",)), scene.hit(3, rule="others"))
    told += scene.run(4, 200)
    assert {t.rule for t in told} == {"others"}
    assert scene.state.rules["errors", ("w1",)].phase == "firing"


def test_applied_again_the_rule_ends_after_a_whole_window_of_what_is_counted() -> None:
    """What nobody counted while it was frozen is no reason to end its alert."""
    scene = Scene(TWO, restarts=True)
    scene.step(1, scene.hit(1, 5, ("w1",)))
    scene.freeze("errors")
    scene.run(2, 60)
    scene.apply_rules(TWO)
    told = scene.step(60)
    assert [(t.rule, t.to_state, t.reason) for t in told] == [
        (freezing.RULE, "resolved", "the rules were applied again"),
    ]
    told = scene.run(61, 90)

    assert [(t.rule, t.to_state) for t in told] == [("errors", "resolved")]
    assert told[0].at_us >= (T0 + 70) * S


def test_deleted_while_frozen() -> None:
    """Its alerts are withdrawn, and so is the one that told of it."""
    scene = Scene(TWO)
    scene.step(1, scene.hit(1, 5, ("w1",)))
    scene.freeze("errors")
    scene.step(2)
    scene.apply_rules(TWO.replace('"errors"', '"other-errors"'))
    told = scene.step(3)

    assert [(t.rule, t.to_state) for t in told] == [
        ("errors", "resolved"), (freezing.RULE, "resolved"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["absence", "liveness"])
def test_nothing_opens_while_frozen(kind: str) -> None:
    """Not for what does not come, and not for what is told of components."""
    text = {
        "absence": 'filter = "needle"\nwindow = "5s"',
        "liveness": 'states = ["dead"]',
    }[kind]
    scene = Scene(f'[[rule]]\nname = "r"\nkind = "{kind}"\n{text}\n')
    scene.freeze("r")
    told = scene.step(1) + scene.step(2, health=[component("dead", 2)]) + scene.run(3, 100)
    assert [t.rule for t in told] == [freezing.RULE]

    scene.apply_rules(f'[[rule]]\nname = "r"\nkind = "{kind}"\n{text}\n')
    told = scene.step(100, health=[component("dead", 2)])
    told += scene.run(101, 103)
    assert ("r", "firing") in {(t.rule, t.to_state) for t in told} or kind == "absence"
    assert ("r", "firing") in {(t.rule, t.to_state) for t in told + scene.run(103, 140)}


def test_a_frozen_rule_keeps_what_it_knows() -> None:
    """An error that was seen before the rule was frozen is not new when it is thawed."""
    text = '[[rule]]\nname = "new"\nkind = "new_error"\nlearn = "2s"\nwithin = "1d"\n'
    scene = Scene(text)
    scene.step(1, scene.hit(1, 1, ("pay", "E1")))
    scene.freeze("new")
    scene.run(2, 10)
    scene.apply_rules(text)
    scene.run(10, 20)
    told = scene.step(20, scene.hit(20, 1, ("pay", "E1"), first=7))
    assert not told
    told = scene.step(21, scene.hit(21, 1, ("pay", "E2"), first=8))
    assert [t.key for t in told] == [("pay", "E2")]


def test_the_built_in_rule_has_no_filter() -> None:
    """No hits can be filed under it, and no set can name it."""
    assert RuleSet().rule(freezing.RULE) is None
    assert all(hits_key(rule) for rule in Scene(TWO).rule_set.rules)


@pytest.mark.parametrize("name", sorted(built_in.NAMES))
def test_no_file_may_name_a_built_in_rule(name: str) -> None:
    """Its alerts would stand among those of Outrider itself."""
    text = f'[[rule]]\nname = "{name}"\nkind = "match"\nfilter = "needle"\n'
    (problem,) = rule_files.lint([("a.toml", text)])
    assert problem.is_error
    assert str(problem).endswith(f"`{name}` is built in: a.toml:2: choose another name")


def test_a_stored_set_of_old_that_names_it_ends_nothing() -> None:
    """What is about a rule that is frozen is told by what it is, not by how it is called."""
    called = MatchRule(
        kind="match", name=freezing.RULE, filter=parse("needle"), by=("service", "worker")
    )
    scene = Scene(TWO)
    scene.rule_set = RuleSet(rules=(*scene.rule_set.rules, called))
    told = scene.step(1, scene.hit(1, 5, ("a", "b"), rule=freezing.RULE))
    assert [(t.rule, t.key) for t in told] == [(freezing.RULE, ("a", "b"))]
    scene.freeze("errors")
    told = scene.step(2)
    assert [(t.rule, t.key) for t in told] == [(freezing.RULE, ("errors",))]
    assert scene.state.rules[freezing.RULE, ("a", "b")].phase == "firing"
