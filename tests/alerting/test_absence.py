"""Rules that wait for the watermarks: what does not come, or comes too seldom."""

from __future__ import annotations

from tests.alerting.scene import COUNT, T0, S, Scene, source

BELOW = COUNT.replace("above = 3", "below = 3")
ABSENCE = """
[[rule]]
name = "no-orders"
kind = "absence"
filter = "event:order.filled"
window = "60s"
"""


def test_below_is_concluded_by_the_watermark_alone() -> None:
    """Fewer than three in a window fires when the sources are complete past it, dated by it."""
    scene = Scene(BELOW)
    for at in range(40):
        scene.step(at, scene.hit(at))
    scene.run(40, 70)
    assert scene.told() == [("inactive", "firing", 47)]
    assert scene.transitions[0].reason == "2 records in 10s, fewer than 3"

    for at in range(70, 100):
        scene.step(at, scene.hit(at))
    assert scene.told()[1:] == [("firing", "resolved", 72)]


def test_absence_is_never_concluded_from_lag() -> None:
    """While the watermark stands still nothing is missing, however long nothing comes."""
    scene = Scene(ABSENCE)
    scene.step(0, scene.hit(0))
    for at in range(1, 250):
        scene.step(at, sources=[source(30, at)])
    assert scene.told() == []

    # The records were there all the time.
    scene.step(250, *[scene.hit(at) for at in range(30, 250, 10)], sources=[source(250, 250)])
    assert scene.told() == []


def test_absence_of_what_never_came_at_all() -> None:
    """A rule whose filter has never matched anything fires one window after it was applied."""
    scene = Scene(ABSENCE)
    scene.run(0, 100)

    assert scene.told() == [("inactive", "firing", 60)]
    assert scene.transitions[0].reason == "no records in 1m, fewer than 1"


def test_absence_is_one_episode_and_ends_with_the_first_record() -> None:
    """However long nothing comes it is one alert; the first record ends it."""
    scene = Scene(ABSENCE)
    scene.run(0, 400, every=5)
    scene.step(400, scene.hit(400))
    scene.run(401, 420)

    assert scene.told() == [("inactive", "firing", 60), ("firing", "resolved", 400)]


def test_absence_by_key_watches_what_was_seen() -> None:
    """With `by`, each worker that was seen is watched; one that stops is told by name."""
    scene = Scene(ABSENCE + 'by = ["worker"]\n', workers=("w1", "w2"))
    for at in range(0, 200, 10):
        keys = ["w1", "w2"] if at < 60 else ["w1"]
        scene.step(at, *[scene.hit(at, key=(key,)) for key in keys])

    assert [(t.key, t.to_state, t.at_us // S - T0) for t in scene.transitions] == [
        (("w2",), "firing", 110)
    ]


def test_sources_that_are_gone_are_told() -> None:
    """With `no_data = fire`, absence's default, it is told that nobody is left to tell."""
    scene = Scene(ABSENCE)
    scene.step(0, scene.hit(0))
    for at in range(1, 300):
        scene.step(at, sources=[source(0, 0)])

    (fired,) = scene.transitions
    assert fired.to_state == "firing"
    assert fired.reason.startswith("cannot tell: the last source was heard at ")
    # A minute until a source counts as silent, and the window.
    assert fired.at_us // S - T0 == 120


def test_for_holds_for_what_nobody_can_tell_too() -> None:
    """With `for` the rule waits so much longer, and a source that comes back in time is enough."""
    lasting, back = Scene(ABSENCE + 'for = "30s"\n'), Scene(ABSENCE + 'for = "30s"\n')
    for scene, until in ((lasting, 300), (back, 140)):
        scene.step(0, scene.hit(0))
        for at in range(1, until):
            scene.step(at, sources=[source(0, 0)])
    back.step(140, back.hit(50), back.hit(100), sources=[source(140, 140)])

    assert [t.at_us // S - T0 for t in lasting.transitions] == [150]
    assert not back.transitions


def test_no_data_keep_says_nothing_and_resolve_ends() -> None:
    """`keep` leaves what is open as it is, stale; `resolve` ends it as not to be told."""
    kept, ended = Scene(COUNT), Scene(COUNT + 'no_data = "resolve"\n')
    for scene in (kept, ended):
        scene.step(0, scene.hit(0, 4))
        for at in range(1, 200):
            scene.step(at, sources=[source(0, 0)])

    assert kept.told() == [("inactive", "firing", 0)]
    assert [change.stale for result in kept.results for change in result.stale] == [True]
    assert ended.told() == [("inactive", "firing", 0), ("firing", "resolved", 61)]
    assert ended.transitions[-1].reason.startswith("cannot tell")


def test_a_late_record_does_not_mute_an_absence_that_was_told() -> None:
    """What comes late for a time that was judged changes nothing that was told."""
    scene = Scene(ABSENCE)
    scene.run(0, 150)
    before = scene.told()
    scene.step(150, scene.hit(20))
    scene.run(151, 200)

    assert scene.told() == before


def test_keep_firing_for_and_for_of_a_judged_rule() -> None:
    """`for` and `keep_firing_for` count in the time of the records."""
    scene = Scene(ABSENCE + 'for = "20s"\nkeep_firing_for = "30s"\n')
    scene.run(0, 120)
    scene.step(120, scene.hit(120))
    scene.run(121, 180)

    assert scene.told() == [
        ("inactive", "pending", 60),
        ("pending", "firing", 80),
        ("firing", "recovering", 120),
        ("recovering", "resolved", 150),
    ]
