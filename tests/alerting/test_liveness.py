"""Liveness rules: from the state of a component to an alert."""

from __future__ import annotations

from outrider_alerting.components import ComponentState
from tests.alerting.scene import T0, S, Scene, component

DEAD = """
[[rule]]
name = "died"
kind = "liveness"
states = ["dead"]
priority = "critical"
"""

SILENT = """
[[rule]]
name = "silent"
kind = "liveness"
states = ["silent", "dead"]
for = "15s"
keep_firing_for = "10s"
"""


def test_a_death_fires_at_once_and_ends_with_the_return() -> None:
    """A dead worker is an alert at once; it ends when the worker is up again."""
    scene = Scene(DEAD)
    (fired,) = scene.step(6, health=[component("dead", 5, reason="killed by SIGKILL")])
    (over,) = scene.step(9, health=[component("up", 8)])

    assert scene.told() == [("inactive", "firing", 5), ("firing", "resolved", 8)]
    assert fired.summary == "w1 is dead: killed by SIGKILL"
    assert fired.labels["worker"] == "w1"
    assert fired.labels["state"] == "dead"
    assert over.reason == "up now"


def test_told_twice_is_told_once() -> None:
    """States that are told again change nothing."""
    scene = Scene(DEAD)
    for at in range(5):
        scene.step(at, health=[component("dead", 0)])
    scene.step(6, health=[component("up", 6)])
    scene.step(7, health=[component("up", 6)])

    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 6)]


def test_death_and_return_within_one_step_are_both_told() -> None:
    """A worker that died and came back between two steps leaves an alert, never silence."""
    scene = Scene(DEAD)
    scene.step(5, health=[component("dead", 2.0), component("up", 2.5)])

    assert scene.told() == [("inactive", "firing", 2.0), ("firing", "resolved", 2.5)]


def test_for_runs_on_the_clock() -> None:
    """`for` passes without any further input."""
    scene = Scene(SILENT, restarts=True)
    scene.step(0, health=[component("silent", 0)])

    assert scene.run(1, 15) == []
    scene.step(15)
    assert scene.told() == [("inactive", "pending", 0), ("pending", "firing", 15)]


def test_for_that_had_passed_by_the_return_is_told() -> None:
    """Silent for longer than `for`, seen only afterwards: an alert that fired and ended."""
    scene = Scene(SILENT.replace('keep_firing_for = "10s"', ""))
    scene.step(40, health=[component("silent", 0), component("up", 30)])

    assert scene.told() == [
        ("inactive", "pending", 0),
        ("pending", "firing", 15),
        ("firing", "resolved", 30),
    ]


def test_a_short_silence_never_fires() -> None:
    """A silence shorter than `for` closes without having fired."""
    scene = Scene(SILENT)
    scene.step(0, health=[component("silent", 0)])
    scene.step(9, health=[component("up", 8)])

    assert scene.told() == [("inactive", "pending", 0), ("pending", "resolved", 8)]


def test_another_of_its_states_is_the_same_alert() -> None:
    """Silent, then dead: one alert."""
    scene = Scene(SILENT)
    scene.step(20, health=[component("silent", 0)])
    scene.step(30, health=[component("dead", 29)])

    assert [t.to_state for t in scene.transitions] == ["pending", "firing"]


def test_keep_firing_for_bridges_a_short_return() -> None:
    """A worker that comes and goes within `keep_firing_for` stays one alert."""
    scene = Scene(SILENT)
    scene.step(20, health=[component("silent", 0)])
    scene.step(25, health=[component("up", 25)])
    scene.step(30, health=[component("silent", 30)])
    scene.step(40, health=[component("up", 40)])
    scene.run(41, 60)

    assert scene.told()[1:] == [
        ("pending", "firing", 15),
        ("firing", "recovering", 25),
        ("recovering", "firing", 30),
        ("firing", "recovering", 40),
        ("recovering", "resolved", 50),
    ]


def test_unknown_says_nothing() -> None:
    """While nobody could look, no alert begins or ends."""
    scene = Scene(DEAD)
    scene.step(0, health=[component("unknown", 0)])
    scene.step(1, health=[component("dead", 1)])
    scene.step(2, health=[component("unknown", 2)])

    assert scene.told() == [("inactive", "firing", 1)]


def test_retired_ends_at_once() -> None:
    """A worker that is retired ends its alert without `keep_firing_for`."""
    scene = Scene(SILENT)
    scene.step(20, health=[component("silent", 0)])
    (over,) = scene.step(22, health=[component("retired", 22)])

    assert (over.to_state, over.reason) == ("resolved", "retired now")


def test_the_filter_chooses_by_service_worker_and_host() -> None:
    """A liveness rule looks only at the components its filter matches."""
    scene = Scene(DEAD + 'filter = "service:pay -worker:w2"\n')
    scene.step(
        1,
        health=[
            component("dead", 0, worker="w1"),
            component("dead", 0, worker="w2"),
            component("dead", 0, service="etl"),
        ],
    )

    assert [t.key for t in scene.transitions] == [("pay", "w1", "h1")]


def test_agents_are_looked_at_by_rules_of_agents() -> None:
    """`of = "agent"` concerns agents alone, under host and agent id."""
    scene = Scene(DEAD + 'of = "agent"\n')
    agent = ComponentState(
        component_kind="agent", component="7", host="h1", state="dead", since_us=T0 * S
    )
    (fired,) = scene.step(1, health=[component("dead", 0), agent])

    assert fired.key == ("h1", "7")
    assert fired.summary == "the agent on h1 is dead"


def test_nothing_is_kept_of_healthy_components() -> None:
    """A component without an alert has no state in the engine."""
    scene = Scene(DEAD)
    scene.step(1, health=[component("dead", 0)])
    scene.step(2, health=[component("up", 2), component("up", 2, worker="w2")])

    assert scene.state.rules == {}
