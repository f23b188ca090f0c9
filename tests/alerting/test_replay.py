"""Determinism: restarts, replays and batch boundaries change no transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.engine import step
from outrider_alerting.state import JOB_EVENTS, EngineState
from tests.alerting.scene import Scene, component, source

if TYPE_CHECKING:
    from outrider_alerting.episodes import Transition

RULES = """
[[rule]]
name = "burst"
kind = "count"
filter = "severity>=error"
by = ["service", "worker"]
window = "8s"
above = 3
resolve = 1
max_instances = 2

[[rule]]
name = "lasting"
kind = "count"
filter = "severity>=warn"
window = "6s"
above = 2
for = "3s"
keep_firing_for = "4s"

[[rule]]
name = "seen"
kind = "match"
filter = "needle"
by = ["worker"]
keep_firing_for = "5s"

[[rule]]
name = "dead"
kind = "liveness"
states = ["silent", "dead"]
for = "4s"
keep_firing_for = "3s"

[[rule]]
name = "few"
kind = "count"
filter = "severity>=warn"
window = "5s"
below = { warning = 3, critical = 1 }
of = [1, 2]
for = "2s"

[[rule]]
name = "absent"
kind = "absence"
filter = "needle"
by = ["worker"]
window = "6s"
max_instances = 1

[[rule]]
name = "share"
kind = "ratio"
filter = "severity>=error"
of = "service:pay"
window = "8s"
above = { warning = 0.2, critical = 0.8 }
at_least = 2
keep_firing_for = "4s"

[[rule]]
name = "spike"
kind = "spike"
filter = "severity>=warn"
window = "4s"
baseline = "12s"
above = 1.5
at_least = 2

[[rule]]
name = "users"
kind = "distinct"
filter = "needle"
field = "worker"
window = "5s"
above = { info = 1, critical = 2 }

[[rule]]
name = "new"
kind = "new_error"
within = "1h"
learn = "2s"
keep_firing_for = "4s"

[[rule]]
name = "job"
kind = "schedule"
filter = "service:pay"
cron = "* * * * *"
grace = "5s"
max_runtime = "20s"

[[rule]]
name = "both"
kind = "composite"
all = ["lasting"]
any = ["few", "share"]
none = ["dead"]
for = "2s"
keep_firing_for = "2s"
"""
EDITED = RULES.replace("above = 3", "above = 4").replace("needle", "nail").replace("4s", "2s")
WORKERS = ("w1", "w2", "w3")


FROZEN = ("burst", "seen", "absent", "share", "new", "job", "dead")
KEYED = ("burst", "seen", "users", "new")


class Act(NamedTuple):
    """What happens before one step."""

    passed: float
    hits: tuple[tuple[str, int, int, int], ...]
    """(rule, seconds ago, n, worker)."""
    health: tuple[tuple[str, int], ...]
    behind: tuple[int, int, int]
    """How far each worker's watermark is behind; 400: it is silent."""
    edit: bool
    freeze: bool


acts = st.lists(
    st.builds(
        Act,
        st.sampled_from((0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 30.0)),
        st.lists(
            st.tuples(
                st.sampled_from((*KEYED, "lasting", "share", "share of", "job")),
                st.sampled_from((0, 0, 0, 1, 3, 7, 40, 3000)),
                st.integers(1, 5),
                st.integers(0, 2),
            ),
            max_size=4,
        ).map(tuple),
        st.lists(
            st.tuples(st.sampled_from(("up", "silent", "dead", "unknown")), st.integers(0, 2)),
            max_size=2,
        ).map(tuple),
        st.tuples(*[st.sampled_from((0, 0, 0, 5, 20, 400))] * 3),
        st.just(False) | st.sampled_from((False, False, False, True)),
        st.just(False) | st.sampled_from((False, False, False, True)),
    ),
    min_size=1,
    max_size=25,
)


def play(script: list[Act], *, restarts: bool) -> Scene:
    """Act the script out."""
    scene = Scene(RULES, restarts=restarts)
    now, edited = 0.0, False
    for act in script:
        now += act.passed
        if act.edit:
            edited = not edited
            scene.apply_rules(EDITED if edited else RULES)
        if act.freeze:
            scene.freeze(*FROZEN)
        hits = [
            scene.hit(
                now - ago,
                n,
                _key(rule, WORKERS[w]),
                rule=rule.partition(" ")[0],
                first=len(scene.steps),
                watch=int(rule == "share of"),
            )
            for rule, ago, n, w in act.hits
        ]
        sources = [
            source(now - behind, now - behind, worker=worker, agent=i)
            for i, (worker, behind) in enumerate(zip(WORKERS, act.behind, strict=True))
        ]
        health = [component(state, now, worker=WORKERS[w]) for state, w in act.health]
        scene.step(now, *hits, sources=sources, health=health)
    return scene


def _key(rule: str, worker: str) -> tuple[str, ...]:
    if rule == "job":
        return (tuple(JOB_EVENTS)[WORKERS.index(worker)],)
    if rule in {"burst", "new"}:
        return ("pay", worker)
    return (worker,) if rule in KEYED else ()


def as_bytes(transitions: list[Transition]) -> bytes:
    """The stored form of transitions."""
    return msgspec.json.encode(transitions)


@settings(max_examples=60, deadline=None)
@given(acts)
def test_restarts_change_nothing(script: list[Act]) -> None:
    """A process that takes over after every single step tells the same, byte for byte."""
    through, restarted = play(script, restarts=False), play(script, restarts=True)

    assert as_bytes(restarted.transitions) == as_bytes(through.transitions)
    assert restarted.results[-1].changed == through.results[-1].changed
    assert restarted.state.rules == through.state.rules


@settings(max_examples=60, deadline=None)
@given(acts)
def test_replay_of_the_recorded_steps_equals_live(script: list[Act]) -> None:
    """Inputs, clock and recorded answers of the steps that had any give the same transitions."""
    live = play(script, restarts=False)
    replayed: list[Transition] = []
    state = EngineState()
    for (inputs, now_us, quorum, version), result in zip(live.steps, live.results, strict=True):
        first_of_version = state.general.rule_set != version
        inputs_or_moves = inputs.hits or inputs.health or result.transitions or result.moved
        if not (inputs_or_moves or first_of_version):
            continue
        again = step(state, inputs, now_us=now_us, program=live.programs[version], quorum=quorum)
        state.apply(again.changed, again.general)
        replayed.extend(again.transitions)

    assert as_bytes(replayed) == as_bytes(live.transitions)


@settings(max_examples=60, deadline=None)
@given(acts, st.integers(0, 24))
def test_a_step_that_was_rolled_back_leaves_no_trace(script: list[Act], at: int) -> None:
    """Taking a step and throwing its result away changes nothing that follows."""
    scene = play(script[:at], restarts=False)
    before = dict(scene.state.rules), set(scene.state.active), dict(scene.state.instances)
    whole = play(script, restarts=False)
    inputs, now_us, quorum, version = whole.steps[-1]

    step(scene.state, inputs, now_us=now_us, program=whole.programs[version], quorum=quorum)

    after = dict(scene.state.rules), set(scene.state.active), dict(scene.state.instances)
    assert after == before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_batch_boundaries_change_no_transition(
    stream: list[tuple[int, int]], cuts: list[bool]
) -> None:
    """Records that come in order are told alike, in one feed batch or in many."""
    one, many = Scene(RULES), Scene(RULES)
    at = 0
    for index, (passed, n) in enumerate(stream):
        at += passed
        held = [source(at - 1, at)]
        hits = [s.hit(at, n, rule="lasting") for s in (one, many)]
        one.step(at, hits[0], sources=held)
        for part in range(n if cuts[index] else 1):
            size = 1 if cuts[index] else n
            many.step(at, many.hit(at, size, rule="lasting", first=part), sources=held)
    for scene in (one, many):
        scene.run(at + 1, at + 40)

    assert many.told() == one.told()


def test_the_state_survives_json() -> None:
    """What is stored of a busy engine reads back equal."""
    scene = Scene(RULES, workers=WORKERS)
    scene.step(
        1,
        scene.hit(0, 5, ("pay", "w1"), rule="burst"),
        scene.hit(0, 1, ("wörker \u202e<b>",), rule="seen"),
        health=[component("dead", 0)],
    )
    before = dict(scene.state.rules)
    scene.restart()

    assert scene.state.rules == before
    assert scene.state.active == {address for address, s in before.items() if s.is_active}
