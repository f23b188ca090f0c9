"""An agent and its collector without threads, sockets or a clock: everything happens in steps.

The parts are the agent's own; only what carries messages between them is left out. So a test can
stop anywhere, and time goes as fast as it likes.
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outrider_agent import configuration
from outrider_agent.agent import Agent
from outrider_agent.backfill import Backfill
from outrider_agent.disk import DiskThread
from outrider_agent.reports import Reports
from outrider_agent.wire.messages import joined, stream_message
from outrider_agent.wire.push import PushSession, Settings
from outrider_protos.v1 import ingest_pb2
from tests.agent.fake_collector import FakeCollector
from tests.agent.harness import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "stepped"
_ROUNDS = 6
"""A turn has its answer, which has its order, and so on: so often at most within a step."""


@contextmanager
def no_room(*, full: bool) -> Iterator[None]:
    """Let no file grow, as on a full disk, but for the errno."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Stepped:
    """One host whose agent runs in steps; ``collector`` is never started, only asked."""

    def __init__(self, site: Site, collector: FakeCollector) -> None:
        self.site = site
        self.collector = collector
        self.now = 1_000.0
        """Monotonic seconds, and those of the wall clock since 1970."""
        self.agent: Agent | None = None
        self.said: list[str] = []
        self.full = False
        self._session: PushSession | None = None
        self._rewinding: dict[int, int] = {}

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Start the agent, as a new process."""
        reports = Reports(clock=lambda: self.now, write=self.said.append)
        config = configuration.load(self.site.config_file, {})
        self.agent = agent = Agent(config, reports)
        self._disk = DiskThread(
            agent._files,
            agent._handover,
            reports,
            window_bytes=config.agent.window_bytes,
            backfill=Backfill(config.agent.backfill_bytes_per_s),
            clock=lambda: self.now,
            wall=lambda: self.now,
        )

    def crash(self) -> None:
        """End it where it stands: nothing is written any more."""
        assert self.agent is not None
        self.disconnect()
        self.agent._files._close()
        self.agent._held.release()
        self.agent = None

    def stop(self) -> None:
        """End it in order."""
        assert self.agent is not None
        agent = self.agent
        with no_room(full=self.full):
            self._obey()
            self._disk._flush_all()
            agent._take()
            self._send()
            self.disconnect()
            agent._files.finish()
        agent._held.release()
        self.agent = None

    def end(self, *, killed: bool) -> None:
        """End it where it stands, or in order."""
        self.crash() if killed else self.stop()

    def restart(self, *, killed: bool = False, connected: bool = True) -> None:
        """End it, if it runs, and start it, with a session."""
        if self.agent is not None:
            self.end(killed=killed)
        self.start()
        if connected:
            self.connect()

    # ---------------------------------------------------------------- sessions

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._session is not None

    def connect(self) -> None:
        """Begin a session with the collector."""
        assert self.agent is not None
        self._rewinding = {}
        self._session = session = PushSession(
            self.agent._delivery,
            self.agent._handover,
            clock_us=lambda: 0,
            sample_clock=lambda *_: None,
            settings=Settings(),
        )
        session._welcome(self.collector._welcome(TOKEN))

    def disconnect(self) -> None:
        """Lose the session."""
        if self._session is not None and self.agent is not None:
            self.agent._delivery.disconnected()
        self._session = None

    # ---------------------------------------------------------------- steps

    def step(self, seconds: float) -> None:
        """Let so much time pass, and do what is due then."""
        assert self.agent is not None
        self.now += seconds
        for _ in range(_ROUNDS):
            with no_room(full=self.full):
                self._obey()
                self._disk.turn()
            self.agent._take()
            self._send()

    def work(self) -> None:
        """Look, read and save, and end no stream yet."""
        for seconds in (0.3, 0.3, 2.0):
            self.step(seconds)

    def settle(self) -> None:
        """Let time pass until nothing comes any more: all is read, told and acknowledged."""
        for seconds in (0.3, 11.0, 6.0, 11.0, 6.0, 0.3):
            self.step(seconds)

    def _obey(self) -> None:
        assert self.agent is not None
        for order in self.agent._handover.orders(0):
            self._disk._obey(order)

    def _send(self) -> None:
        """Have the collector answer all that the agent has to say."""
        if self._session is None or self.agent is None:
            return
        delivery, collector = self.agent._delivery, self.collector
        while streams := delivery.next_open():
            asked = ingest_pb2.OpenStreams(streams=map(stream_message, streams))
            self._hear(ingest_pb2.PushResponse(streams_opened=collector._open(asked, TOKEN)))
        while (batch := delivery.next_batch()) is not None:
            answer = collector._batch(
                ingest_pb2.PushRequest.FromString(joined([batch.message])).batch, self._rewinding
            )
            if answer is not None and not collector.lose_answers:
                self._hear(answer)

    def _hear(self, response: ingest_pb2.PushResponse) -> None:
        assert self._session is not None
        self._session._hear(response)
        self._session._settle()


def new_host(root: Path, agent: str = "", source: str = "") -> Stepped:
    """A host whose agent is not started yet; the collector knows it."""
    collector = FakeCollector()
    collector.port = 1  # nobody listens, and nobody asks
    collector.database.tokens.add(TOKEN)
    return Stepped(Site(root, collector, agent=agent, source=source), collector)


def connected_host(root: Path, agent: str = "", source: str = "") -> Stepped:
    """A host whose agent runs in steps and has a session."""
    host = new_host(root, agent, source)
    host.start()
    host.connect()
    return host
