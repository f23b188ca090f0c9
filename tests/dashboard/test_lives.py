"""When a worker lived: what is drawn of before it, how long its processes ran, who has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outrider_collector.store.reading.types import Gauges, StateChange, Worker, WorkerDetail
from outrider_dashboard.pages.tiles import services
from outrider_dashboard.pages.worker import UNMEASURED, day
from outrider_dashboard.pages.worker_facts import ending, facts
from outrider_dashboard.timing import Clock

NOW = datetime(2026, 7, 14, 14, 0, tzinfo=UTC)
CLOCK = Clock(NOW)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def _worker(
    state: str, since: datetime, gauges: Gauges | None = None, name: str = "w", service: str = "s"
) -> Worker:
    return Worker(service, name, "h", 1, state, since, "", NOW, NOW, gauges or Gauges())


def _detail(worker: Worker, *changes: StateChange) -> WorkerDetail:
    return WorkerDetail(worker, None, list(changes), [], [], [], [], [])


def _change(at: datetime, before: str | None, after: str) -> StateChange:
    return StateChange(at, before, after, "")


def test_nothing_is_drawn_as_up_before_a_worker_was_first_seen() -> None:
    """A worker that was born an hour ago and died once has 23 hours that nobody measured."""
    born = _change(NOW - HOUR, None, "up")
    died = _change(NOW - HOUR / 2, "up", "dead")
    drawn = day([died, born], [], None, CLOCK, _worker("dead", died.at))

    assert [i.state for i in drawn.states] == [UNMEASURED, "up", "dead"]
    assert round(drawn.states[0].width) == round(drawn.lived_from) == 96


def test_a_day_without_a_change_is_all_of_one_state() -> None:
    """Who was up before the day began and never changed was up all day."""
    drawn = day([], [], None, CLOCK, _worker("up", NOW - 30 * HOUR))

    assert [(i.state, i.width) for i in drawn.states] == [("up", 100.0)]
    assert drawn.lived_from == 0


def test_a_day_begins_with_what_the_first_change_came_from() -> None:
    """The state at the left edge is the one that the first change of the day left."""
    drawn = day([_change(NOW - HOUR, "silent", "up")], [], None, CLOCK, _worker("up", NOW - HOUR))

    assert [i.state for i in drawn.states] == ["silent", "up"]
    assert drawn.lived_from == 0


def test_a_restart_too_quick_to_be_seen_begins_anew() -> None:
    """The age of an up worker is that of its process, not of the process before it."""
    quick = _worker("up", NOW - 5 * HOUR, Gauges(pid=7, started_at=NOW - 33 * SECOND))

    assert ending(_detail(quick), CLOCK).when == "since 13:59:27 UTC"
    assert ("Process", "7, for 33 s") in facts(_detail(quick), CLOCK)


def test_an_end_of_the_life_before_is_not_this_one() -> None:
    """A heartbeat that still tells of the process before does not date the end of this one."""
    gauges = Gauges(
        pid=8, started_at=NOW - 20 * SECOND, ended_at=NOW - HOUR, end="signal", end_code=9
    )
    worker = _worker("dead", NOW - 5 * SECOND, gauges)

    assert ending(_detail(worker), CLOCK).when == "5 s ago"
    assert ("Process", "8, ran 15 s") in facts(_detail(worker), CLOCK)


def test_a_process_younger_than_the_known_end_has_no_length() -> None:
    """Where the next process is known before the state is, nothing is said of how long it ran."""
    worker = _worker("dead", NOW - HOUR, Gauges(pid=9, started_at=NOW - SECOND))

    assert ("Process", "9") in facts(_detail(worker), CLOCK)


def test_services_whose_workers_ended_say_so() -> None:
    """A service of which nobody runs is listed last, with how many ended and when."""
    found = services(
        [
            _worker("retired", NOW - 2 * HOUR, name="a", service="batch"),
            _worker("retired", NOW - HOUR, name="b", service="batch"),
            _worker("up", NOW, service="web"),
            _worker("dead", NOW, service="zeta"),
        ],
        None,
        CLOCK,
    )

    assert [s.name for s in found] == ["zeta", "web", "batch"]
    assert (found[2].tiles, found[2].ended, found[2].ended_last) == ([], 2, "1 h")
