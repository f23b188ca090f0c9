"""The poller of the feed and its event streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outrider.errors import Fault, Reason
from outrider_collector.store.reading.types import FeedRow
from outrider_dashboard.live import CHANGES_LIMIT, RESTORED, Hub, event, last_event_id

NOW = datetime(2026, 7, 14, tzinfo=UTC)


class _Feed:
    """A feed in memory, which can be out of reach."""

    def __init__(self) -> None:
        self.rows: list[FeedRow] = []
        self.polls = 0
        self.down = False

    def add(self, kind: str = "ingest") -> int:
        self.rows.append(FeedRow(len(self.rows) + 1, kind, None, None, NOW))
        return len(self.rows)

    async def feed_last(self) -> int:
        self._check()
        return len(self.rows)

    async def feed_changes(self, after: int, limit: int) -> list[FeedRow]:
        self.polls += 1
        self._check()
        return self.rows[after : after + limit]

    def _check(self) -> None:
        if self.down:
            raise Fault(Reason.STORE_DOWN)


async def _polled(hub: Hub, feed: _Feed, times: int = 2) -> None:
    target = feed.polls + times
    async with asyncio.timeout(5):
        while feed.polls < target:
            await asyncio.sleep(0.001)
    assert hub.polling


async def test_the_poller_runs_only_while_somebody_watches() -> None:
    """One poller serves all watchers, and none is left when the last one has gone."""
    feed = _Feed()
    hub = Hub(feed, poll_s=0.001)
    assert not hub.polling

    async with hub.watch(None) as one, hub.watch(None) as two:
        await _polled(hub, feed)
        feed.add("alerts")
        first, second = await one.take(5), await two.take(5)

    assert first == second
    assert first is not None
    assert (first.number, first.kinds) == (1, frozenset({"alerts"}))
    assert not hub.polling


async def test_who_comes_back_is_told_what_it_missed() -> None:
    """With the last number it saw, a watcher hears first of what was committed meanwhile."""
    feed = _Feed()
    for kind in ("ingest", "health", "alerts"):
        feed.add(kind)
    hub = Hub(feed, poll_s=0.001)

    async with hub.watch(1) as watcher:
        change = await watcher.take(5)

    assert change is not None
    assert (change.number, change.kinds) == (3, frozenset({"health", "alerts"}))


async def test_a_slow_watcher_hears_one_joined_change() -> None:
    """What a watcher did not take yet is joined: its memory is bounded and no kind is lost."""
    feed = _Feed()
    hub = Hub(feed, poll_s=0.001)
    async with hub.watch(None) as watcher:
        await _polled(hub, feed)
        for kind in ("ingest", "ingest", "rules"):
            feed.add(kind)
            await _polled(hub, feed)

        change = await watcher.take(5)

        assert change is not None
        assert (change.number, change.kinds) == (3, frozenset({"ingest", "rules"}))
        assert await watcher.take(0.01) is None


async def test_no_commit_falls_between_page_and_stream() -> None:
    """A commit between a page and its event stream is told, also to the first watcher."""
    feed = _Feed()
    seen = feed.add()
    feed.add("alerts")
    hub = Hub(feed, poll_s=0.001)

    async with hub.watch(seen) as watcher:
        feed.add("health")
        change = await watcher.take(5)
        if change is not None and change.number == 2:
            later = await watcher.take(5)
            change = later and change.joined(later)

    assert change is not None
    assert (change.number, change.kinds) == (3, frozenset({"alerts", "health"}))


async def test_a_store_that_was_away_at_the_start_is_told() -> None:
    """Who joined while the store was away hears that anything may have changed when it is back."""
    feed = _Feed()
    feed.down = True
    hub = Hub(feed, poll_s=0.001)
    async with hub.watch(None) as watcher:
        feed.add("alerts")
        feed.down = False
        change = await watcher.take(10)

    assert change is not None
    assert "alerts" in change.kinds


async def test_far_behind_means_everything_may_have_changed() -> None:
    """A watcher further behind than one reading is told of all kinds, up to the newest number."""
    feed = _Feed()
    for _ in range(CHANGES_LIMIT + 5):
        feed.add()
    hub = Hub(feed, poll_s=0.001)

    async with hub.watch(0) as watcher:
        change = await watcher.take(5)

    assert change is not None
    assert change.number == CHANGES_LIMIT + 5
    assert "alerts" in change.kinds


async def test_a_restored_database_is_told() -> None:
    """A feed that went back is noticed: all kinds and ``restored``, and later rows are told."""
    feed = _Feed()
    for _ in range(9):
        feed.add()
    hub = Hub(feed, poll_s=0.001)
    async with hub.watch(None) as watcher:
        await _polled(hub, feed)
        del feed.rows[4:]
        change = await watcher.take(5)
        assert change is not None
        assert change.number == 4
        assert change.kinds >= {"alerts", "ingest", RESTORED}

        feed.add("health")
        later = await watcher.take(5)

    assert later is not None
    assert (later.number, later.kinds) == (5, frozenset({"health"}))


async def test_another_history_of_the_same_numbers_is_told() -> None:
    """A restored feed that has grown past the old number already is still another feed."""
    feed = _Feed()
    for _ in range(3):
        feed.add()
    hub = Hub(feed, poll_s=0.001)
    async with hub.watch(None) as watcher:
        await _polled(hub, feed)
        feed.rows[:] = [replace(row, committed_at=NOW + timedelta(hours=1)) for row in feed.rows]
        feed.add()
        change = await watcher.take(5)

    assert change is not None
    assert RESTORED in change.kinds
    assert change.number == 4


async def test_a_number_of_a_history_that_is_gone() -> None:
    """Who comes back with a number that the feed has not reached hears that it was restored."""
    feed = _Feed()
    feed.add()
    hub = Hub(feed, poll_s=0.001)

    async with hub.watch(7) as watcher:
        change = await watcher.take(5)

    assert change is not None
    assert change.number == 1
    assert RESTORED in change.kinds


async def test_the_store_may_come_and_go() -> None:
    """While the store is away the poller waits, and goes on where it was."""
    feed = _Feed()
    hub = Hub(feed, poll_s=0.001)
    async with hub.watch(None) as watcher:
        await _polled(hub, feed)
        feed.down = True
        await _polled(hub, feed, 1)
        feed.add("health")
        feed.down = False
        change = await watcher.take(10)

    assert change is not None
    assert change.number == 1


def test_events_are_lines() -> None:
    """An event carries the feed number as its id, and data never breaks out of its line."""
    assert event("change", {"a": "x\ny\r\n"}, 7) == (
        'id: 7\nevent: change\ndata: {"a":"x\\ny\\r\\n"}\n\n'
    )


def test_last_event_ids() -> None:
    """Only a feed number is believed."""
    assert [last_event_id(t) for t in ("42", str(2**63 - 1))] == [42, 2**63 - 1]
    nonsense = (None, "", "-1", "1e3", "٤٢", str(2**63), "9" * 40)
    assert [last_event_id(t) for t in nonsense] == [None] * 7
