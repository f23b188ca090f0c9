"""The book of heartbeats: the last one of each component, in memory until it is flushed.

Ten thousand components that beat every ten seconds are one statement every two seconds instead of a
thousand a second. What changes a component's state makes the book urgent: a death is stored at
once.

Heartbeats are from agents, so nothing in them is believed to fit (:mod:`.gauges`). One odd agent
must not stop everybody's flush.

Agents of one host name (two agents of a host, or hosts of equal names) report the same workers. One
of them speaks for such a worker: as long as its heartbeats come and say that it lives, what another
says of it does not count. Its state is one, then, and does not change with every heartbeat.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outrider.instants import from_us
from outrider_collector.ingest import components, gauges
from outrider_collector.ingest.gauges import ENDS, clean
from outrider_collector.ingest.liveness import (
    Verdict,
    agent_verdict,
    back_by_us,
    due_us,
    gone_verdict,
    worker_verdict,
)
from outrider_collector.store.health import PROBED_KINDS, Component, HeartbeatRow, StateRow
from outrider_protos.limits import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from outrider_protos.v1 import ingest_pb2

MAX_REMEMBERED = 200_000
"""Components of this collector; heartbeats of further ones are counted and left out."""
MAX_BREAKS = 10_000
BREAKS_US = 60_000_000
"""Streams that broke within so long came from one cause."""
SETTLED_US = 1_000_000
GONE_AFTER = 3
"""A worker missing from so many heartbeats of its agent in a row is not its worker any more."""

_ENDED = {"dead", "retired"}
_LIFELESS = _ENDED | {"unknown", "expired"}


class _Speaker(NamedTuple):
    """Whose word of a component counts."""

    agent: int | None
    due_us: int
    """Database time until which it counts without another."""
    is_alive: bool
    """Whether it said that the component lives."""


@dataclass(slots=True)
class _Agent:
    """What is remembered of an agent between its heartbeats."""

    number: int | None
    names: dict[tuple[str, str], Component] = field(default_factory=dict)
    """Its components by kind and name: made once, not with every heartbeat."""
    states: dict[Component, str] = field(default_factory=dict)
    missing: dict[Component, int] = field(default_factory=dict)
    dropped: dict[Component, int] = field(default_factory=dict)
    has_stopped: bool = False
    """Its last heartbeat said that it stops on purpose."""
    probed: set[Component] = field(default_factory=set)
    """What its probes look at."""

    def named(self, kind: str, name: str, *more: Any) -> Component:
        """Return the component; ``more`` is what follows kind and name in it."""
        found = self.names.get((kind, name))
        if found is None or found.host != more[2]:
            found = self.names[kind, name] = Component(kind, name, *more)
        return found

    def is_losing(self, component: Component, dropped: int) -> bool:
        """Whether more records of a worker found no room than at the heartbeat before."""
        if not dropped:
            return False
        before = self.dropped.get(component, 0 if component in self.states else dropped)
        self.dropped[component] = dropped
        return dropped > before

    def forget(self, component: Component) -> None:
        """Remember nothing of a component any more."""
        self.names.pop((component.kind, component.name), None)
        self.states.pop(component, None)
        self.missing.pop(component, None)
        self.dropped.pop(component, None)


class HeartbeatBook:
    """Heartbeats of all agents connected here."""

    def __init__(self) -> None:
        self._agents: dict[int | None, _Agent] = {}
        self._heartbeats: dict[Component, HeartbeatRow] = {}
        self._states: dict[Component, StateRow] = {}
        self._speakers: dict[Component, _Speaker] = {}
        self._broken: dict[int, int] = {}
        """When the last stream of an agent broke that was not heard since."""
        self._breaks: deque[int] = deque(maxlen=MAX_BREAKS)
        """When streams broke lately."""
        self.urgent = asyncio.Event()
        """Set when a state changed: flush now."""
        self.left_out = 0
        """Workers and components whose heartbeat found no room, or made no sense."""

    def expect(self, agent: int | None, known_ones: Iterable[Component]) -> None:
        """Enter what the store knows of an agent's, so that what is missing is noticed."""
        known = self._agents.setdefault(agent, _Agent(agent))
        for component in known_ones:
            if component.kind in PROBED_KINDS:
                known.probed.add(component)
            else:
                known.missing.setdefault(component, 0)

    def left(self, agent: int, now_us: int, *, broke: bool) -> None:
        """Drop what is remembered of an agent whose last stream of heartbeats ended, or broke."""
        known = self._agents.pop(agent, None)
        if known is None:
            return
        for component in known.states.keys() | known.probed:
            self._silence(known, component)
        if broke and not known.has_stopped:
            self._broken[agent] = now_us
            self._breaks.append(now_us)

    def broken(self, now_us: int) -> dict[int, int]:
        """Take the agents whose stream broke a second ago and that are not back: when they are due.

        Most are back within that second and cost nothing; and it shows whether it is many.
        """
        while self._breaks and self._breaks[0] < now_us - BREAKS_US:
            self._breaks.popleft()
        due = {
            agent: back_by_us(broke_us, len(self._breaks))
            for agent, broke_us in self._broken.items()
            if broke_us <= now_us - SETTLED_US
        }
        for agent in due:
            del self._broken[agent]
        return due

    def heard(
        self,
        agent: int,
        team: int,
        host: str,
        heartbeat: ingest_pb2.HeartbeatRequest,
        now_us: int,
    ) -> None:
        """Enter a heartbeat that arrived at database time ``now_us``."""
        known = self._agents.setdefault(agent, _Agent(agent))
        self._broken.pop(agent, None)
        known.has_stopped = heartbeat.stopping
        seen, due = from_us(now_us), due_us(now_us, heartbeat.next_within_ms)
        itself = known.named("agent", str(agent), agent, team, host)
        row = HeartbeatRow(itself, now_us, due, gauges.of_agent(heartbeat, now_us))
        self._enter(known, row, agent_verdict(heartbeat), seen)
        present = _workers(known, heartbeat.workers, agent, team, host)
        self.left_out += max(0, len(heartbeat.workers) - MAX_WORKERS)
        for component, worker in present.items():
            losing = known.is_losing(component, worker.dropped_records)
            verdict = worker_verdict(worker, heartbeat, losing=losing)
            row = HeartbeatRow(component, now_us, due, gauges.of_worker(worker))
            self._enter(known, row, verdict, seen, worker.ended_us)
        self._miss(known, present, seen)
        observer = components.Observer(agent, team, host)
        self.probed(observer, heartbeat.components, now_us, are_all=heartbeat.all_components)

    def probed(
        self,
        observer: components.Observer,
        reports: Sequence[ingest_pb2.ComponentReport],
        now_us: int,
        *,
        are_all: bool,
    ) -> None:
        """Enter what probes of an agent, or of this collector, say at database time ``now_us``.

        With ``are_all`` a component that is not among them is looked at no more.
        """
        if not reports and not are_all:
            return
        known = self._agents.setdefault(observer.agent, _Agent(observer.agent))
        seen = from_us(now_us)
        found, odd = components.heard(reports, observer, now_us)
        self.left_out += odd
        for component, (row, verdict) in found.items():
            if verdict is not None:
                self._enter(known, row, verdict, seen)
            elif len(self._heartbeats) < MAX_REMEMBERED and self._speaks(known, row, "unknown"):
                self._heartbeats[component] = row
        if are_all:
            for component in known.probed - found.keys():
                self._gone(known, component, seen)
                known.states.pop(component, None)
            known.probed = set(found)
        else:
            known.probed |= found.keys()

    def drain(self) -> tuple[list[HeartbeatRow], list[StateRow]]:
        """Take what is to be stored."""
        self.urgent.clear()
        taken = list(self._heartbeats.values()), list(self._states.values())
        self._heartbeats, self._states = {}, {}
        return taken

    def put_back(self, heartbeats: list[HeartbeatRow], states: list[StateRow]) -> None:
        """Put back what could not be stored, where nothing newer has come meanwhile."""
        for row in heartbeats:
            self._heartbeats.setdefault(row.component, row)
        for state in states:
            self._states.setdefault(state.component, state)

    def _enter(
        self,
        known: _Agent,
        row: HeartbeatRow,
        verdict: Verdict,
        seen: datetime,
        ended_us: int = 0,
    ) -> None:
        component = row.component
        if component not in self._heartbeats and len(self._heartbeats) >= MAX_REMEMBERED:
            self.left_out += 1
            return
        if self._speaks(known, row, verdict.state):
            self._heartbeats[component] = row
            self._decide(known, component, verdict, seen, ended_us)
        known.states[component] = verdict.state
        known.missing.pop(component, None)

    def _decide(
        self,
        known: _Agent,
        component: Component,
        verdict: Verdict,
        seen: datetime,
        ended_us: int = 0,
    ) -> None:
        self._states[component] = StateRow(component, verdict.state, verdict.reason, seen, ended_us)
        if known.states.get(component) != verdict.state:
            self.urgent.set()

    def _speaks(self, known: _Agent, row: HeartbeatRow, state: str) -> bool:
        """Whether this agent's word of a component counts; it is the component's speaker then."""
        speaker, is_alive = self._speakers.get(row.component), state not in _LIFELESS
        if (
            speaker is not None
            and speaker.agent != known.number
            and row.seen_us <= speaker.due_us
            and (speaker.is_alive or not is_alive)
        ):
            return False
        self._speakers[row.component] = _Speaker(known.number, row.due_us, is_alive)
        return True

    def _silence(self, known: _Agent, component: Component) -> bool:
        """Speak no more for a component; return whether nobody else does."""
        speaker = self._speakers.get(component)
        if speaker is not None and speaker.agent != known.number:
            return False
        self._speakers.pop(component, None)
        return True

    def _gone(self, known: _Agent, component: Component, seen: datetime) -> None:
        """Retire what an agent does not report any more, unless another speaks for it."""
        if self._silence(known, component):
            verdict = gone_verdict(is_worker=component.kind == "worker")
            self._decide(known, component, verdict, seen)

    def _miss(
        self,
        known: _Agent,
        present: dict[Component, ingest_pb2.WorkerHeartbeat],
        seen: datetime,
    ) -> None:
        workers = {c for c in known.states if c.kind == "worker"} | set(known.missing)
        for component in workers - present.keys():
            known.missing[component] = known.missing.get(component, 0) + 1
            if known.missing[component] >= GONE_AFTER:
                if known.states.get(component) not in _ENDED:
                    self._gone(known, component, seen)
                self._silence(known, component)
                known.forget(component)


def _workers(
    known: _Agent,
    workers: Sequence[ingest_pb2.WorkerHeartbeat],
    agent: int,
    team: int,
    host: str,
) -> dict[Component, ingest_pb2.WorkerHeartbeat]:
    """One entry for each worker: of several processes the running one, else the last to end."""
    chosen: dict[Component, ingest_pb2.WorkerHeartbeat] = {}
    for worker in workers[:MAX_WORKERS]:
        # Many workers are of few services.
        service, name = sys.intern(clean(worker.service)), clean(worker.worker)
        component = known.named(
            "worker", f"{service}/{name}@{host}", agent, team, host, service, name
        )
        rival = chosen.get(component)
        if rival is None or _rank(worker) >= _rank(rival):
            chosen[component] = worker
    return chosen


def _rank(worker: ingest_pb2.WorkerHeartbeat) -> tuple[bool, int]:
    alive = worker.end not in ENDS
    return alive, worker.started_us if alive else worker.ended_us
