"""What a rule cannot open or tell apart: one overflow alert, and nothing else moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting import overflow
from tests.alerting.scene import COUNT, Scene, component

if TYPE_CHECKING:
    import pytest

    from outrider_alerting.episodes import Transition

LIMITED = COUNT.replace('"errors"', '"errors"\nby = ["worker"]\nmax_instances = 2')
WORKERS = [f"w{i}" for i in range(10)]
DEAD = """
[[rule]]
name = "died"
kind = "liveness"
states = ["dead"]
max_instances = 1
"""


def _short(transitions: list[Transition]) -> list[tuple[tuple[str, ...], str]]:
    return [(t.key, t.to_state) for t in transitions]


def test_beyond_the_limit_there_is_one_overflow_alert() -> None:
    """Of five keys over the threshold two open and stay; the rest are one alert."""
    scene = Scene(LIMITED, workers=WORKERS)
    told = scene.step(1, *[scene.hit(0, 4, (f"w{i}",)) for i in range(5)])

    assert _short(told) == [(("w0",), "firing"), (("w1",), "firing"), ((), "firing")]
    assert told[2].reason.startswith("more than 2 alerts of this rule would be open")
    assert told[2].labels["overflow"] == "true"
    assert scene.step(2, scene.hit(1, 4, ("w9",))) == []


def test_a_free_place_is_taken_by_who_waited() -> None:
    """When an alert ends, a key whose condition still holds opens in its place."""
    scene = Scene(LIMITED, workers=WORKERS)
    scene.step(0, *[scene.hit(0, 4, (f"w{i}",)) for i in range(3)])
    for at in range(1, 30):
        scene.step(at, scene.hit(at, 4, ("w2",)))

    assert _short(scene.transitions)[-1] == (("w2",), "firing")


def test_the_overflow_alert_ends_when_it_has_been_quiet() -> None:
    """Five minutes after the last excess, the overflow alert ends."""
    scene = Scene(LIMITED, workers=WORKERS)
    scene.step(0, *[scene.hit(0, 4, (f"w{i}",)) for i in range(3)])
    scene.run(1, 500)

    assert sorted(_short(scene.transitions)[3:]) == [
        ((), "resolved"), (("w0",), "resolved"), (("w1",), "resolved"),
    ]  # fmt: skip
    assert scene.transitions[-1].key == ()
    assert scene.state.rules == {}


def test_too_many_keys_in_a_batch_are_one_alert() -> None:
    """An overflow hit raises the overflow alert and opens no key."""
    scene = Scene(LIMITED, workers=WORKERS)
    hit = scene.hit(0, 500, ())
    excess = type(hit)(hits_key=hit.hits_key, key=(), overflow=True, bucket_us=hit.bucket_us, n=500)

    (fired,) = scene.step(1, excess)
    assert (fired.key, fired.reason) == (
        (),
        "more than 1,000 keys in one batch; 500 records beyond them",
    )


def test_too_many_keys_are_not_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of counted keys new ones are overflow; those that were there go on."""
    monkeypatch.setattr(overflow, "MAX_KEYS", 3)
    scene = Scene(LIMITED, workers=WORKERS)
    scene.step(0, *[scene.hit(0, 1, (f"w{i}",)) for i in range(5)])

    assert [t.key for t in scene.transitions] == [()]
    assert _short(scene.step(1, scene.hit(1, 3, ("w0",)))) == [(("w0",), "firing")]


def test_liveness_has_the_same_limit() -> None:
    """Deaths beyond the limit are one alert; the next opens when a place is free."""
    scene = Scene(DEAD)
    scene.step(1, health=[component("dead", 0, worker=f"w{i}") for i in range(3)])
    scene.step(5, health=[component("up", 5, worker="w0")])

    assert _short(scene.transitions) == [
        (("pay", "w0", "h1"), "firing"),
        ((), "firing"),
        (("pay", "w0", "h1"), "resolved"),
        (("pay", "w1", "h1"), "firing"),
    ]


def test_a_death_that_waited_and_is_over_opens_nothing() -> None:
    """A worker that came back while its alert had no place is simply forgotten."""
    scene = Scene(DEAD)
    scene.step(1, health=[component("dead", 0, worker=f"w{i}") for i in range(2)])
    scene.step(2, health=[component("up", 2, worker="w1")])
    scene.step(3, health=[component("up", 3, worker="w0")])

    assert _short(scene.transitions)[-1] == (("pay", "w0", "h1"), "resolved")
    assert list(scene.state.rules) == [("died", ())]


def test_hits_of_unknown_rules_are_counted() -> None:
    """Hits that no active rule wants are reported, and change nothing."""
    scene = Scene()
    stray = Scene(COUNT.replace("severity>=error", "other")).hit(0, 7)
    scene.step(1, stray)

    assert scene.results[-1].dropped_records == 7
    assert scene.state.rules == {}
