"""The connection: which collector, enrolment, a session with heartbeats, and the next after it."""

from __future__ import annotations

import asyncio
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.configuration import ConfigError, read_secret
from outrider.errors import Fault, Reason
from outrider.instants import from_unix_us
from outrider.retry import Backoff
from outrider_agent import VERSION, orders
from outrider_agent.audit_heads import AuditHeads
from outrider_agent.clock import DatabaseClock
from outrider_agent.expected import Roster
from outrider_agent.heartbeats import Components, Heartbeats
from outrider_agent.identity import is_printable, token_path
from outrider_agent.wire.channel import open_channel
from outrider_agent.wire.enroll import enroll
from outrider_agent.wire.heartbeat import run_heartbeats
from outrider_agent.wire.push import Greeting, PushSession, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.configuration import AgentConfig, Configuration
    from outrider_agent.delivery import Delivery
    from outrider_agent.handover import Handover
    from outrider_agent.identity import Identity
    from outrider_agent.picture import Picture
    from outrider_agent.reports import Reports

_LOOK_S = 0.02
_MOST_LOOKS = 50
_LONGEST_WAIT_S = 30.0
"""However long a collector asks an agent to stay away, and where nothing changes by itself."""


class Connection:
    """Holds a session with one of the collectors, as long as there is one."""

    def __init__(
        self,
        config: Configuration,
        identity: Identity,
        *,
        delivery: Delivery,
        handover: Handover,
        reports: Reports,
        picture: Callable[[], Picture],
        components: Components,
        last_feed: tuple[int, bytes],
        instance: bytes,
    ) -> None:
        self._config = config
        self._identity = identity
        self._delivery = delivery
        self._handover = handover
        self._reports = reports
        self._last_feed = last_feed
        self._instance = instance
        self._heads = AuditHeads(config.state_dir)
        self._clock = DatabaseClock()
        self._settings = Settings()
        # One for all sessions: it knows how old things are, whatever becomes of the clock.
        self._expected = Roster()
        self._expect(config.agent)
        self._picture = picture
        self._heartbeats = Heartbeats(
            picture,
            clock_us,
            lambda: self._clock.offset_us,
            lambda: self._settings.heartbeat_interval_s,
            components=components,
            expected=self._expected,
        )
        self._addresses = config.agent.collectors
        self.address = ""
        """The collector it has, or seeks, a session with."""
        self._session: PushSession | None = None
        self.bug_count = 0
        """Sessions that an error of the agent's own has ended."""
        self.hurry = asyncio.Event()
        """Set to have a heartbeat sent at once."""

    @property
    def established(self) -> bool:
        """Whether there is a session."""
        return self._session is not None and self._session.welcomed.is_set()

    def reload(self, agent: AgentConfig) -> None:
        """Use other collectors, and expect other workers; a session with one gone ends."""
        self._expect(agent)
        self._addresses = agent.collectors
        if self.address not in agent.collectors and self._session is not None:
            self._session.leave()

    def _expect(self, agent: AgentConfig) -> None:
        self._expected.expect([one.expected() for one in agent.expect], time.monotonic())

    def wake(self) -> None:
        """Have the session look for something to send."""
        if self._session is not None:
            self._session.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Hold a session with one of the collectors, in their order, until ``stop``.

        An unexpected error, which is a bug, ends the session and is told; the next one follows.
        Raises Fault AGENT_CLONED when another process has this agent's identity.
        """
        backoff = Backoff(base_s=0.2, cap_s=5.0)
        index = 0
        while not stop.is_set():
            addresses = self._addresses
            address = self.address = addresses[index % len(addresses)]
            try:
                await self._hold(address, stop)
            except Fault as fault:
                if fault.reason == Reason.AGENT_CLONED:
                    self._say_cloned()
                    raise
                wait_s = self._after(fault, address, backoff)
            except Exception as bug:  # noqa: BLE001  whatever it is, what is read waits to be sent
                wait_s = self._after_bug(bug, backoff)
            else:
                return
            index += 1
            if self._session is not None and self._session.welcomed.is_set():
                # It was a good one: it may be back at once, and the first is preferred again.
                backoff.reset()
                index = 0 if len(addresses) == 1 else index
            self._session = None
            await _sleep(wait_s, stop)

    def _say_cloned(self) -> None:
        self._reports.say(
            "cloned",
            "another process with this agent's identity is connected: "
            f"{self._config.state_dir} was copied: this agent enrols as one of its own; what it "
            "finds is sent, marked as replayed, and files that both agents follow are stored twice",
            event="pipeline.rejected",
            severity=severities.ERROR,
        )

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
        floor_s = min(fault.retry_after_s or 0.0, _LONGEST_WAIT_S)
        if fault.reason in {Reason.TOKEN_REVOKED, Reason.VERSION_UNSUPPORTED}:
            floor_s = _LONGEST_WAIT_S
        return backoff.next(floor_s)

    def _after_bug(self, bug: Exception, backoff: Backoff) -> float:
        """Say where the agent went wrong, and return how long to wait."""
        self.bug_count += 1
        place = _place(bug)
        self._reports.say(
            f"bug {place}",
            f"a bug in the agent ended the session: {type(bug).__name__}: {bug}: {place}: what is "
            "read is kept, trying again; report it with this line",
            event="pipeline.failed",
            severity=severities.ERROR,
            place=place,
            bugs=self.bug_count,
        )
        return backoff.next()

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
        await self._see_who_is_there(session.welcomed_s)
        await run_heartbeats(
            channel,  # type: ignore[arg-type]  # only wire/ names grpc's types
            token,
            make=self._heartbeats.make,
            interval_s=lambda: self._settings.heartbeat_interval_s,
            sample_clock=self._sample_clock,
            clock_us=clock_us,
            keep_head=self._keep_head,
            hurry=self.hurry,
            stop=stop,
        )

    async def _see_who_is_there(self, since_s: float) -> None:
        """Wait until the disk thread has looked since then; a second, and the last look will do.

        A worker that started again while no collector was reachable is not told as ended first.
        """
        for _ in range(_MOST_LOOKS):
            if self._picture().painted_s >= since_s:
                return
            await asyncio.sleep(_LOOK_S)

    def _keep_head(self, number: int, root: bytes) -> bool:
        """Keep a head of the audit log, whoever shows it; tell where it contradicts one kept.

        False where it cannot be kept now.
        """
        contradicted = self._heads.contradicted(number, root)
        is_kept = True
        try:
            self._heads.keep(number, root, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        except OSError as error:
            is_kept = False
            self._reports.say(
                "audit head",
                "cannot keep a head of the audit log, "
                f"{(error.strerror or str(error)).lower()}: {self._config.state_dir}: "
                "free space there; it is tried again",
                event="pipeline.rejected",
                severity=severities.WARN,
            )
        if contradicted is not None:
            self._reports.say(
                f"audit head {number}",
                f"seal {number} of the audit log is not what it was at {contradicted.heard_at}: "
                "the log was written anew, or the database was restored: see "
                "'outrider audit verify'",
                event="audit.verification_failed",
                severity=severities.ERROR,
                seal=number,
                kept=contradicted.root.hex(),
                shown=root.hex(),
            )
        return is_kept

    async def _enroll(self, channel: object) -> str:
        if self._identity.is_damaged:
            self._reports.say(
                "token damaged",
                f"the agent's own token is damaged: {token_path(self._config.state_dir)}: it "
                "enrols anew, as another agent; what is on this host is sent again",
                event="pipeline.rejected",
                severity=severities.WARN,
            )
        secret = self._secret()
        token = await enroll(channel, secret, self._config.host)  # type: ignore[arg-type]
        try:
            self._identity.enrolled(token)
        except OSError as error:
            self._reports.say(
                "token",
                f"cannot keep the agent's own token, {(error.strerror or str(error)).lower()}: "
                f"{self._config.state_dir}: free space there; after a restart it enrols anew",
                severity=severities.ERROR,
            )
        return token

    def _secret(self) -> str:
        """Read the secret of enrolment. Raises Fault."""
        try:
            secret = read_secret(self._config.token_file)
            if not is_printable(secret):
                raise ConfigError(  # noqa: TRY301  told as the others are
                    "the file holds no secret, but other characters", str(self._config.token_file)
                )
        except ConfigError as error:
            # A collector on this host may be about to make the file.
            detail = (
                f"not enrolled: {error.what}: {error.where}: copy the collector's enroll.token "
                "there, readable for the agent, or set `agent.token_file`"
            )
            raise Fault(Reason.TOKEN_INVALID, detail=detail) from None
        return secret

    def _greeting(self) -> Greeting:
        number, nonce = self._last_feed
        return Greeting(VERSION, self._instance, self._config.host, number, nonce)

    def _sample_clock(self, sent_us: int, database_us: int, received_us: int) -> None:
        if self._clock.sample(sent_us, database_us, received_us):
            self._handover.tell(orders.Clock(self._clock.offset_us))


def _place(error: Exception) -> str:
    """Return where an error was raised, the caller last: ``file.py:12 name < file.py:3 name``."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


def clock_us() -> int:
    """Return this host's clock in microseconds since 2000."""
    return from_unix_us(time.time_ns() // 1000)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
