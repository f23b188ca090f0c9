"""A new rule set while alerts are open."""

from __future__ import annotations

from tests.alerting.scene import COUNT, Scene, component

OTHER = COUNT.replace('"errors"', '"other"')


def test_an_edited_rule_keeps_its_alert() -> None:
    """With the same name and key, an edit of priority or summary opens and closes nothing."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules(COUNT + 'priority = "critical"\nsummary = "now {count}"\n')
    scene.step(1, scene.hit(1))

    assert scene.told() == [("inactive", "firing", 0)]


def test_a_deleted_rule_closes_as_withdrawn() -> None:
    """The alert of a deleted rule closes at once, and says why."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules(OTHER)
    (over,) = scene.step(3)

    assert (over.to_state, over.reason) == ("resolved", "withdrawn: the rule was deleted")
    assert over.labels["rule"] == "errors"
    assert scene.state.rules == {}


def test_a_lowered_threshold_fires_at_once() -> None:
    """What the window holds already counts against the new threshold."""
    scene = Scene()
    scene.step(0, scene.hit(0, 3))
    scene.apply_rules(COUNT.replace("above = 3", "above = 2"))

    assert [t.to_state for t in scene.step(1)] == ["firing"]


def test_a_raised_threshold_ends_the_alert() -> None:
    """With a higher threshold the alert ends as soon as that can be concluded."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules(COUNT.replace("above = 3", "above = 9"))
    scene.run(1, 20)

    assert scene.told()[-1][1] == "resolved"


def test_a_changed_filter_does_not_end_the_alert_by_itself() -> None:
    """After a change of filter an end needs a whole window of the new records."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.step(20, scene.hit(18, 4))
    scene.apply_rules(COUNT.replace("severity>=error", "severity>=warn"))
    for at in range(21, 60):
        scene.step(at)

    # Changed at 21; a window of the new records is full at 31.
    assert scene.told()[-1] == ("firing", "resolved", 31)


def test_other_keys_close_the_old_alert() -> None:
    """A change of `by` makes other alerts of it: the old one is withdrawn."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules(COUNT.replace('"errors"', '"errors"\nby = ["worker"]'))
    (over,) = scene.step(1)

    assert over.reason == "withdrawn: the rule was changed to other keys"


def test_a_rule_of_another_kind_closes_the_old_alert() -> None:
    """A name that now means a component, not records, withdraws the old alert."""
    scene = Scene()
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules('[[rule]]\nname = "errors"\nkind = "liveness"\n')
    told = scene.step(1, health=[component("dead", 1)])

    assert [(t.kind, t.to_state) for t in told] == [("count", "resolved"), ("liveness", "firing")]


def test_the_same_set_again_changes_nothing() -> None:
    """Applying an equal set under a new version opens and closes nothing."""
    scene = Scene(COUNT.replace("10s", "30s"))
    scene.step(0, scene.hit(0, 4))
    scene.apply_rules(COUNT.replace("10s", "30s"))
    scene.run(1, 10)

    assert scene.told() == [("inactive", "firing", 0)]
