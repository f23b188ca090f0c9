"""The rules that come with Outrider do what their names say."""

from __future__ import annotations

from outrider_alerting import cases, ready, rule_files
from outrider_alerting.gaps import GapSeen
from tests.alerting.scene import T0, S, Scene, component


class _ReadyScene(Scene):
    def __init__(self) -> None:
        super().__init__()
        self.rule_set = rule_files.read(ready.files())


def test_a_dead_worker_is_one_critical_alert() -> None:
    """A death raises `worker-died` and nothing else, at once."""
    scene = _ReadyScene()
    told = scene.step(1, health=[component("dead", 0, reason="killed by SIGKILL")])

    assert [(t.rule, t.to_state, t.priority) for t in told] == [
        ("worker-died", "firing", "critical")
    ]


def test_a_silent_worker_is_told_after_a_while() -> None:
    """Silence is pending first; a worker heard again within 15 s was never told of."""
    scene = _ReadyScene()
    scene.step(0, health=[component("silent", 0)])
    scene.step(10, health=[component("up", 10)])
    scene.step(20, health=[component("silent", 20)])
    scene.run(21, 40)

    assert [t.to_state for t in scene.transitions] == [
        "pending", "resolved", "pending", "firing",
    ]  # fmt: skip


def test_errors_that_pile_up_are_one_alert() -> None:
    """Eleven errors of one worker within a minute fire, ten do not."""
    scene = _ReadyScene()
    key = ("pay", "w1")

    assert scene.step(1, scene.hit(0, 10, key, rule="error-spike")) == []
    (fired,) = scene.step(2, scene.hit(1, 1, key, rule="error-spike"))
    assert fired.summary == "11 errors in 1m on w1"


def test_one_fatal_record_is_enough() -> None:
    """A FATAL record fires at once, as critical."""
    scene = _ReadyScene()
    (fired,) = scene.step(1, scene.hit(0, 1, ("pay", "w1"), rule="fatal-record"))

    assert (fired.priority, fired.summary) == ("critical", "w1 wrote a fatal record")


def test_errors_by_the_hundred_are_critical() -> None:
    """The spike of errors that opened as a warning is raised when it passes two hundred."""
    scene = _ReadyScene()
    key = ("pay", "w1")
    scene.step(1, scene.hit(0, 11, key, rule="error-spike"))
    (raised,) = scene.step(2, scene.hit(1, 300, key, rule="error-spike"))

    assert (raised.from_state, raised.priority) == ("firing", "critical")


def test_lost_records_are_told() -> None:
    """A gap row is one warning, with how many and why."""
    scene = _ReadyScene()
    gap = GapSeen(service="pay", worker="w1", host="h1", reason="disk_full", records=9,
                  detected_us=(T0 + 1) * S)  # fmt: skip
    (fired,) = scene.step(1, gaps=[gap])

    assert (fired.rule, fired.priority) == ("records-lost", "warning")
    assert "9 records lost" in fired.summary


def test_a_file_that_was_copied_and_truncated_is_no_loss_that_is_known() -> None:
    """Nobody knows whether a line is missing: that is for whoever looks, and has no number."""
    scene = _ReadyScene()
    gap = GapSeen(service="pay", worker="w1", host="h1", reason="copytruncate", records=0,
                  at_least=True, detected_us=(T0 + 1) * S)  # fmt: skip
    (fired,) = scene.step(1, gaps=[gap])

    assert (fired.rule, fired.priority, fired.value) == ("lines-may-be-missing", "info", None)


def test_the_tests_beside_the_rules_hold() -> None:
    """What `outrider rules test` would say of the ready rules."""
    rule_set = rule_files.read(ready.files())
    count, failures = cases.run(rule_set)

    assert count >= len(rule_set.rules)
    assert failures == []


def test_every_ready_rule_is_tested_beside_it() -> None:
    """No rule comes without an example of what it does."""
    assert [rule.name for rule in rule_files.read(ready.files()).rules if not rule.test] == []


def test_the_troubles_that_people_expect_are_all_there() -> None:
    """What a fleet of workers dies of has a rule from the first start on."""
    assert {rule.name for rule in rule_files.read(ready.files()).rules} >= {
        "worker-died", "worker-silent", "worker-degraded", "worker-stalled", "agent-silent",
        "backlog-growing", "error-spike", "new-error", "fatal-record", "records-lost",
        "exchange-down", "exchange-degraded", "exchange-clock-skewed", "exchange-trouble",
        "database-down", "database-degraded", "database-trouble", "disk-low", "clock-skewed",
        "certificate-expiring", "probe-down", "canary-late", "audit-log-altered",
    }  # fmt: skip
