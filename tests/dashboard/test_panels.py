"""The boundary around panels."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from outrider.errors import Fault, Reason
from outrider_dashboard.panels import Boundary

NOW = datetime(2026, 7, 14, 14, 3, 24, tzinfo=UTC)


class _World:
    def __init__(self) -> None:
        self.now = NOW
        self.reports: list[tuple[str, str, str]] = []
        self.boundary = Boundary(lambda: self.now, lambda: f"id-{len(self.reports)}", self._report)

    def _report(self, panel: str, fault: Fault, correlation_id: str) -> None:
        self.reports.append((panel, str(fault.reason), correlation_id))


async def _give(value: object) -> object:
    return value


async def _fail(fault: Exception) -> object:
    raise fault


async def test_a_mistake_becomes_an_error_panel() -> None:
    """Any exception becomes a panel with a code and an id that is in the log, without a retry."""
    world = _World()

    panel = await world.boundary.load("Store", "k", lambda: _fail(ZeroDivisionError()))

    assert (panel.failed, panel.stale, panel.retry) == (True, False, False)
    assert (panel.code, panel.correlation_id) == ("INTERNAL_BUG", "id-0")
    assert world.reports == [("Store", "INTERNAL_BUG", "id-0")]


async def test_old_data_stays_when_the_store_is_down() -> None:
    """A panel that was good shows its last good data with its age while the store is away."""
    world = _World()
    await world.boundary.load("Lines", "k", lambda: _give("lines"))
    world.now += timedelta(seconds=90)

    panel = await world.boundary.load("Lines", "k", lambda: _fail(Fault(Reason.STORE_DOWN)))

    assert (panel.stale, panel.failed, panel.value) == (True, False, "lines")
    assert panel.good_at == NOW
    assert panel.retry


async def test_old_data_is_not_shown_for_other_questions_or_mistakes() -> None:
    """Data of another question is never shown, nor old data when the question itself is wrong."""
    world = _World()
    await world.boundary.load("Lines", "k", lambda: _give("lines"))

    other = await world.boundary.load("Lines", "other", lambda: _fail(Fault(Reason.STORE_DOWN)))
    world.now += timedelta(seconds=10)
    slow = await world.boundary.load("Lines", "k", lambda: _fail(Fault(Reason.QUERY_TIMEOUT)))

    assert other.failed
    assert slow.failed
    assert slow.text == "The search took too long; narrow the time or the filter."


async def test_a_dead_store_is_not_waited_for_by_every_panel() -> None:
    """Once the store was out of reach, further panels fail at once; later it is tried again."""
    world = _World()
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        return "answer"

    await world.boundary.load("One", "1", lambda: _fail(Fault(Reason.STORE_DOWN)))
    second = await world.boundary.load("Two", "2", ask)
    world.now += timedelta(seconds=4)
    third = await world.boundary.load("Two", "2", ask)

    assert (second.failed, third.fresh, asked) == (True, True, 1)


async def test_a_read_that_gave_way_is_repeated_once() -> None:
    """A replica that ends one read is not away: the panel reads again, and no other one waits."""
    world = _World()
    faults = [Fault(Reason.STORE_DOWN, sqlstate="40001")]

    async def ask() -> str:
        if faults:
            raise faults.pop()
        return "lines"

    assert (await world.boundary.load("Lines", "k", ask)).value == "lines"
    assert world.reports == []
    faults += [Fault(Reason.STORE_DOWN, sqlstate="40001") for _ in range(2)]
    assert (await world.boundary.load("Lines", "k", ask)).stale
    assert (await world.boundary.load("Others", "o", lambda: _give("others"))).fresh


async def test_a_hanging_panel_is_given_up() -> None:
    """A panel that never answers ends after its deadline as a store that is out of reach."""
    world = _World()

    panel = await world.boundary.load("Slow", "k", asyncio.Event().wait, deadline_s=0.01)

    assert panel.code == "STORE_DOWN"
    assert panel.retry


async def test_memory_is_bounded() -> None:
    """However many questions are asked, only the last good answers are kept."""
    world = _World()
    for n in range(300):
        await world.boundary.load("Lines", str(n), lambda: _give("lines"))

    oldest = await world.boundary.load("Lines", "0", lambda: _fail(Fault(Reason.STORE_DOWN)))
    world.now += timedelta(seconds=10)
    newest = await world.boundary.load("Lines", "299", lambda: _fail(Fault(Reason.STORE_DOWN)))

    assert (oldest.failed, newest.stale) == (True, True)
