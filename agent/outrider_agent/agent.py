"""The agent as a whole: what it is made of, how it starts, connects and stops."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.configuration import ConfigError, read_secret
from outrider.errors import Fault, Reason
from outrider.retry import Backoff
from outrider_agent import VERSION, commands, journal, processes
from outrider_agent.adoption import Adoption
from outrider_agent.clock import DatabaseClock
from outrider_agent.configuration import zone
from outrider_agent.delivery import Batch, Delivery
from outrider_agent.discovery import Discovery
from outrider_agent.disk import DiskThread
from outrider_agent.files import Files
from outrider_agent.handover import Adopt, Handover
from outrider_agent.heartbeats import Heartbeats
from outrider_agent.hold import Hold
from outrider_agent.identity import Identity
from outrider_agent.inbox import Inbox
from outrider_agent.own_log import OwnLog
from outrider_agent.registry import Minter
from outrider_agent.times import from_unix_us
from outrider_agent.wire.channel import open_channel
from outrider_agent.wire.enroll import enroll
from outrider_agent.wire.heartbeat import run_heartbeats
from outrider_agent.wire.push import Greeting, PushSession, Settings

if TYPE_CHECKING:
    from outrider_agent.configuration import Configuration
    from outrider_agent.reports import Reports

DRAIN_S = 3.0
"""At a stop, what was read has so long to be acknowledged; the rest is read again."""

_NO_RETRY_CAP_S = 30.0


class Agent:
    """One agent process. ``run`` returns after ``stop`` is set. Raises ConfigError, Fault."""

    def __init__(self, config: Configuration, reports: Reports) -> None:
        self._config = config
        self._reports = reports
        self._identity = Identity(config.state_dir)
        self._held = Hold(config.state_dir)
        self._handover = Handover(config.agent.window_bytes)
        self._delivery = Delivery()
        self._clock = DatabaseClock()
        self._settings = Settings()
        self._session: PushSession | None = None
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._instance = secrets.token_bytes(16)
        self._files = self._make_files()
        self._disk = DiskThread(
            self._files, self._handover, reports, window_bytes=config.agent.window_bytes
        )
        self._disk_failure: BaseException | None = None
        self._last_feed = self._files.last_feed

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
                self._loop.call_soon_threadsafe(self._hurry.set)

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
        connecting = asyncio.create_task(self._connect(session_stop))
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
        if self._session is not None:
            self._session.wake()

    async def _drain(self) -> None:
        """Wait until everything is acknowledged, for a moment."""
        deadline = time.monotonic() + DRAIN_S
        while self._session is not None and self._delivery.unacknowledged:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    # ---------------------------------------------------------------- connection

    async def _connect(self, stop: asyncio.Event) -> None:
        """Hold a session with one of the collectors, in their order, until ``stop``."""
        backoff = Backoff(base_s=0.2, cap_s=5.0)
        addresses = self._config.agent.collectors
        index = 0
        while not stop.is_set():
            address = addresses[index % len(addresses)]
            try:
                await self._hold(address, stop)
            except Fault as fault:
                wait_s = self._after(fault, address, backoff)
            else:
                return
            index += 1
            if self._session is not None and self._session.welcomed.is_set():
                # It was a good one: it may be back at once, and the first is preferred again.
                backoff.reset()
                index = 0 if len(addresses) == 1 else index
            self._session = None
            await _sleep(wait_s, stop)

    def _after(self, fault: Fault, address: str, backoff: Backoff) -> float:
        """Say what happened, once, and return how long to wait."""
        if fault.reason in {Reason.AGENT_UNKNOWN, Reason.TOKEN_INVALID}:
            self._identity.forget_token()
        self._reports.say(
            f"collector {address} {fault.reason}",
            f"not connected to the collector at {address}: {fault.text} ({fault.reason}); "
            "what is read is kept, trying again",
            event="network.disconnected",
            severity=severities.WARN,
            collector=address,
            reason=str(fault.reason),
        )
        floor_s = min(fault.retry_after_s or 0.0, _NO_RETRY_CAP_S)
        if fault.reason in {Reason.TOKEN_REVOKED, Reason.VERSION_UNSUPPORTED}:
            floor_s = _NO_RETRY_CAP_S
        return backoff.next(floor_s)

    async def _hold(self, address: str, stop: asyncio.Event) -> None:
        """Connect to one collector and stay; raises Fault when the session ends."""
        channel = open_channel(address)
        try:
            token = self._identity.token or await self._enroll(channel)
            self._session = session = PushSession(
                self._delivery,
                self._handover,
                clock_us=clock_us,
                sample_clock=self._sample_clock,
                settings=self._settings,
            )
            beats = asyncio.create_task(self._beat(channel, token, session, address, stop))
            push = asyncio.create_task(session.run(channel, token, self._greeting(), stop))
            done, _ = await asyncio.wait({beats, push}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                for task in {beats, push} - done:
                    task.cancel()
            results = await asyncio.gather(push, beats, return_exceptions=True)
            self._last_feed = session.last_feed or self._last_feed
            for result in results:
                if isinstance(result, Exception) and not stop.is_set():
                    raise result
        finally:
            await channel.close()

    async def _beat(
        self,
        channel: object,
        token: str,
        session: PushSession,
        address: str,
        stop: asyncio.Event,
    ) -> None:
        await session.welcomed.wait()
        if self._reports.settle_prefix(f"collector {address} "):
            self._reports.say(
                f"connected {address}",
                f"connected to the collector at {address}",
                event="pipeline.connected",
                collector=address,
            )
        heartbeats = Heartbeats(
            lambda: self._files.picture,
            clock_us,
            lambda: self._clock.offset_us,
            lambda: self._settings.heartbeat_interval_s,
        )
        await run_heartbeats(
            channel,  # type: ignore[arg-type]  # only wire/ names grpc's types
            token,
            make=heartbeats.make,
            interval_s=lambda: self._settings.heartbeat_interval_s,
            sample_clock=self._sample_clock,
            clock_us=clock_us,
            hurry=self._hurry,
            stop=stop,
        )

    async def _enroll(self, channel: object) -> str:
        try:
            secret = read_secret(self._config.token_file)
        except ConfigError as error:
            # A collector on this host may be about to make the file.
            raise Fault(Reason.TOKEN_INVALID, detail=f"not enrolled: {error}") from None
        token = await enroll(channel, secret, self._config.host)  # type: ignore[arg-type]
        self._identity.enrolled(token)
        return token

    def _greeting(self) -> Greeting:
        number, nonce = self._last_feed
        return Greeting(
            VERSION, self._instance, processes.boot_id(), self._config.host, number, nonce
        )

    def _sample_clock(self, sent_us: int, database_us: int, received_us: int) -> None:
        if self._clock.sample(sent_us, database_us, received_us):
            self._handover.tell(commands.Clock(self._clock.offset_us))


def clock_us() -> int:
    """Return this host's clock in microseconds since 2000."""
    return from_unix_us(time.time_ns() // 1000)


def ignore_lease_breaks() -> None:
    """Let leases be asked for: a broken one is told by SIGIO, which would end the process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
