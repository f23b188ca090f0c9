"""A small world for alert tests: an agent whose lines the real writer commits, and rule sets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from array import array
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString, Self

from psycopg.rows import dict_row

from outrider import severity
from outrider.columns import Columns, DictionaryColumn, pack_text
from outrider.instants import to_us
from outrider_alerting.channels.build import build
from outrider_alerting.counting import HitCounter
from outrider_alerting.rules import RuleSet
from outrider_collector.alerts.delivery import Deliverer
from outrider_collector.alerts.delivery import Settings as DeliverySettings
from outrider_collector.alerts.evaluator import Evaluator
from outrider_collector.alerts.evaluator import Settings as EvaluatorSettings
from outrider_collector.alerts.outlets import Outlets
from outrider_collector.store import acts, agents, health, partitions, rules, streams
from outrider_collector.store.claim import PendingBatch
from outrider_collector.store.connect import connect
from outrider_collector.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from psycopg import AsyncConnection

    from outrider_collector.store.claim import Gap

_ids = itertools.count(1)

WAITING = "select count(*) from notifications where fate in ('waiting', 'claimed')"
SENT = "select count(*) from notifications where channel = 'ops' and fate = 'sent'"


class World:
    """One database with an agent, a worker's stream, and what is asked of them."""

    def __init__(self, url: str, secrets_dir: Path) -> None:
        self.url = url
        self.secrets_dir = secrets_dir
        self.connection: AsyncConnection
        self.agent = 0
        self.session = 0
        self.version: int | None = None
        self.counter = HitCounter(RuleSet())
        self.evaluator_wake = asyncio.Event()
        self.delivery_wake = asyncio.Event()
        self._writer = Writer(url)
        self._streams: dict[tuple[str, str], tuple[int, int]] = {}

    async def __aenter__(self) -> Self:
        self.connection = await connect(self.url, application_name="test")
        await partitions.ensure_ahead(self.connection, 2)
        self.agent, _ = await agents.enroll(self.connection, 1, "host-1")
        self.session = await agents.begin_session(self.connection, self.agent, instance=b"i")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writer.close()
        await self.connection.close()

    async def apply(self, **files: str) -> int:
        """Apply rule files, given as name=toml; returns the version."""
        texts = {f"{name}.toml": text for name, text in files.items()}
        applied = await rules.apply(self.connection, texts, "anna")
        active = await rules.active(self.connection)
        assert active is not None
        self.version, self.counter = active.version, HitCounter(active.rule_set, active.frozen)
        self.evaluator_wake.set()
        return applied.version

    async def log(
        self,
        *messages: str,
        service: str = "payments",
        worker: str = "w1",
        level: str = "error",
        at_us: int | None = None,
        watermark_us: int | None = None,
        event: str = "",
        attributes: str | Sequence[str] = "",
        gaps: Sequence[Gap] = (),
    ) -> None:
        """Commit lines of one worker; by default they are of now, and all is shipped until now."""
        now = await self.now_us() if at_us is None else at_us
        stream, begin = await self._stream(service, worker)
        end = begin + len(messages)
        columns = _columns(stream, service, worker, messages, begin, now, level)
        if event:
            columns.event = DictionaryColumn((event,), b"\x01" * len(messages))
        if attributes:
            each = [attributes] * len(messages) if isinstance(attributes, str) else attributes
            columns.attributes_raw = pack_text([text.encode() for text in each])
        batch = PendingBatch(
            agent=self.agent,
            session=self.session,
            team=1,
            stream=stream,
            service=service,
            worker=worker,
            host="host-1",
            begin=begin,
            end=end,
            previous_digest=str(begin).encode() if begin else b"",
            digest=str(end).encode(),
            columns=columns if messages else None,
            gaps=gaps,
            watermark_us=now if watermark_us is None else watermark_us,
        )
        result = await self._writer.commit([batch], self.counter.count, self.version)
        assert not result.deferred and not result.rewinds
        self._streams[service, worker] = (stream, end)
        self.evaluator_wake.set()

    async def say_alive(self) -> None:
        """Store a heartbeat of the agent."""
        component = health.Component("agent", str(self.agent), self.agent, 1, "host-1")
        now = await health.clock(self.connection)
        row = health.HeartbeatRow(component, to_us(now), to_us(now), b"{}")
        await health.record(self.connection, "test", [row], [])

    async def set_state(self, state: str, reason: str = "", worker: str = "w1") -> None:
        """Let a worker be in a state."""
        name = f"payments/{worker}@host-1"
        component = health.Component("worker", name, self.agent, 1, "host-1", "payments", worker)
        now = await health.clock(self.connection)
        await health.record(
            self.connection, "test", [], [health.StateRow(component, state, reason, now)]
        )
        self.evaluator_wake.set()

    async def silence(self, text: str, for_s: float = 3600.0) -> int:
        """Add a silence from now; returns its id."""
        now = await health.clock(self.connection)
        done = await acts.add_silence(
            self.connection,
            filter_text=text,
            starts_at=None,
            ends_at=now + timedelta(seconds=for_s),
            actor="anna",
        )
        self.evaluator_wake.set()
        return done.silence

    async def acknowledge(self, alert: int) -> None:
        """Say that somebody looks after an alert."""
        assert (await acts.acknowledge(self.connection, alert, "anna")).changed

    async def end_silence(self, silence: int) -> None:
        """End a silence."""
        assert await acts.end_silence(self.connection, silence, "anna")
        self.evaluator_wake.set()

    async def now_us(self) -> int:
        """Return the database's clock."""
        now: int = await self.value(
            "select (extract(epoch from clock_timestamp() - timestamptz '2000-01-01Z') * 1000000)"
            "::bigint"
        )
        return now

    async def rows(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries."""
        cursor = await self.connection.cursor(row_factory=dict_row).execute(
            query, parameters or None
        )
        return await cursor.fetchall()

    async def value(self, query: LiteralString, *parameters: object) -> Any:
        """Return the one value of a query; None without a row."""
        row = await (await self.connection.execute(query, parameters or None)).fetchone()
        return None if row is None else row[0]

    async def until(
        self,
        query: LiteralString,
        wanted: Callable[[Any], bool] = bool,
        within_s: float = 10.0,
    ) -> Any:
        """Ask for the one value of a query until it is what is wanted."""
        deadline = time.monotonic() + within_s
        while True:
            found = await self.value(query)
            if wanted(found):
                return found
            if time.monotonic() > deadline:
                ledger = await self.rows("select * from notifications order by id")
                raise TimeoutError(f"{query}: {found!r} after {within_s} s; ledger: {ledger}")
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def evaluating(
        self, holder: str = "one", *, checkpoint_s: float = 0.5
    ) -> AsyncIterator[Evaluator]:
        """Run an evaluator meanwhile."""
        settings = EvaluatorSettings(self.url, holder, lease_s=2.0, checkpoint_s=checkpoint_s)
        evaluator = Evaluator(settings, self.evaluator_wake, self.delivery_wake)
        async with running(evaluator):
            yield evaluator

    @contextlib.asynccontextmanager
    async def delivering(self, holder: str = "one", **changes: Any) -> AsyncIterator[Deliverer]:
        """Run a deliverer meanwhile."""
        settings = DeliverySettings(self.url, holder, **changes)
        outlets = Outlets(self.secrets_dir, build)
        deliverer = Deliverer(settings, outlets, self.delivery_wake, jitter=lambda: 0.01)
        async with running(deliverer):
            yield deliverer

    async def notices(self, channel: str = "ops") -> list[tuple[str, str]]:
        """Return (notice, fate) of a channel's rows in the order they were made."""
        rows = await self.rows(
            "select notice, fate from notifications where channel = %s order by id", channel
        )
        return [(row["notice"], row["fate"]) for row in rows]

    async def news(self, kind: str) -> list[dict[str, Any]]:
        """Return the details of the feed's rows of a kind."""
        return [
            row["detail"]
            for row in await self.rows(
                "select detail from feed where kind = %s order by number", kind
            )
        ]

    async def _stream(self, service: str, worker: str) -> tuple[int, int]:
        if (service, worker) not in self._streams:
            stream = streams.Stream(
                stream_id=self.agent * 1_000_000 + next(_ids),
                service=service,
                worker=worker,
                host="host-1",
                source="file",
                path=f"/var/log/{service}-{worker}.log",
            )
            await streams.open_streams(self.connection, self.agent, 1, [stream])
            self._streams[service, worker] = (stream.stream_id, 0)
        return self._streams[service, worker]


@contextlib.asynccontextmanager
async def running(loop: Evaluator | Deliverer) -> AsyncIterator[None]:
    """Run a loop and stop it in order; its failure is the test's."""
    stop = asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def deliverer_process(
    world: World, failpoints: str, lease_s: float = 40.0
) -> asyncio.subprocess.Process:
    """Run a deliverer in a process of its own, which a failpoint may kill or stop."""
    script = (
        "import asyncio, sys; from pathlib import Path;"
        "from outrider_collector.alerts.delivery import Deliverer, Settings;"
        "from outrider_collector.alerts.outlets import Outlets;"
        "asyncio.run(Deliverer(Settings(sys.argv[1], 'other', lease_s=float(sys.argv[3])),"
        " Outlets(Path(sys.argv[2])), asyncio.Event()).run(asyncio.Event()))"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        world.url,
        str(world.secrets_dir),
        str(lease_s),
        env={**os.environ, "OUTRIDER_FAILPOINTS": failpoints},
    )


async def killed_at(world: World, failpoint: str) -> None:
    """Let a deliverer in a process of its own work until it is killed at a failpoint."""
    process = await deliverer_process(world, f"{failpoint}=kill")
    assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGKILL


def _columns(
    stream: int,
    service: str,
    worker: str,
    messages: tuple[str, ...],
    begin: int,
    at_us: int,
    level: str,
) -> Columns:
    n = len(messages)
    number = severity.parse(level)
    assert number is not None
    return Columns(
        n=n,
        stream=stream,
        service=service,
        worker=worker,
        host="host-1",
        source="file",
        ts_us=array("q", [at_us] * n),
        observed_us=array("q", [at_us] * n),
        stream_offset=array("q", range(begin, begin + n)),
        severity=bytes([number]) * n,
        message_raw=pack_text([message.encode() for message in messages]),
    )
