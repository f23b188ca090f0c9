"""Counting: thresholds, window edges, late records, `for`, `resolve` and `keep_firing_for`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.durations import Duration
from outrider_alerting.kinds import CountRule
from outrider_alerting.terms import MAX_BUCKETS_A_WINDOW, threshold
from tests.alerting.scene import COUNT, T0, S, Scene, rules, source

MATCH = """
[[rule]]
name = "fatal"
kind = "match"
filter = "severity>=fatal"
keep_firing_for = "20s"
"""

WITH_RESOLVE = COUNT + "resolve = 1\n"
WITH_FOR = COUNT + 'for = "5s"\n'
WITH_KEEP = COUNT + 'keep_firing_for = "6s"\n'


def test_at_the_threshold_it_stays_quiet_and_one_more_fires() -> None:
    """`above = 3` is strict: three records never fire, the fourth always does."""
    scene = Scene()

    assert scene.step(1, scene.hit(0, 3)) == []
    assert [t.to_state for t in scene.step(2, scene.hit(1))] == ["firing"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 6))
def test_fires_exactly_when_some_window_holds_more(seconds: list[int], above: int) -> None:
    """Whatever comes when, there is a firing if and only if one window position holds too many."""
    scene = Scene(COUNT.replace("above = 3", f"above = {above}"))
    for second in sorted(seconds):
        scene.step(second, scene.hit(second))
    fullest = max(sum(at - 10 < s <= at for s in seconds) for at in range(60))

    assert any(t.to_state == "firing" for t in scene.transitions) == (fullest > above)


def test_a_record_one_window_after_another_is_not_counted_with_it() -> None:
    """The window is half open: second 0 and second 10 are never in one window of 10 s."""
    apart, together = Scene(), Scene()

    assert apart.step(10, apart.hit(0, 2), apart.hit(10, 2)) == []
    assert [t.to_state for t in together.step(10, together.hit(1, 2), together.hit(10, 2))] == [
        "firing"
    ]


def test_ends_when_the_window_has_emptied_and_the_watermark_has_passed() -> None:
    """The end is dated by the window, and concluded once watermark and lateness have passed it."""
    scene = Scene()
    scene.step(2, scene.hit(0, 4))

    assert scene.run(3, 21) == []
    (over,) = scene.step(21)
    assert (over.to_state, over.at_us) == ("resolved", (T0 + 10) * S)


def test_separate_resolve_threshold() -> None:
    """With `resolve = 1` an alert goes on while two records are in the window."""
    scene = Scene(WITH_RESOLVE)
    scene.step(0, scene.hit(0, 4))
    for at in range(1, 30):
        scene.step(at, *([scene.hit(at)] if at in {5, 9} else []))

    # Second 10: 5 and 9 are left, two. Second 15: only 9 is left.
    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 15)]


def test_for_needs_the_condition_without_a_break() -> None:
    """`for = 5s` fires five seconds after the condition began, by the clock if nothing comes."""
    scene = Scene(WITH_FOR)
    scene.step(0, scene.hit(0, 4))

    assert scene.step(4) == []
    assert scene.step(5) != []
    assert scene.told() == [("inactive", "pending", 0), ("pending", "firing", 5)]


def test_for_that_is_not_reached_is_never_firing() -> None:
    """A condition that ends before `for` has passed leaves a closed episode that never fired."""
    scene = Scene(WITH_FOR.replace('"10s"', '"3s"'))
    scene.step(0, scene.hit(0, 4))
    scene.run(1, 30)

    assert scene.told() == [("inactive", "pending", 0), ("pending", "resolved", 3)]
    assert all(t.fired_us is None for t in scene.transitions)


def test_for_survives_a_restart() -> None:
    """A process that takes over at second 4 of `for = 5s` fires at second 5."""
    scene = Scene(WITH_FOR, restarts=True)
    scene.step(0, scene.hit(0, 4))
    scene.step(4)

    assert [t.to_state for t in scene.step(5)] == ["firing"]


def test_keep_firing_for_bridges_a_pause() -> None:
    """With `keep_firing_for` the alert recovers first and goes back to firing without a new one."""
    scene = Scene(WITH_KEEP)
    scene.step(0, scene.hit(0, 4))
    for at in range(1, 60):
        scene.step(at, *([scene.hit(13, 4)] if at == 13 else []))

    assert scene.told() == [
        ("inactive", "firing", 0),
        ("firing", "recovering", 10),
        ("recovering", "firing", 13),
        ("firing", "recovering", 23),
        ("recovering", "resolved", 29),
    ]
    assert {t.fired_us for t in scene.transitions} == {T0 * S}


def test_match_fires_at_once_and_stays_one_alert_while_records_come() -> None:
    """One matching record fires; the alert ends when the quiet time has passed without another."""
    scene = Scene(MATCH)
    for at in range(90):
        scene.step(at, *([scene.hit(at)] if at in {0, 15, 30} else []))

    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 50)]


def test_a_long_firing_says_nothing_by_itself() -> None:
    """While the condition simply goes on, nothing is told again."""
    scene = Scene()
    for at in range(300):
        scene.step(at, scene.hit(at))

    assert scene.told() == [("inactive", "firing", 3)]


def test_late_records_count_in_their_own_window() -> None:
    """Two hours late, a burst is one alert with its own times, fired and resolved at once."""
    scene = Scene()
    scene.run(0, 10)
    late = [scene.hit(-7200 + i, 2) for i in range(5)]

    scene.step(10, *late)

    assert scene.told() == [("inactive", "firing", -7199), ("firing", "resolved", -7187)]


def test_late_bursts_of_one_key_are_one_alert() -> None:
    """However often a condition came and went in what arrives late, it is told once."""
    scene = Scene()
    late = [scene.hit(-7200 + 100 * i, 5) for i in range(20)]

    scene.step(10, *late)
    scene.run(11, 30)

    assert scene.told() == [("inactive", "firing", -7200), ("firing", "resolved", -5290)]


def test_late_records_are_not_counted_with_those_of_now() -> None:
    """A late record and a record of now are not in one window."""
    scene = Scene()

    assert scene.step(10, scene.hit(-7200, 3), scene.hit(10, 3)) == []


def test_late_records_that_lengthen_the_past_say_nothing() -> None:
    """A record that belongs to an episode that is over does not raise another one."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.run(1, 40)
    before = scene.told()

    scene.step(40, scene.hit(4, 4))
    scene.run(41, 60)

    assert scene.told() == before


def test_late_records_that_still_hold_fire() -> None:
    """Where late records make the condition hold now, the alert fires now, with its own start."""
    scene = Scene(WITH_RESOLVE.replace('"10s"', '"60s"'))
    scene.run(0, 20)
    (fired,) = scene.step(20, scene.hit(5, 4))

    assert (fired.to_state, fired.started_us) == ("firing", (T0 + 5) * S)


def test_order_of_arrival_does_not_matter() -> None:
    """The same records in another order within a step give the same transitions."""
    forward, backward = Scene(), Scene()
    forward.step(9, *[forward.hit(i) for i in range(8)])
    backward.step(9, *[backward.hit(i) for i in reversed(range(8))])

    assert forward.told() == backward.told()


def test_a_record_ahead_of_the_clock_is_dated_now() -> None:
    """A bucket a little in the future fires now, not in the future."""
    scene = Scene()

    (fired,) = scene.step(10, scene.hit(40, 4))

    assert fired.at_us == (T0 + 10) * S


@pytest.mark.parametrize("more", ["", 'for = "5s"\n', 'for = "10s"\n'])
@given(
    arrivals=st.lists(
        st.lists(st.tuples(st.integers(-20, 30), st.integers(1, 30)), max_size=4), max_size=20
    )
)
@settings(max_examples=60, deadline=None)
def test_the_numbers_of_a_firing_are_those_that_made_it_true(
    more: str, arrivals: list[list[tuple[int, int]]]
) -> None:
    """However late records come, or ahead of the clock: what is told is above what it names."""
    scene = Scene(COUNT.replace("above = 3", "above = { warning = 3, critical = 20 }") + more)
    for at, batch in enumerate(arrivals, 30):
        scene.step(at, *(scene.hit(at + off, n) for off, n in batch))

    for told in scene.transitions:
        if told.to_state in {"pending", "firing"}:
            assert told.value is not None
            assert told.threshold is not None
            assert told.value > told.threshold
            assert f"{told.value:,.0f} records in 10s" in told.reason
            limit = 20 if told.priority == "critical" else 3
            assert told.reason.endswith(f", above {limit}")


def test_a_burst_ahead_of_the_clock_is_told_with_its_own_numbers() -> None:
    """Records of the next seconds: what is counted so far is not what the rule has found."""
    scene = Scene(COUNT)
    (fired,) = scene.step(1, *(scene.hit(at) for at in (1, 4, 5, 6)))

    assert (fired.value, fired.reason) == (4, "4 records in 10s, above 3")
    assert fired.summary == "errors: 4 records in 10s, above 3"


def test_evidence_is_the_newest_of_the_window() -> None:
    """A firing names the newest records of its window, as many as the rule wants."""
    scene = Scene(COUNT + "evidence = 2\n")
    (fired,) = scene.step(5, *[scene.hit(i, first=i) for i in range(4)])

    assert fired.evidence == ((1, 2), (1, 3))


def test_values_and_words() -> None:
    """A transition carries count, threshold, reason and a filled-in summary."""
    scene = Scene(
        COUNT.replace('"errors"', '"errors"\nby = ["service"]')
        + 'summary = "{count} in {window} of {service}, {{limit}} {threshold}"\n'
    )
    (fired,) = scene.step(5, scene.hit(0, 1234, ("pay",)))

    assert fired.summary == "1,234 in 10s of pay, {limit} 3"
    assert (fired.value, fired.threshold) == (1234.0, 3.0)
    assert fired.reason == "1,234 records in 10s, above 3"
    assert fired.labels == {
        "service": "pay", "rule": "errors", "kind": "count", "priority": "warning",
    }  # fmt: skip


def test_two_rules_of_one_filter_share_their_hits() -> None:
    """A hit counts for every rule with its filter and `by`, each with its own threshold."""
    scene = Scene(COUNT + COUNT.replace('"errors"', '"many"').replace("above = 3", "above = 9"))

    assert [t.rule for t in scene.step(1, scene.hit(0, 5))] == ["errors"]
    assert [t.rule for t in scene.step(2, scene.hit(1, 5))] == ["many"]


@pytest.mark.parametrize("window", ["1s", "10m", "11m", "1h", "5h7m", "24h"])
def test_long_windows_are_coarse_but_never_too_long(window: str) -> None:
    """A window of any length has at most 600 buckets and never counts more than its length."""
    rule = rules(COUNT.replace("10s", window)).rules[0]
    assert isinstance(rule, CountRule)
    spec = threshold(rule)

    assert spec.window_s % spec.step_s == 0
    assert spec.window_s // spec.step_s <= MAX_BUCKETS_A_WINDOW
    assert spec.window_s <= Duration(window).us // S
    assert spec.window_s >= Duration(window).us // S * 0.99


def test_long_window_fires_and_ends() -> None:
    """Coarse buckets keep the threshold exact within the window."""
    scene = Scene(COUNT.replace("10s", "1h"))
    for at in range(0, 3000, 900):
        scene.step(at, scene.hit(at))
    scene.run(3000, 4000, every=50)

    assert scene.told() == [("inactive", "firing", 2700), ("firing", "resolved", 3600)]


def test_state_of_quiet_keys_is_forgotten() -> None:
    """A key without an alert is dropped when its records cannot matter any more."""
    scene = Scene()
    scene.step(0, scene.hit(0))
    scene.run(1, 500, every=30)

    assert scene.state.rules == {}


def test_no_source_no_end() -> None:
    """Without a single watermark an alert stays as it is and is marked stale."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4), sources=[source(None, 0)])
    for at in range(1, 100):
        scene.step(at, sources=[source(None, at)])

    assert scene.told() == [("inactive", "firing", 0)]
    assert [change.stale for result in scene.results for change in result.stale] == [True]


@pytest.mark.parametrize("above", [3, 10_000])
def test_state_of_a_busy_key_stays_small(above: int) -> None:
    """A key with a record every second, firing or not, keeps little more than its window."""
    scene = Scene(COUNT.replace("above = 3", f"above = {above}"))
    for at in range(400):
        scene.step(at, scene.hit(at))
        (state,) = scene.state.rules.values()
        assert len(state.buckets) <= 70
        assert len(state.encode()) < 1_500
