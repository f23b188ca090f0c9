"""What results come to, whatever they are: pure, with the clock as a parameter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.probes.board import Board, Change, Key
from outrider.probes.judge import Judge, Verdict, decide
from outrider.probes.result import Result, State
from outrider.probes.spec import Kind, Spec

KIND: Kind[None] = Kind(
    "none", lambda _keys, _networks: None, lambda _spec, _deadline: result("up")
)
SPEC = Spec("shop", KIND, every_s=10.0, timeout_s=5.0, rise=2, fall=3, target=None)
RANKS = ("up", "degraded", "down")
STATES: list[State] = ["up", "degraded", "down", "maintenance", "unknown"]


def result(state: State) -> Result:
    """A look that found this."""
    return Result(state, f"it is {state}", 12.0)


def after(*states: State, spec: Spec[None] = SPEC) -> str:
    """The state after these results, of a new probe."""
    judge = Judge(spec, 0.0, 0.0)
    for i, state in enumerate(states):
        judge.finish(result(state), float(i))
    return judge.verdict.state


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["up"], "up"),
        (["down", "down"], ""),
        (["down", "down", "down"], "down"),
        (["up", "down", "down"], "up"),
        (["up", "down", "down", "down"], "down"),
        (["up", "degraded", "down", "down"], "degraded"),
        (["up", "down", "down", "down", "up"], "down"),
        (["up", "down", "down", "down", "up", "up"], "up"),
        (["up", "down", "down", "down", "degraded", "up"], "degraded"),
        (["up", "down", "down", "up", "down", "down"], "up"),
        (["up", "maintenance"], "maintenance"),
        (["up", "maintenance", "down"], "down"),
        (["up", "unknown", "unknown"], "up"),
        (["up", "unknown", "unknown", "unknown"], "unknown"),
        (["up", "unknown", "unknown", "unknown", "down"], "down"),
        (["up", "down", "down", "unknown", "down"], "up"),
    ],
)
def test_a_state_needs_as_many_results_as_configured(states: list[State], expected: str) -> None:
    """Worse after `fall`, better after `rise`; what is no measurement has rules of its own."""
    assert after(*states) == expected


@given(
    found=st.lists(st.sampled_from(["up", "degraded", "down"]), min_size=1, max_size=12),
    before=st.sampled_from(RANKS),
    rise=st.integers(1, 4),
    fall=st.integers(1, 4),
)
def test_measurements_move_a_state_only_when_all_of_enough_agree(
    found: list[str], before: str, rise: int, fall: int
) -> None:
    """It moves exactly when the last `fall` are all worse or the last `rise` all better."""
    ranks, rank = [RANKS.index(state) for state in found], RANKS.index(before)
    moved = RANKS.index(decide(before, found, rise, fall))

    worse = len(ranks) >= fall and all(one > rank for one in ranks[-fall:])
    better = len(ranks) >= rise and all(one < rank for one in ranks[-rise:])
    assert (moved > rank) == worse and (moved < rank) == better
    if worse:
        assert moved in ranks[-fall:] and moved <= min(ranks[-fall:])
    if better:
        assert moved in ranks[-rise:] and moved >= max(ranks[-rise:])


@given(st.lists(st.sampled_from(STATES), max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_enough_good_results_are_up_whatever_was_before(
    states: list[State], rise: int, fall: int
) -> None:
    """No history keeps a component from coming up."""
    spec = replace(SPEC, rise=rise, fall=fall)
    good: list[State] = ["up"] * max(rise, fall)
    assert after(*states, *good, spec=spec) == "up"


@given(st.lists(st.floats(0.0, 40.0), max_size=40), st.floats(0.0, 1.0))
def test_looks_keep_their_rhythm_and_never_overlap(waits: list[float], phase: float) -> None:
    """Whenever it is asked: each look begins on the grid, after its turn, one at a time."""
    judge = Judge(SPEC, 100.0, phase)
    first_s = judge.due_s
    now = 100.0
    for i, wait in enumerate(waits):
        now += wait
        if now < judge.due_s:
            continue
        was_running = judge.is_running
        assert judge.start(now) == (not was_running)
        assert now < judge.due_s <= now + SPEC.every_s + 1e-6
        turns = (judge.due_s - first_s) / SPEC.every_s
        assert abs(turns - round(turns)) < 1e-6
        if i % 3 and judge.is_running:
            judge.finish(result("up"), now)


def test_no_look_for_two_intervals_and_a_timeout_is_expired() -> None:
    """Also when none ever came; the next result decides, whatever it is."""
    judge = Judge(SPEC, 0.0, 0.0)
    assert judge.expire(24.9).state == ""
    assert judge.expire(25.0) == Verdict("expired", "no look has ended within 25 s")

    judge.finish(result("down"), 30.0)
    assert judge.verdict == Verdict("down", "it is down")
    assert judge.as_of(54.9).state == "down"
    assert judge.as_of(55.0).state == "expired"


def test_a_reason_is_of_a_look_that_found_the_state() -> None:
    """What the last look said of another state does not explain this one."""
    judge = Judge(SPEC, 0.0, 0.0)
    judge.finish(result("up"), 0.0)
    judge.finish(Result("down", "refused"), 1.0)
    assert judge.verdict == Verdict("up", "it is up")

    judge.finish(Result("degraded", "slow"), 2.0)
    judge.finish(Result("down", "refused"), 3.0)
    assert judge.verdict == Verdict("degraded", "the last looks differ: refused")


def board(*specs: Spec[None]) -> Board:
    """A board that looks at these since 0."""
    board = Board("web-1")
    board.configure(specs, 0.0)
    return board


def test_a_board_tells_what_is_new_once() -> None:
    """A first report of all, then only those whose state or reason changed."""
    other = replace(SPEC, name="bank")
    watched = board(SPEC, other)
    assert {r.key.name for r in watched.reports(0.0, everything=False)} == {"shop", "bank"}
    assert watched.reports(0.0, everything=False) == []

    judges = {j.spec.name: j for j in watched.take_due(10.0)}
    change = watched.finish(judges["shop"], result("up"), 10.1)

    assert change == Change(Key("probe", "shop"), "", Verdict("up", "it is up"))
    (report,) = watched.reports(10.5, everything=False)
    assert report.key.name == "shop" and report.verdict.state == "up"
    assert report.checked_ago_s == pytest.approx(0.4) and report.took_ms == 12.0
    assert len(watched.reports(10.5, everything=True)) == 2


def test_a_report_says_expired_though_nobody_has_looked_at_the_clock() -> None:
    """Even where the runner stands still a heartbeat tells the truth; the change is told once."""
    watched = board(SPEC)
    (report,) = watched.reports(25.0, everything=True)
    assert report.verdict.state == "expired" and report.checked_ago_s is None

    assert [c.verdict.state for c in watched.expire(25.0)] == ["expired"]
    assert watched.expire(26.0) == []


def test_what_is_configured_as_before_goes_on_as_before() -> None:
    """Unchanged probes keep their state; the result of a removed one is nobody's."""
    watched = board(SPEC, replace(SPEC, name="gone"))
    judges = {j.spec.name: j for j in watched.take_due(10.0)}
    watched.finish(judges["shop"], result("up"), 10.0)
    watched.configure([SPEC, replace(SPEC, name="new")], 11.0)

    found = {r.key.name: r.verdict.state for r in watched.reports(11.0, everything=True)}
    assert found == {"shop": "up", "new": ""}
    assert watched.finish(judges["gone"], result("down"), 12.0) is None

    watched.configure([replace(SPEC, fall=1)], 13.0)
    assert [r.verdict.state for r in watched.reports(13.0, everything=True)] == [""]


def test_a_minute_of_looks_is_one_sample() -> None:
    """Counted, with percentiles; a component without a look has none."""
    watched = board(SPEC, replace(SPEC, name="bank"))
    assert watched.samples(0.0) == {}
    judge = next(j for j in watched.take_due(10.0) if j.spec.name == "shop")
    for took_ms in (10.0, 20.0, 30.0, 1000.0):
        watched.finish(judge, Result("up", "", took_ms, {"skew_ms": -3.0}), 11.0)
    watched.finish(judge, Result("down", "", 40.0), 12.0)
    assert watched.samples(59.0) == {}

    ((key, minute),) = watched.samples(60.0).items()
    assert key.name == "shop"
    assert minute.attributes() == {
        "n": 5, "failed": 1, "p50_ms": 30.0, "p95_ms": 1000.0, "max_ms": 1000.0, "skew_ms": -3.0,
    }  # fmt: skip
    assert watched.samples(120.0) == {}
