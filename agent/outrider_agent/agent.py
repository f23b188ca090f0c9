"""The agent as a whole: what it is made of, how it starts, connects and stops."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider_agent import commands, journal
from outrider_agent.adoption import Adoption
from outrider_agent.configuration import zone
from outrider_agent.connection import Connection
from outrider_agent.delivery import Batch, Delivery
from outrider_agent.discovery import Discovery
from outrider_agent.disk import DiskThread
from outrider_agent.files import Files
from outrider_agent.handover import Adopt, Handover
from outrider_agent.hold import Hold
from outrider_agent.identity import Identity
from outrider_agent.inbox import Inbox
from outrider_agent.own_log import OwnLog
from outrider_agent.registry import Minter

if TYPE_CHECKING:
    from outrider_agent.configuration import Configuration
    from outrider_agent.reports import Reports

DRAIN_S = 3.0
"""At a stop, what was read has so long to be acknowledged; the rest is read again."""


class Agent:
    """One agent process. ``run`` returns after ``stop`` is set. Raises ConfigError, Fault."""

    def __init__(self, config: Configuration, reports: Reports) -> None:
        self._config = config
        self._reports = reports
        self._identity = Identity(config.state_dir)
        self._held = Hold(config.state_dir)
        self._handover = Handover(config.agent.window_bytes)
        self._delivery = Delivery()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._files = self._make_files()
        self._connection = Connection(
            config,
            self._identity,
            delivery=self._delivery,
            handover=self._handover,
            reports=reports,
            picture=lambda: self._files.picture,
            last_feed=self._files.last_feed,
            instance=secrets.token_bytes(16),
        )
        self._disk = DiskThread(
            self._files, self._handover, reports, window_bytes=config.agent.window_bytes
        )
        self._disk_failure: BaseException | None = None

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
        inbox = Inbox(config.agent.kept_tail_bytes, config.agent.retire_after_s)
        adoption = Adoption(
            finder=Discovery(config.agent.source, config.inbox),
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
            max_files=config.agent.max_files,
        )
        return Files(
            adoption=adoption,
            inbox=inbox,
            journal=log,
            state_path=config.state_dir / "cache.json",
            handover=self._handover,
            reports=reports,
            hurry=self._hurry_up,
        )

    def _hurry_up(self) -> None:
        """Have a heartbeat sent at once; called by the disk thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._connection.hurry.set)

    # ---------------------------------------------------------------- life

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
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
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        own_log.end()
        self._handover.tell(commands.Stop())
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
                self._files.finish(self._handover)
            self._held.release()
        if self._disk_failure is not None:
            raise self._disk_failure

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


async def run(config: Configuration, reports: Reports, stop: asyncio.Event) -> None:
    """Run an agent until ``stop`` is set; as another one, where its identity turns out a copy.

    Raises ConfigError, Fault.
    """
    while True:
        try:
            await Agent(config, reports).run(stop)
        except Fault as fault:
            if fault.reason != Reason.AGENT_CLONED:
                raise
            Identity(config.state_dir).renounce()
        else:
            return


def ignore_lease_breaks() -> None:
    """Let leases be asked for: a broken one is told by SIGIO, which would end the process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
