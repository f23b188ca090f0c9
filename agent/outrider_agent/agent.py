"""The agent as a whole: what it is made of, how it starts, connects and stops."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from outrider import severity as severities
from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider_agent import VERSION, control, journal, orders
from outrider_agent.adoption import Adoption
from outrider_agent.backfill import Backfill
from outrider_agent.configuration import zone
from outrider_agent.connection import Connection, clock_us
from outrider_agent.delivery import Batch, Delivery
from outrider_agent.discovery import Discovery
from outrider_agent.disk import DiskThread
from outrider_agent.files import Files
from outrider_agent.handover import Adopt, Handover
from outrider_agent.held import KEEP, HeldFiles
from outrider_agent.hold import Hold
from outrider_agent.identity import Identity
from outrider_agent.inbox import Inbox
from outrider_agent.own_log import OwnLog
from outrider_agent.probing import Probing
from outrider_agent.registry import Minter
from outrider_agent.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.account import Account
    from outrider_agent.configuration import Configuration
    from outrider_agent.reports import Reports

DRAIN_S = 3.0
"""At a stop, what was read has so long to be acknowledged; the rest is read again."""


_AT_START_ONLY = ("state_dir", "inbox", "token_file", "host")
_STATUS_S = 5.0
STALLED_S = 30.0
"""A disk thread that makes no turn for so long is not alive; a slow disk alone takes seconds."""


class Agent:
    """One agent process. ``run`` returns after ``stop`` is set. Raises ConfigError, Fault."""

    def __init__(
        self, config: Configuration, reports: Reports, supervisor: Supervisor | None = None
    ) -> None:
        self._config = config
        self._reports = reports
        self._identity = Identity(config.state_dir)
        self._held = Hold(config.state_dir)
        self._handover = Handover(config.agent.window_bytes)
        self._delivery = Delivery()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._files = self._make_files()
        self._probing = Probing(config.probes, config.host, reports, hurry=self._hurry_up)
        self._connection = Connection(
            config,
            self._identity,
            delivery=self._delivery,
            handover=self._handover,
            reports=reports,
            picture=lambda: self._files.picture,
            components=self._probing.components,
            last_feed=self._files.last_feed,
            instance=secrets.token_bytes(16),
        )
        self._disk = DiskThread(
            self._files,
            self._handover,
            reports,
            window_bytes=config.agent.window_bytes,
            backfill=Backfill(config.agent.backfill_bytes_per_s),
        )
        self._disk_failure: BaseException | None = None
        self._supervisor = supervisor or Supervisor({})

    def _make_files(self) -> Files:
        config, reports = self._config, self._reports
        try:
            log = journal.Journal(config.state_dir / "journal")
        except OSError as error:
            raise ConfigError(
                f"cannot write the journal, {(error.strerror or str(error)).lower()}",
                str(error.filename or config.state_dir),
                "let the agent's account write there, or set `agent.state_dir`",
            ) from None
        inbox = Inbox(config.inbox, config.agent, reports)
        held = HeldFiles(config.agent, config.state_dir / KEEP, reports)
        adoption = Adoption(
            finder=Discovery(config.agent.source, config.inbox, config.state_dir),
            minter=Minter(
                self._identity.key,
                config.host,
                zone("local"),
                first_start=not self._identity.settled,
            ),
            identity=self._identity,
            journal=log,
            inbox=inbox,
            handover=self._handover,
            reports=reports,
            agent=config.agent,
            keep_dir=config.state_dir / KEEP,
            held_files=held,
        )
        return Files(
            adoption=adoption,
            inbox=inbox,
            journal=log,
            state_path=config.state_dir / "cache.json",
            handover=self._handover,
            reports=reports,
            held=held,
            hurry=self._hurry_up,
        )

    def _hurry_up(self) -> None:
        """Have a heartbeat sent at once; called by the disk thread."""
        self._in_loop(self._connection.hurry.set)

    # ---------------------------------------------------------------- life

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
        started_us = clock_us()
        loop = self._loop = asyncio.get_running_loop()
        self._handover.bind(lambda: loop.call_soon_threadsafe(self._take))
        own_log = self._start_own_log()
        thread = threading.Thread(
            target=self._disk_body, args=(loop, stop), name="disk", daemon=True
        )
        thread.start()
        session_stop = asyncio.Event()
        connecting = asyncio.create_task(self._connection.run(session_stop))
        stopping = asyncio.create_task(stop.wait())
        server = await self._serve(started_us)
        watching = asyncio.create_task(self._watch())
        probing = asyncio.create_task(self._probing.run())
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._supervisor.tell("STOPPING=1")
        watching.cancel()
        probing.cancel()
        if server is not None:
            server.close()
        own_log.end()
        self._handover.tell(orders.Stop())
        await asyncio.to_thread(thread.join, DRAIN_S)
        self._take()
        await self._drain()
        session_stop.set()
        stopping.cancel()
        try:
            await asyncio.wait_for(connecting, DRAIN_S)
        except TimeoutError:
            pass
        finally:
            if not thread.is_alive():
                self._files.finish()
            self._held.release()
        if self._disk_failure is not None:
            raise self._disk_failure

    async def _serve(self, started_us: int) -> control.Server | None:
        async def answer(question: control.Question) -> Account:
            told: asyncio.Future[Account] = asyncio.get_running_loop().create_future()
            self._handover.tell(
                orders.Tell(question, lambda account: self._in_loop(told.set_result, account))
            )
            account = await asyncio.wait_for(told, STALLED_S)
            agent = self._config.agent
            account.pid, account.version, account.host = os.getpid(), VERSION, self._config.host
            account.started_us, account.window_bytes = started_us, agent.window_bytes
            account.collectors = list(agent.collectors)
            account.bug_count = self._connection.bug_count
            account.probes = self._probing.accounts()
            account.probe_threads_held = self._probing.held
            account.collector = self._connection.address if self._connection.established else ""
            return account

        try:
            return await control.serve(self._config.state_dir, answer)
        except OSError as error:
            self._reports.say("control", f"`outrider agent status` cannot ask: {error}")
            return None

    def _in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(call, *arguments)

    async def _watch(self) -> None:
        """Tell the supervisor how it goes, as long as the disk thread makes its turns."""
        supervisor = self._supervisor
        supervisor.tell("READY=1", "STATUS=looking for files")
        interval_s = min(supervisor.interval_s or _STATUS_S, _STATUS_S)
        while supervisor.listens:
            await asyncio.sleep(interval_s)
            if time.monotonic() - self._disk.turned < STALLED_S:
                supervisor.tell("WATCHDOG=1", f"STATUS={self._status()}")

    def _status(self) -> str:
        picture, address = self._files.picture, self._connection.address
        state = "connected to" if self._connection.established else "no session with"
        return (
            f"{picture.stream_count} files, {picture.backlog_bytes} bytes behind, {state} {address}"
        )

    def reload(self, config: Configuration) -> None:
        """Go by another configuration from now on, as far as that is possible."""
        before, after = self._config, config
        waits = [key for key in _AT_START_ONLY if getattr(before, key) != getattr(after, key)]
        if before.agent.window_bytes != after.agent.window_bytes:
            waits.append("window_bytes")
        kept = {key: getattr(before, key) for key in _AT_START_ONLY}
        window_bytes = before.agent.window_bytes
        agent = msgspec.structs.replace(after.agent, window_bytes=window_bytes)
        self._config = replace(after, agent=agent, **kept)
        self._handover.tell(orders.Reload(agent))
        self._connection.reload(agent)
        self._probing.configure(after.probes)
        more = f"; at the next start: {', '.join(waits)}" if waits else ""
        self._reports.say(
            f"reload {time.monotonic()}",
            f"the configuration was read anew{more}",
            event="config.loaded",
        )

    def _start_own_log(self) -> OwnLog:
        own_log = OwnLog(self._config.inbox, self._config.host)
        try:
            own_log.start()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._reports.say(
                "inbox",
                f"the inbox cannot be used, {reason}: {self._config.inbox}: let the agent's "
                "account write there, or set `agent.inbox`",
            )
        self._reports.sink = own_log
        return own_log

    def _disk_body(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        try:
            self._disk.run()
        except BaseException as error:  # noqa: BLE001  the process ends with it, below
            self._disk_failure = error
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

    def _take(self) -> None:
        """Take what the disk thread gave; runs in the loop."""
        for item in self._handover.take():
            if isinstance(item, Batch):
                self._delivery.offer(item)
            elif isinstance(item, Adopt):
                self._delivery.adopt(item.stream)
            else:
                self._delivery.born(item.stream)
        released = self._delivery.take_released()
        if released:
            self._handover.release(released)
        self._handover.tell(*self._delivery.take_notices())
        self._connection.wake()

    async def _drain(self) -> None:
        """Wait until everything is acknowledged, for a moment."""
        deadline = time.monotonic() + DRAIN_S
        while self._connection.established and self._delivery.unacknowledged:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)


async def run(
    config: Configuration,
    reports: Reports,
    stop: asyncio.Event,
    *,
    hangup: asyncio.Event | None = None,
    reread: Callable[[], Configuration] | None = None,
) -> None:
    """Run an agent until ``stop`` is set; as another one, where its identity turns out a copy.

    Each time that ``hangup`` is set the configuration is taken from ``reread``; where that raises
    ConfigError, the one before stays. Raises ConfigError, Fault.
    """
    supervisor = Supervisor()
    while True:
        agent = Agent(config, reports, supervisor)
        reloading = None
        if hangup is not None and reread is not None:
            reloading = asyncio.create_task(_reload(agent, reports, supervisor, hangup, reread))
        try:
            await agent.run(stop)
        except Fault as fault:
            if fault.reason != Reason.AGENT_CLONED:
                raise
            Identity(config.state_dir).renounce()
        else:
            return
        finally:
            if reloading is not None:
                reloading.cancel()


async def _reload(
    agent: Agent,
    reports: Reports,
    supervisor: Supervisor,
    hangup: asyncio.Event,
    reread: Callable[[], Configuration],
) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        supervisor.reloading()
        try:
            agent.reload(reread())
        except ConfigError as error:
            reports.say(
                f"reload {error}",
                f"the configuration stays as it was: {error}",
                event="config.rejected",
                severity=severities.ERROR,
            )
        supervisor.tell("READY=1")


def ignore_lease_breaks() -> None:
    """Let leases be asked for: a broken one is told by SIGIO, which would end the process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
