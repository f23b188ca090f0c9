"""Ladders, N of M windows, shares, spikes, values, new errors, health: each by its promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.components import ComponentState
from tests.alerting.scene import COUNT, T0, S, Scene, component

LADDER = COUNT.replace("above = 3", "above = { warning = 3, critical = 20 }")
TWO_OF_THREE = COUNT + "of = [2, 3]\n"
RATIO = """
[[rule]]
name = "failing"
kind = "ratio"
filter = "severity>=error"
of = "service:pay"
window = "10s"
above = { warning = 0.05, critical = 0.5 }
at_least = 10
"""
SPIKE = """
[[rule]]
name = "spike"
kind = "spike"
filter = "severity>=error"
window = "10s"
baseline = "60s"
above = 3
at_least = 10
"""
DISTINCT = """
[[rule]]
name = "many-users"
kind = "distinct"
filter = "event:auth.failed"
field = "attrs.user"
window = "10s"
above = 2
"""
GAUGE = """
[[rule]]
name = "depth"
kind = "gauge"
filter = "event:app.queue"
field = "attrs.depth"
window = "10s"
above = 100
resolve = 50
"""
NEW_ERROR = """
[[rule]]
name = "new"
kind = "new_error"
within = "2h"
learn = "60s"
"""
HEALTH = """
[[rule]]
name = "exchange-down"
kind = "health"
of = "exchange"
states = ["dead", "degraded"]
"""
COMPOSITE = (
    COUNT
    + COUNT.replace('"errors"', '"others"').replace(">=error", ">=fatal")
    + """
[[rule]]
name = "errors-alone"
kind = "composite"
all = ["errors"]
none = ["others"]
for = "5s"
"""
)


# ---------------------------------------------------------------- ladders, N of M


def test_a_ladder_fires_low_and_is_raised_once() -> None:
    """An alert that opened as a warning is told again, once, when it becomes critical."""
    scene = Scene(LADDER)
    scene.step(0, scene.hit(0, 4))
    scene.step(1, scene.hit(1, 30))
    scene.step(2, scene.hit(2, 30))

    assert [(t.from_state, t.to_state, t.priority) for t in scene.transitions] == [
        ("inactive", "firing", "warning"),
        ("firing", "firing", "critical"),
    ]
    assert scene.transitions[1].labels["priority"] == "critical"
    assert scene.transitions[1].threshold == 20


def test_what_is_critical_at_once_is_told_once() -> None:
    """A burst over both thresholds opens as critical, with the count it is known for."""
    scene = Scene(LADDER)
    (fired,) = scene.step(5, *[scene.hit(i, 10) for i in range(5)])

    assert (fired.priority, fired.value, fired.reason) == (
        "critical", 50.0, "50 records in 10s, above 20",
    )  # fmt: skip


def test_a_raised_alert_stays_raised_until_it_ends() -> None:
    """Falling below the higher threshold tells nothing; the end is that of the lowest."""
    scene = Scene(LADDER)
    scene.step(0, scene.hit(0, 30))
    for at in range(1, 60):
        scene.step(at, *([scene.hit(at)] if at < 30 else []))

    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 36)]
    assert scene.transitions[-1].priority == "critical"


def test_n_of_m_windows() -> None:
    """`of = [2, 3]` needs two of three windows that follow each other, and ends without them."""
    scene = Scene(TWO_OF_THREE)
    scene.step(0, scene.hit(0, 4))
    for at in range(1, 60):
        scene.step(at, *([scene.hit(at, 4)] if at == 22 else []))

    # Window ends 22..: of its three windows those of second 0 (until 30) and of 22 are above.
    assert scene.told() == [("inactive", "firing", 22), ("firing", "resolved", 30)]


def test_one_bad_window_of_three_is_not_enough() -> None:
    """One burst alone never fires a 2-of-3 rule, however high."""
    scene = Scene(TWO_OF_THREE)
    scene.step(0, scene.hit(0, 400))
    scene.run(1, 60)

    assert scene.told() == []


# ---------------------------------------------------------------- ratio, spike


def test_a_share_of_failures() -> None:
    """6 of 20 are 30 %: above 5 %; later 19 of 20 raise it; it ends with the failures."""
    scene = Scene(RATIO)
    scene.step(0, scene.hit(0, 6), scene.hit(0, 20, watch=1))
    scene.step(5, scene.hit(5, 40), scene.hit(5, 40, watch=1))
    for at in range(6, 60):
        scene.step(at, scene.hit(at, 20, watch=1))

    assert [(t.to_state, t.priority) for t in scene.transitions] == [
        ("firing", "warning"), ("firing", "critical"), ("resolved", "critical"),
    ]  # fmt: skip
    assert scene.transitions[0].reason == "30 % of records in 10s, above 5 %"
    assert scene.transitions[-1].at_us // S - T0 == 15


def test_too_few_records_are_no_share() -> None:
    """One failure of one record says nothing where 10 are asked for."""
    scene = Scene(RATIO)
    scene.step(0, scene.hit(0, 1), scene.hit(0, 1, watch=1))
    scene.run(1, 60)

    assert scene.told() == []


def test_a_spike_against_the_baseline_before() -> None:
    """Four times as many as in the minute before fire; the same load for long does not."""
    scene = Scene(SPIKE)
    for at in range(200):
        scene.step(at, scene.hit(at, 8 if 150 <= at < 165 else 2))
    scene.run(200, 230)

    (fired, over) = scene.transitions
    assert (fired.to_state, over.to_state) == ("firing", "resolved")
    assert 150 <= fired.at_us // S - T0 < 160
    assert fired.reason.endswith("times as many in 10s as the 1m before, above 3")


def test_a_spike_needs_a_baseline() -> None:
    """Right after the rule was applied there is nothing to compare with."""
    scene = Scene(SPIKE)
    for at in range(60):
        scene.step(at, scene.hit(at, 50))
    scene.run(60, 90)

    assert scene.told() == []


@given(
    bursts=st.sets(st.integers(0, 29)),
    steps=st.sets(st.integers(0, 29)),
    n=st.sampled_from([4, 5, 20]),
)
def test_a_spike_is_judged_by_its_time_however_seldom_steps_are_taken(
    bursts: set[int], steps: set[int], n: int
) -> None:
    """Windows of a second: the transitions are those of a step each second, times and numbers too.

    Where steps are far apart, a firing and its end are of one step.
    """
    of_second = SPIKE.replace("10s", "1s").replace("60s", "2s").replace("at_least = 10", "")
    rule = of_second + 'at_least = 5\nlateness = "0s"\n'

    def told(seconds: set[int]) -> list[tuple[str, str, int, str, float | None]]:
        scene = Scene(rule)
        waiting: list[int] = []
        for at in range(30):
            waiting += [at] if at in bursts else []
            if at in seconds | {0}:
                scene.step(at, *[scene.hit(burst, n) for burst in waiting])
                waiting.clear()
        scene.run(30, 40)
        return [(t.from_state, t.to_state, t.at_us, t.reason, t.value) for t in scene.transitions]

    # A last step takes what nobody has evaluated yet.
    assert told({*steps, 29}) == told(set(range(30)))


# ---------------------------------------------------------------- distinct, gauge


def test_different_values_are_counted_once_each() -> None:
    """A thousand records of two users are two; the third user within the window fires."""
    scene = Scene(DISTINCT)
    for at in range(20):
        scene.step(at, scene.hit(at, 50, ("anna",)), scene.hit(at, 50, ("bert",)))
    assert scene.told() == []
    (fired,) = scene.step(20, scene.hit(20, 1, ("carla",)))
    scene.run(21, 60)

    assert fired.reason == "3 values of user in 10s, above 2"
    assert scene.told() == [("inactive", "firing", 20), ("firing", "resolved", 29)]


@pytest.mark.parametrize(
    ("use", "fires"), [("last", False), ("max", True), ("avg", False), ("min", False)]
)
def test_a_gauge_by_its_use(use: str, fires: bool) -> None:
    """One high reading among low ones is a maximum, not an average, and not the last."""
    scene = Scene(GAUGE + f'use = "{use}"\n')
    scene.step(0, scene.hit(0, 3, numbers=(260.0, 10.0, 200.0, 50.0)))
    scene.run(1, 40)

    assert any(t.to_state == "firing" for t in scene.transitions) is fires


def test_a_gauge_keeps_its_state_without_readings() -> None:
    """A high reading fires; silence of the gauge is no recovery; a low reading is."""
    scene = Scene(GAUGE)
    scene.step(0, scene.hit(0, 1, numbers=(150.0, 150.0, 150.0, 150.0)))
    scene.run(1, 60)
    assert scene.told() == [("inactive", "firing", 0)]
    scene.step(60, scene.hit(60, 1, numbers=(70.0, 70.0, 70.0, 70.0)))
    scene.run(61, 80)
    assert len(scene.transitions) == 1
    scene.step(80, scene.hit(80, 1, numbers=(40.0, 40.0, 40.0, 40.0)))
    scene.run(81, 100)

    assert scene.told()[1:] == [("firing", "resolved", 80)]
    assert scene.transitions[0].reason == "last of depth 150 in 10s, above 100"


# ---------------------------------------------------------------- new errors, health


def test_a_new_error_is_told_once() -> None:
    """What was there while the rule learned is known; a new one fires, and not again."""
    scene = Scene(NEW_ERROR)
    scene.step(0, scene.hit(0, 5, ("pay", "timed out")))
    scene.step(100, scene.hit(100, 5, ("pay", "timed out")))
    assert scene.told() == []
    (fired,) = scene.step(101, scene.hit(101, 1, ("pay", "no such order #")))
    scene.run(102, 600, every=5)
    scene.step(600, scene.hit(600, 1, ("pay", "no such order #")))
    scene.run(601, 700, every=5)

    assert fired.labels["error"] == "no such order #"
    assert fired.summary == "new: an error not seen for 2h of service pay, error no such order #"
    assert scene.told() == [("inactive", "firing", 101), ("firing", "resolved", 401)]


def test_an_error_that_was_not_seen_for_long_is_new_again() -> None:
    """After `within` without it, an error is forgotten, and news when it comes back."""
    scene = Scene(NEW_ERROR, restarts=True)
    scene.step(0, scene.hit(0, 5, ("pay", "timed out")))
    scene.run(1, 7_600, every=60)
    (fired,) = scene.step(7_600, scene.hit(7_600, 1, ("pay", "timed out")))

    assert fired.to_state == "firing"


def test_a_component_of_any_kind() -> None:
    """`health` looks at the components of its kind, and at no other."""
    scene = Scene(HEALTH)
    kraken = {"component_kind": "exchange", "component": "kraken", "host": "h1"}
    down = [_component("dead", 1, "timed out", **kraken)]
    scene.step(1, health=[*down, component("dead", 1)])
    scene.step(5, health=[_component("up", 5, "", **kraken)])

    assert [(t.key, t.to_state, t.summary) for t in scene.transitions] == [
        (("kraken", "h1"), "firing", "exchange kraken is dead: timed out"),
        (("kraken", "h1"), "resolved", "exchange kraken is dead: timed out"),
    ]


def _component(state: str, since: float, reason: str, **named: str) -> ComponentState:
    return ComponentState(state=state, since_us=int((T0 + since) * S), reason=reason, **named)


# ---------------------------------------------------------------- composite


def test_a_composite_fires_by_the_states_of_others() -> None:
    """Errors without the others for five seconds fire; when the others come, it ends."""
    scene = Scene(COMPOSITE)
    for at in range(10):
        scene.step(at, scene.hit(at, 4, rule="errors"))
    scene.step(10, scene.hit(10, 4, rule="others"))
    scene.run(11, 40)

    told = [t for t in scene.transitions if t.rule == "errors-alone"]
    assert [(t.from_state, t.to_state, t.at_us // S - T0) for t in told] == [
        ("inactive", "pending", 0),
        ("pending", "firing", 5),
        ("firing", "resolved", 10),
    ]
    assert told[1].reason == "errors fires"
