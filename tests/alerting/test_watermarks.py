"""The quorum: what an end may be concluded from, and without whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.watermarks import Answer, Scope, assess, combined
from tests.alerting.scene import COUNT, T0, S, Scene, source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider_alerting.watermarks import Source

BY_WORKER = COUNT.replace('"errors"', '"errors"\nby = ["service", "worker"]')


def _answer(
    sources: list[Source], now: float, *, marks: Mapping[str, int] | None = None,
    scope: Scope = Scope("pay"),  # noqa: B008  an immutable tuple
) -> Answer:  # fmt: skip
    return assess(sources, marks or {}, now_us=int((T0 + now) * S)).answer(scope)


def test_the_slowest_source_decides() -> None:
    """A service is complete up to the least watermark of its sources."""
    sources = [source(90, 100), source(70, 100, worker="w2", agent=2)]

    assert _answer(sources, 100) == Answer(until_us=(T0 + 70) * S)


def test_a_source_too_far_behind_leaves_and_is_named() -> None:
    """Past its limit a source no longer holds the others up, and the answer says who is missing."""
    sources = [source(990, 1000), source(600, 1000, worker="w2", agent=2)]

    assert _answer(sources, 1000) == Answer(until_us=(T0 + 990) * S, without=("pay/w2@h2",))


def test_a_silent_source_leaves_even_if_it_was_complete() -> None:
    """A source that is not heard from leaves, whatever its last watermark."""
    sources = [source(990, 1000), source(985, 930, worker="w2", agent=2)]

    assert _answer(sources, 1000).without == ("pay/w2@h2",)


def test_with_no_source_left_it_cannot_tell() -> None:
    """When every source has left, there is no time, only when the last one was heard from."""
    sources = [source(100, 120), source(100, 150, worker="w2", agent=2)]

    answer = _answer(sources, 1000)
    assert (answer.until_us, answer.last_seen_us) == (None, (T0 + 150) * S)


def test_a_source_comes_back_when_it_has_caught_up() -> None:
    """Who left the quorum counts again from the moment its watermark reaches the quorum's."""
    marks = {"pay": (T0 + 990) * S}
    behind = [source(995, 1000), source(980, 1000, worker="w2", agent=2)]
    caught_up = [source(999, 1004), source(991, 1004, worker="w2", agent=2)]

    assert _answer(behind, 1000, marks=marks).without == ("pay/w2@h2",)
    assert _answer(caught_up, 1004, marks=marks) == Answer(until_us=(T0 + 991) * S)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 120)), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_quorum_time_never_moves_back(
    moments: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    """Whatever sources do, the time up to which a service is complete only grows."""
    now = 1000
    marks: Mapping[str, int] = {}
    last: int | None = None
    for passed, states in moments:
        now += passed
        sources = [
            source(now - behind, now - unheard, worker=f"w{i}", agent=i)
            for i, (behind, unheard) in enumerate(states)
        ]
        quorum = assess(sources, marks, now_us=(T0 + now) * S)
        marks = quorum.marks
        until = quorum.answer(Scope("pay")).until_us
        if until is not None:
            assert last is None or until >= last
            last = until


def test_scopes_narrow_down_to_a_worker() -> None:
    """A worker's own sources decide for it; another service's do not matter."""
    sources = [
        source(90, 100),
        source(70, 100, worker="w2", agent=2),
        source(10, 100, service="etl", worker="w1", agent=3),
    ]

    assert _answer(sources, 100, scope=Scope("pay", "w1")).until_us == (T0 + 90) * S
    assert _answer(sources, 100, scope=Scope()).until_us == (T0 + 10) * S
    assert _answer(sources, 100, scope=Scope("none")).gone


def test_several_scopes_are_as_complete_as_the_least() -> None:
    """For a filter on two services the slower one decides, and one that is gone does not."""
    one, two = Answer(until_us=5, without=("a",)), Answer(until_us=3, without=("b",))

    assert combined([one, two]) == Answer(until_us=3, without=("a", "b"))
    assert combined([one, Answer(gone=True)]) == Answer(until_us=5, without=("a",))
    assert combined([Answer(gone=True)]).gone


def test_a_source_behind_delays_the_end() -> None:
    """An alert does not end while a source within its limits could still bring records."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    for at in range(1, 200):
        scene.step(at, sources=[source(at, at), source(12, at, worker="w2", agent=2)])

    assert scene.told() == [("inactive", "firing", 0)]
    scene.step(200, sources=[source(200, 200), source(22, 200, worker="w2", agent=2)])
    assert scene.told()[1:] == [("firing", "resolved", 10)]


def test_an_end_names_whom_it_was_concluded_without() -> None:
    """An end that is concluded without a silent source says so."""
    scene = Scene()
    silent = source(0, 0, worker="w2", agent=2)
    scene.step(0, scene.hit(0, 4), sources=[source(0, 0), silent])
    for at in range(1, 70):
        scene.step(at, sources=[source(at, at), silent])

    over = scene.transitions[-1]
    assert (over.to_state, over.without) == ("resolved", ("pay/w2@h2",))
    assert scene.transitions[0].without == ()


def test_a_key_of_a_silent_worker_freezes() -> None:
    """The alert of a worker whose only source is silent stays, though others live."""
    scene = Scene(BY_WORKER)
    gone = source(5, 5, worker="w2", agent=2)
    hits = (scene.hit(0, 4, ("pay", "w1")), scene.hit(0, 4, ("pay", "w2")))
    scene.step(5, *hits, sources=[source(5, 5), gone])
    for at in range(6, 400):
        scene.step(at, sources=[source(at, at), gone])

    assert [(t.to_state, t.key) for t in scene.transitions] == [
        ("firing", ("pay", "w1")),
        ("firing", ("pay", "w2")),
        ("resolved", ("pay", "w1")),
    ]
    stale = [change for result in scene.results for change in result.stale]
    assert [(c.key, c.stale, c.since_us) for c in stale if c.key[1] == "w2"] == [
        (("pay", "w2"), True, (T0 + 5) * S)
    ]


def test_a_frozen_key_ends_with_the_right_time_when_its_source_returns() -> None:
    """After a long silence the end is dated where the window really emptied."""
    scene = Scene(BY_WORKER)
    gone = source(2, 2, worker="w1")
    scene.step(0, scene.hit(0, 4, ("pay", "w1")), sources=[source(0, 0)])
    for at in range(10, 3000, 10):
        scene.step(at, sources=[gone])
    scene.step(3000, scene.hit(5, 1, ("pay", "w1")), sources=[source(3000, 3000)])
    scene.step(3001, sources=[source(3001, 3001)])

    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 10)]


def test_a_key_nothing_has_come_from_for_a_day_is_closed_as_gone() -> None:
    """When a worker's sources are out of scope altogether, its alert is withdrawn, not resolved."""
    scene = Scene(BY_WORKER)
    scene.step(0, scene.hit(0, 4, ("pay", "w1")), sources=[source(0, 0)])
    day = 24 * 3600
    assert scene.step(day - 1, sources=[source(day - 1, day - 1, worker="w9")]) == []
    scene.step(day + 1, sources=[source(day + 1, day + 1, worker="w9")])

    over = scene.transitions[-1]
    assert over.to_state == "resolved"
    assert over.reason == "withdrawn: nothing has come from there for 24 hours"


def test_a_window_pinned_to_a_service_waits_only_for_it() -> None:
    """A rule on one service is not held up by the backlog of another."""
    scene = Scene(COUNT.replace("severity>=error", "service:pay severity>=error"))
    scene.step(0, scene.hit(0, 4))
    for at in range(1, 40):
        scene.step(at, sources=[source(at, at), source(0, at, service="etl", agent=2)])

    assert scene.told() == [("inactive", "firing", 0), ("firing", "resolved", 10)]
