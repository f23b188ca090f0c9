"""A fleet over simulated hours: real heartbeats, books and watches; clocks, network and store made.

Agents make their heartbeats with the agent's own code from slots in memory, over a host clock that
somebody sets by a day and a monotonic one. Collectors keep real books and watches. The store is
what its statements promise (tests of silence hold them to it): a heartbeat overwrites an older
one, a state is news when it differs, and the overdue are silent when somebody would have seen them.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outrider.inbox import slot
from outrider_agent.clock import DatabaseClock
from outrider_agent.heartbeats import Heartbeats
from outrider_agent.picture import Picture, WorkerPicture
from outrider_agent.segments import SegmentWatch
from outrider_agent.wire.heartbeat import UNANSWERED
from outrider_collector.ingest.heartbeats import HeartbeatBook
from outrider_collector.ingest.liveness import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_collector.store.health import Component

S = 1_000_000
DAY_US = 86_400 * S
GRACE_S = 60.0
INTERVAL_S = 10.0
EVERY_S = 30
"""So often workers say that they report progress."""
_LIVING = {"up", "degraded", "lagging", "unknown"}


@dataclass(slots=True)
class Change:
    """A state that changed, as history has it."""

    at_us: int
    component: str
    state: str
    reason: str


@dataclass(slots=True)
class Published:
    """A collector's status row."""

    seen_us: int
    watching_since_us: int
    stopped: bool = False


class Store:
    """What the statements of health do, over a clock that is given."""

    def __init__(self) -> None:
        self.states: dict[Component, str] = {}
        self.history: list[Change] = []
        self._heartbeats: dict[Component, tuple[int, int, str]] = {}
        self.collectors: dict[str, Published] = {}

    def record(self, name: str, book: HeartbeatBook, now_us: int) -> None:
        """Store what a book has gathered, and hasten who broke off."""
        heartbeats, states = book.drain()
        for row in heartbeats:
            if self._heartbeats.get(row.component, (0, 0, ""))[0] <= row.seen_us:
                self._heartbeats[row.component] = row.seen_us, row.due_us, name
        for state in states:
            before = self.states.get(state.component)
            if before != state.state and not (before == "retired" and state.state == "unknown"):
                self._move(state.component, state.state, state.reason, now_us)
        due = book.broken(now_us)
        for component, (seen_us, due_us, collector) in self._heartbeats.items():
            if component.agent in due and collector == name:
                self._heartbeats[component] = seen_us, min(due_us, due[component.agent]), name

    def mark_silent(self, asker: str, now_us: int) -> None:
        """Declare the overdue silent, whom somebody would have heard."""
        for component, (seen_us, due_us, name) in self._heartbeats.items():
            if due_us >= now_us or self.states.get(component) not in _LIVING:
                continue
            collector = self.collectors[name]
            if not collector.stopped and (name == asker or collector.seen_us > due_us):
                since_us = collector.watching_since_us
            else:
                since_us = max(collector.seen_us, seen_us)
            if now_us - since_us > GRACE_S * S:
                self._move(component, "silent", "no heartbeat", now_us)

    def _move(self, component: Component, state: str, reason: str, now_us: int) -> None:
        self.states[component] = state
        self.history.append(Change(now_us, component.name, state, reason))


@dataclass(slots=True)
class Collector:
    """One collector's part in liveness; None of it outlives a restart but its name."""

    name: str
    store: Store
    book: HeartbeatBook = field(default_factory=HeartbeatBook)
    watch: Watch = field(default_factory=lambda: Watch(GRACE_S))
    runs: bool = True

    def step(self, now_us: int) -> None:
        """Do what the keeper does every two seconds."""
        self.store.record(self.name, self.book, now_us)
        self.watch.saw(now_us / S)
        since_us = now_us - int(self.watch.watched_s(now_us / S) * S)
        self.store.collectors[self.name] = Published(now_us, since_us)
        if self.watch.may_conclude(now_us / S):
            self.store.mark_silent(self.name, now_us)

    def restart(self) -> None:
        """Come back with nothing in memory."""
        self.book, self.watch, self.runs = HeartbeatBook(), Watch(GRACE_S), True

    def end(self, *, in_order: bool) -> None:
        """End, as told to or killed."""
        self.runs = False
        if in_order and self.name in self.store.collectors:
            self.store.collectors[self.name].stopped = True


class Segment(SegmentWatch):
    """A segment whose slot is in memory."""

    def read_slot(self) -> slot.Slot:
        """Return what was put there."""
        return self.last


class Host:
    """A host with an agent and workers, and the clocks they have."""

    def __init__(self, number: int, world: World) -> None:
        self.number, self.world = number, world
        self.step_us = world.rng.choice((0, 0, DAY_US, -DAY_US))
        self.runs = True
        self.unanswered = 0
        self.backlog_since_us: int | None = None
        self.stuck: set[int] = set()
        self.killed: set[int] = set()
        self.collector: Collector | None = None
        self._lines_us = [0, 0, 0]
        self._segments = [Segment(f"/inbox/{number}-{n}", locked_by_writer=True) for n in range(2)]
        self.offset = DatabaseClock()
        self._number = 0
        self._heartbeats = Heartbeats(
            self._picture, self._clock_us, lambda: self.offset.offset_us, lambda: INTERVAL_S,
            lambda: self.world.now_us / S,
        )  # fmt: skip
        self.work()

    def _clock_us(self) -> int:
        return self.world.now_us + self.step_us

    def work(self) -> None:
        """Let the workers do what workers do: report progress and write lines."""
        for n, segment in enumerate(self._segments):
            segment.locked_by_writer = n not in self.killed
            segment.died = n in self.killed
            segment.ended_us = self._clock_us() if segment.died else 0
            if n not in self.stuck:
                # The slot tells Unix time; that it began in 2000 here makes no difference.
                unix_us = self._clock_us() + 946_684_800 * S
                done = segment.last.done + 1
                segment.last = slot.Slot(
                    pid=2**22 + 1, progress_us=unix_us, done=done, every_s=EVERY_S
                )
                self._lines_us[n] = self._clock_us()
        # The third is known by its log file alone.
        self._lines_us[2] = self._clock_us()

    def _picture(self) -> Picture:
        behind = 0 if self.backlog_since_us is None else 5_000_000
        age_ms = 0 if self.backlog_since_us is None else (
            self.world.now_us - self.backlog_since_us) // 1_000  # fmt: skip
        segments = [*self._segments, None]
        workers = tuple(
            WorkerPicture("s", f"w{n}", behind if n == 0 else 0, self._lines_us[n], segment)
            for n, segment in enumerate(segments)
        )
        return Picture(behind, age_ms, 3, workers)

    def beat(self, *, stopping: bool = False) -> bool:
        """Send a heartbeat to whoever serves; False where nobody does."""
        if self.collector is not None and not self.collector.runs:
            # It has gone without a word: heartbeats go nowhere until enough of them do.
            self.unanswered += 1
            if self.unanswered <= UNANSWERED:
                return True
            self.collector = None
        if self.collector is None:
            serving = [one for one in self.world.collectors if one.runs]
            if not serving:
                return False
            self.collector, self._number = self.world.rng.choice(serving), 0
        self._number += 1
        self.unanswered = 0
        sent_us = self._clock_us()
        message = self._heartbeats.make(self._number, stopping)
        now_us = self.world.now_us
        self.collector.book.heard(self.number, 1, f"h{self.number}", message, now_us)
        self.offset.sample(sent_us, now_us, self._clock_us() + 2_000)
        return True

    def leave(self, *, broke: bool) -> None:
        """End the stream of heartbeats."""
        if self.collector is not None and self.collector.runs:
            self.collector.book.left(self.number, self.world.now_us, broke=broke)
        self.collector = None


class World:
    """Time, and what happens in it."""

    def __init__(self, seed: int, hosts: int = 4) -> None:
        self.rng = random.Random(seed)
        self.now_us = 800_000_000 * S
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._turn = 0
        self.store = Store()
        self.collectors = [Collector(name, self.store) for name in ("a", "b")]
        self.hosts = [Host(n, self) for n in range(hosts)]
        for host in self.hosts:
            self._every(lambda: INTERVAL_S * self.rng.uniform(0.97, 1.03), self.beating(host))
            self._every(lambda: self.rng.uniform(2, 0.8 * EVERY_S), host.work)
        for collector in self.collectors:
            self._every(lambda: 2.0, self._stepping(collector))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Have something happen later."""
        self._turn += 1
        heapq.heappush(self._agenda, (self.now_us + int(seconds * S), self._turn, act))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_us = self.now_us + int(seconds * S)
        while self._agenda and self._agenda[0][0] <= end_us:
            self.now_us, _, act = heapq.heappop(self._agenda)
            act()
        self.now_us = end_us

    def _every(self, pause_s: Callable[[], float], act: Callable[[], object]) -> None:
        def again() -> None:
            act()
            self.after(pause_s(), again)

        self.after(self.rng.uniform(0, 3), again)

    def beating(self, host: Host) -> Callable[[], None]:
        """Return what sends a heartbeat, and tries again soon while nobody serves."""

        def beat() -> None:
            if host.runs and not host.beat():
                self.after(self.rng.uniform(0.2, 5), beat)

        return beat

    def _stepping(self, collector: Collector) -> Callable[[], None]:
        def step() -> None:
            if collector.runs:
                collector.step(self.now_us)

        return step
