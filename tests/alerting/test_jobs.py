"""Jobs on a schedule: starts that are missed, failures, runs that take too long, clock changes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outrider.instants import EPOCH
from outrider_alerting.jobs import next_due_s
from tests.alerting.scene import T0, S, Scene, source

# T0 is a full ten minutes: due at second 300, 600, ...
JOB = """
[[rule]]
name = "nightly"
kind = "schedule"
filter = "service:pay"
cron = "*/5 * * * *"
grace = "30s"
max_runtime = "60s"
lateness = "0s"
"""


def _at(scene: Scene, at: float, event: str) -> None:
    scene.step(at, scene.hit(at, 1, (event,)))


def _run(scene: Scene, begin: float, took: float, end: str = "job.succeeded") -> None:
    _at(scene, begin, "job.started")
    _at(scene, begin + took, end)


def test_a_job_in_time_is_never_told() -> None:
    """Started within its grace and ended within its time, run after run."""
    scene = Scene(JOB)
    scene.run(0, 300, every=10)
    for due in range(300, 1_800, 300):
        _run(scene, due + 20, 59)
        scene.run(due + 80, due + 300, every=10)

    assert scene.told() == []


def test_a_start_that_is_missed_is_told_when_its_grace_is_over() -> None:
    """One alert for all starts that are missed; the next start that comes ends it."""
    scene = Scene(JOB)
    scene.run(0, 1_300, every=5)
    (fired,) = scene.transitions
    _run(scene, 1_300, 10)

    assert (fired.to_state, fired.at_us // S - T0) == ("firing", 330)
    due = EPOCH.timestamp() + T0 + 300
    clock = datetime.fromtimestamp(due, UTC)
    assert fired.reason == f"due at {clock:%Y-%m-%d %H:%M:%S} UTC, not started within 30s"
    assert scene.told()[1:] == [("firing", "resolved", 1_300)]


def test_a_missed_start_is_not_concluded_from_lag() -> None:
    """While the agent is behind nothing is missed; what it brings late was in time."""
    scene = Scene(JOB)
    for at in range(0, 500, 5):
        scene.step(at, sources=[source(min(at, 290), at)])
    assert scene.told() == []
    scene.step(500, scene.hit(301, 1, ("job.started",)), scene.hit(310, 1, ("job.succeeded",)))
    scene.run(501, 520)

    assert scene.told() == []


def test_nobody_left_to_tell_is_told() -> None:
    """Where the job's host is gone, its start counts as missed: that is what one wants to know."""
    scene = Scene(JOB)
    _run(scene, 10, 5)
    for at in range(20, 600, 5):
        scene.step(at, sources=[source(20, 20)])

    assert [t.to_state for t in scene.transitions] == ["firing"]


def test_a_failure_is_told_at_once_and_ends_with_success() -> None:
    """job.failed fires; a new start alone ends nothing, its success does."""
    scene = Scene(JOB)
    _run(scene, 300, 10, "job.failed")
    assert scene.told() == [("inactive", "firing", 310)]
    _at(scene, 600, "job.started")
    assert len(scene.told()) == 1
    _at(scene, 620, "job.succeeded")

    assert scene.told()[1:] == [("firing", "resolved", 620)]
    assert scene.transitions[0].labels["state"] == "failed"


def test_a_job_that_runs_too_long() -> None:
    """Not ended within its time fires, its end resolves, the next run begins anew."""
    scene = Scene(JOB)
    _at(scene, 300, "job.started")
    scene.run(301, 500, every=5)
    assert scene.told() == [("inactive", "firing", 360)]
    _at(scene, 500, "job.succeeded")
    _run(scene, 600, 30)
    scene.run(631, 800, every=5)

    assert scene.told()[1:] == [("firing", "resolved", 500)]


def test_what_is_told_of_a_job_survives_restarts() -> None:
    """A process that takes over at every step tells the same."""
    told = []
    for restarts in (False, True):
        scene = Scene(JOB, restarts=restarts)
        scene.run(0, 700, every=7)
        _run(scene, 700, 10, "job.failed")
        _run(scene, 900, 100)
        scene.run(1_001, 1_500, every=7)
        told.append([(t.to_state, t.at_us, t.reason) for t in scene.transitions])

    assert told[0] == told[1]
    assert len(told[0]) >= 4


def _due(cron: str, after: datetime) -> datetime:
    seconds = next_due_s(cron, "Europe/Berlin", int((after - EPOCH).total_seconds()))
    assert seconds is not None
    return datetime.fromtimestamp(EPOCH.timestamp() + seconds, UTC)


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        # 02:30 does not exist on 29 March 2026: the job runs when the clocks have gone forward.
        ("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)),
        # 02:30 is there twice on 25 October 2026: it runs once.
        ("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC),
         datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("30 2 * * *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
         datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
        # What runs every half hour runs in both hours.
        ("*/30 * * * *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
         datetime(2026, 10, 25, 1, 0, tzinfo=UTC)),
        # Summer and winter differ in UTC, not on the wall.
        ("0 3 * * *", datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 2, 1, tzinfo=UTC)),
        ("0 3 * * *", datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, 2, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_clock_changes(cron: str, after: datetime, due: datetime) -> None:
    """A skipped hour runs its jobs right after it; a doubled hour runs a daily job once."""
    assert _due(cron, after) == due
