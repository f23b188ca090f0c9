"""The composition root of a collector: what is made of what, what runs, and how it ends.

    agents --> service/ (grpc) --> ingest/ queue --> committer --> store/ writer --> Postgres
                   |                                     |
               heartbeats --> book --> keeper        acknowledgements

Everything runs on one event loop in one task group. A loop that meets what it does not know ends
the group and the process: agents keep their data, so starting anew is safe, and going on with
unknown damage is not. Evaluation and delivery are no reason to end it: what they conclude is in the
database, so they say what fails and try again. The end in order is `_stop`: no new work, what is
held is committed and acknowledged, goodbye.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import outrider
from outrider.command import version
from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason, RetryClass
from outrider.retry import Backoff
from outrider.standard_streams import tell
from outrider_alerting.rules import ENGINE_VERSION
from outrider_collector import store_probe
from outrider_collector.alerts.database_alarm import DatabaseAlarm
from outrider_collector.alerts.outlets import Outlets
from outrider_collector.background import Background
from outrider_collector.ingest.clock import DatabaseClock
from outrider_collector.ingest.committer import Committer
from outrider_collector.ingest.credit import CreditBudget
from outrider_collector.ingest.disk import DiskWatch
from outrider_collector.ingest.figures import Figures
from outrider_collector.ingest.heartbeats import HeartbeatBook
from outrider_collector.ingest.keeper import Keeper
from outrider_collector.ingest.links import Links
from outrider_collector.ingest.liveness import Watch
from outrider_collector.ingest.pace import Intervals
from outrider_collector.ingest.pacer import Pacer
from outrider_collector.ingest.queue import BatchQueue
from outrider_collector.ingest.roster import Roster, Wishes
from outrider_collector.ingest.rulebook import RuleBook
from outrider_collector.monitoring.listener import Listener
from outrider_collector.monitoring.pages import Pages
from outrider_collector.monitoring.readiness import Readiness
from outrider_collector.probing import Probing
from outrider_collector.service.admin import AdminServicer
from outrider_collector.service.auth import Authenticator
from outrider_collector.service.backend import Backend
from outrider_collector.service.enroll import EnrollServicer
from outrider_collector.service.heartbeat import Heartbeats
from outrider_collector.service.ingest import IngestServicer
from outrider_collector.service.push import Pushes
from outrider_collector.service.server import Server
from outrider_collector.service.tokens import ADMIN_FILE, ENROL_FILE, token_file
from outrider_collector.store import schema
from outrider_collector.store.database_url import target
from outrider_collector.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from outrider_collector.config import CollectorConfig, Configuration

STOP_S = 5.0
"""Held batches have so long to be committed and acknowledged when the collector stops."""
QUIET_S = 0.1
"""Nothing on its way for so long: nothing more will come."""
_COME_BACK_S = 0.5
_COME_BACK_SPREAD_S = 0.005
_SERVER_GRACE_S = 1.0
_FAILING_S = 10.0
"""A collector whose commits have failed for so long is not ready."""

log = outrider.get_logger(__name__)


def say(text: str) -> None:
    """One line for the person at the terminal, or the journal."""
    tell(f"outrider collector: {text}\n", sys.stderr)


async def run(
    config: Configuration,
    stop: asyncio.Event,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Run a collector until ``stop`` is set; ``ready`` is told the address once it serves.

    Raises ConfigError (an address that is taken, token files that cannot be made), or Fault
    (CONFIG_INVALID, STORE_BEHIND, RULES_TOO_NEW): start it anew when that is put right.
    """
    _calm_collection()
    collector = _Collector(config)
    host, port = config.collector.address()
    port = collector.server.bind(host, port)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(collector.close)
        await collector.serve_figures(config.collector)
        async with _meanwhile(collector.alarm.run(stop)):
            if not await _database_ready(config.database_url, stop, collector.readiness):
                return
        await collector.book.reload()
        await collector.keeper.measure()
        await collector.keeper.step()
        # Before the first agent: what it may send depends on it.
        await collector.disk.try_look()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(collector.committer.run()),
                group.create_task(collector.keeper.run()),
                group.create_task(collector.pacer.run()),
                group.create_task(collector.readiness.run()),
                group.create_task(collector.probing.run()),
                group.create_task(collector.disk.run()),
                group.create_task(collector.alarm.run(stop)),
                *collector.background.start(group),
            ]
            await collector.server.start()
            await collector.readiness.look()
            say(f"{collector.name} serves on {host}:{port}, database {target(config.database_url)}")
            log.event("system.started", collector=collector.name, listen=f"{host}:{port}")
            if ready is not None:
                ready(f"{host}:{port}")
            await stop.wait()
            await collector.stop()
            for task in tasks:
                task.cancel()
    say("stopped")


def _calm_collection() -> None:
    """Let Python look for cycles seldom, and not among what is there for good.

    Evaluation holds some hundred thousand small tuples, none in a cycle. Walking them all at every
    700 new objects, as is Python's custom, is half of what a step costs at 10,000 busy keys.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class _Collector:
    """The parts of one collector, wired."""

    def __init__(self, config: Configuration) -> None:
        monotonic = time.monotonic
        self.name = config.collector_name
        secrets_dir = config.data_dir / "collector"
        self.background = Background(config, self.name)
        self.links = Links(config.database_url, "outrider collector")
        # Heartbeats are stored on time also while a thousand agents say hello.
        self.keeper_link = Links(config.database_url, "outrider keeper", size=1)
        self.writer = Writer(
            config.database_url, missing_partition=self.background.housekeeper.wake
        )
        self.figures = Figures()
        self.book = RuleBook(self.links, self.figures)
        heartbeat_ms = config.collector.heartbeat_interval.us // 1_000
        least_ms = config.collector.flush_interval.us // 1_000
        self.roster = Roster(
            CreditBudget(config.collector.memory_bytes),
            Wishes(Intervals(least_ms, max(10, least_ms // 10)), heartbeat_ms),
        )
        self.queue = BatchQueue(self.roster.budget, monotonic)
        self.committer = Committer(
            self.writer, self.book, self.queue, self.roster, self.figures,
            clock=monotonic, sleep=asyncio.sleep, backoff=Backoff(0.1, 2.0),
            wake=self.background.committed.set, say=say,
        )  # fmt: skip
        self.pacer = Pacer(
            self.roster, self.committer, self.book, self.figures, least_interval_ms=least_ms
        )
        self.database_clock = DatabaseClock(monotonic, time.time)
        self.heartbeat_book = HeartbeatBook()
        self.keeper = Keeper(
            self.name, self.keeper_link, self.heartbeat_book, self.database_clock,
            watch=Watch(config.collector.reconnect_grace.us / 1e6), status=self.status,
            clock=monotonic, wake=self.background.committed.set,
        )  # fmt: skip
        self.disk = DiskWatch(
            self.name, self.links, config.store.wanted(), config.retention.by_class(),
            config.store.quota.quota(),
            clock=monotonic, hold=self.roster.hold, make_room=self.background.housekeeper.wake,
        )  # fmt: skip
        self.probing = Probing(
            (*config.probes, store_probe.spec(lambda: self.disk.seen)),
            self.name, self.links, self.heartbeat_book, self.database_clock,
        )  # fmt: skip
        backend = Backend(self.links)
        self.pushes = Pushes(backend, self.roster, self.committer, monotonic, self.name)
        self.heartbeats = Heartbeats(
            self.heartbeat_book,
            backend,
            self.database_clock,
            heard=self.roster.rivals.heard,
            audit_head=lambda: self.background.sealer.head,
        )
        self.server = self._server(backend, secrets_dir)
        self.readiness = Readiness(
            self.links, config.database_url, serving=self.server.serving, trouble=self.trouble
        )
        self.alarm = DatabaseAlarm(
            config.database_url, self.name, secrets_dir, Outlets(secrets_dir), self.refusal,
            lambda: self.figures.commits,
        )  # fmt: skip
        self.listener = Listener(Pages(self.links, self.readiness, self.facts).by_path())

    def _server(self, backend: Backend, secrets_dir: Path) -> Server:
        server = Server(
            Authenticator(
                backend,
                token_file(secrets_dir, ENROL_FILE),
                token_file(secrets_dir, ADMIN_FILE),
                time.monotonic,
            )
        )
        server.add(
            IngestServicer(self.pushes, self.heartbeats),
            EnrollServicer(backend),
            AdminServicer(self.links, self.name),
        )
        return server

    async def serve_figures(self, config: CollectorConfig) -> None:
        """Serve /healthz, /readyz and /metrics. Raises ConfigError where the address is taken.

        That is, where somebody chose it: the default one is no reason not to run.
        """
        address = config.http_address()
        if address is None:
            return
        try:
            port = self.listener.bind(*address)
        except ConfigError as error:
            if config.http_listen is not None:
                raise
            say(f"no figures are served: {error}")
            return
        await self.listener.start()
        say(f"figures are at http://{address[0]}:{port}/metrics")

    def refusal(self) -> str:
        """Return why commits fail, empty while they do not."""
        failing = self.committer.complaint.failing_for_s(time.monotonic()) > 0
        return self.committer.complaint.reason if failing else ""

    def trouble(self) -> str:
        """Return why batches are not committed or health is not stored, empty while they are."""
        if self.committer.refused is not None:
            return self.committer.refused.text
        if self.committer.complaint.failing_for_s(time.monotonic()) < _FAILING_S:
            return self.keeper.trouble()
        return f"commits fail: {self.committer.complaint.reason}"

    def status(self) -> dict[str, Any]:
        """Return how this collector is, for its row."""
        return {**self.facts(), **self.figures.status(time.monotonic())}

    def facts(self) -> dict[str, Any]:
        """Return how this collector is, without rates: asking changes nothing."""
        budget = self.roster.budget
        return {
            "version": version(),
            "schema": schema.known(),
            "engine": ENGINE_VERSION,
            "pid": os.getpid(),
            "sessions": len(self.roster),
            "heartbeat_streams": len(self.heartbeats.connected),
            "credit_bytes": budget.granted_bytes,
            "held_bytes": budget.held_bytes,
            "waiting_for_credit": budget.waiting,
            "queued_bytes": self.queue.waiting_bytes,
            "rule_set": self.book.active.version,
            "streams_ended_invalid": self.pushes.invalid,
            "workers_left_out": self.heartbeat_book.left_out,
            "health_rows_refused": self.keeper.refused,
            "probe_threads_held": self.probing.held,
            **self.figures.counts(),
            **self.committer.complaint.status(time.monotonic()),
            **self.disk.status(),
            **self.background.status(),
        }

    async def stop(self) -> None:
        """Stop in order; every step has its time, and none can fail the others."""
        say("stopping: held batches are committed, agents are told")
        fault = Fault(Reason.COLLECTOR_STOPPING, retry_after_s=_COME_BACK_S)
        self.pushes.stopping = fault
        await self.readiness.stop()
        await self.server.not_serving()
        self.roster.tell_credit(self.roster.budget.withdraw())
        try:
            async with asyncio.timeout(STOP_S):
                await self.committer.drained(QUIET_S)
        except TimeoutError:
            say("some batches could not be committed in time: their agents keep them")
        for i, session in enumerate(self.roster):
            # They come back one after the other, not all in one instant.
            come_back_s = _COME_BACK_S + i * _COME_BACK_SPREAD_S
            session.end(Fault(Reason.COLLECTOR_STOPPING, retry_after_s=come_back_s))
        self.heartbeats.stop(fault)
        await self.background.stop()
        try:
            async with asyncio.timeout(STOP_S):
                await self.keeper.stopped()
        except (Fault, TimeoutError) as error:
            say(f"the last heartbeats could not be stored: {error}")
        await self.server.stop(_SERVER_GRACE_S)

    async def close(self) -> None:
        """Release what is open; after :meth:`stop`, or instead of it."""
        await self.listener.close()
        await self.server.stop(0)
        await self.writer.close()
        await self.links.close()
        await self.keeper_link.close()


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something until the block ends."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _database_ready(url: str, stop: asyncio.Event, readiness: Readiness) -> bool:
    """Wait for the database; False when told to stop first.

    Raises Fault when waiting cannot help: a wrong URL, a schema that is not current.
    """
    backoff = Backoff(0.5, 5.0)
    said = ""
    while not stop.is_set():
        try:
            async with schema.opened(url, "outrider collector"):
                pass
        except Fault as fault:
            if fault.retry is RetryClass.NEVER:
                raise
            await readiness.tell(fault.text)
            if fault.text != said:
                said = fault.text
                say(f"{said}: agents keep their data, trying again")
            try:
                await asyncio.wait_for(stop.wait(), backoff.next())
            except TimeoutError:
                continue
        else:
            return True
    return False
