"""Heartbeats and health, over a real server and a real database."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from outrider.instants import from_us
from outrider_alerting.durations import Duration
from outrider_collector.ingest import keeper
from outrider_collector.ingest.heartbeats import HeartbeatBook
from outrider_collector.store import health
from outrider_collector.store.connect import connect
from outrider_protos.v1 import ingest_pb2
from tests.collector.service.agent_client import Agent, batch_of, bearer, lines
from tests.collector.service.running import ask
from tests.collector.store.making import now_us
from tests.waiting import eventually

if TYPE_CHECKING:
    import pytest

    from tests.collector.service.conftest import Start
    from tests.collector.service.running import Running


class Beats:
    """One agent's stream of heartbeats."""

    def __init__(self, agent: Agent) -> None:
        self._call: Any = agent.ingest.Heartbeat(metadata=bearer(agent.token))
        self._number = 0

    async def beat(
        self, *workers: ingest_pb2.WorkerHeartbeat, **fields: Any
    ) -> ingest_pb2.HeartbeatResponse:
        """Send one and return its answer."""
        self._number += 1
        said: dict[str, Any] = {"number": self._number, "next_within_ms": 60_000}
        await self._call.write(ingest_pb2.HeartbeatRequest(workers=workers, **(said | fields)))
        answer: ingest_pb2.HeartbeatResponse = await self._call.read()
        return answer

    async def end(self) -> None:
        """End the stream."""
        await self._call.done_writing()
        await self._call.code()


def worker(name: str = "w1", **fields: Any) -> ingest_pb2.WorkerHeartbeat:
    """A worker that runs, unless told otherwise."""
    said: dict[str, Any] = {
        "service": "payments", "worker": name, "pid": 42, "end": ingest_pb2.WORKER_END_RUNNING,
    }  # fmt: skip
    return ingest_pb2.WorkerHeartbeat(**(said | fields))


def states(url: str) -> dict[str, tuple[str, str]]:
    """State and reason of each component that agents report; agents as "agent"."""
    rows = ask(
        url,
        "select component_kind, component, state, reason from system_health"
        " where component_kind <> 'pipeline'",
    )
    return {
        "agent" if kind == "agent" else component: (state, reason)
        for kind, component, state, reason in rows
    }


W1 = "payments/w1@test-host"


async def test_heartbeat_is_answered_with_database_time(
    collector: Running, database_url: str
) -> None:
    """Each heartbeat is answered with its number and database time."""
    beats = Beats(await collector.agent())
    await beats.beat()
    answer = await beats.beat()

    ((now_us,),) = ask(
        database_url, "select (extract(epoch from now()) * 1e6)::bigint - 946684800000000"
    )
    assert answer.number == 2
    assert abs(answer.clock_us - now_us) < 2_000_000


async def test_agent_and_worker_are_up_after_a_heartbeat(
    collector: Running, database_url: str
) -> None:
    """A heartbeat makes agent and workers up, with history, gauges and a place in the feed."""
    usage = ingest_pb2.Usage(rss_bytes=2**63, cpu_ms=5, open_files=7)
    await Beats(await collector.agent()).beat(
        worker(usage=usage, progress_done=3, progress_total=9, progress_us=1, progress_note="a\0b")
    )
    await eventually(lambda: states(database_url))

    assert states(database_url) == {"agent": ("up", ""), W1: ("up", "")}
    ((pid, rss, done, note),) = ask(
        database_url,
        "select pid, rss_bytes, progress_done, gauges ->> 'progress_note' from workers",
    )
    assert (pid, rss, done, note) == (42, 2**63 - 1, 3, "a\N{REPLACEMENT CHARACTER}b")
    history = ask(database_url, "select component_kind, from_state, to_state from"
                  " system_health_history order by component_kind")  # fmt: skip
    assert history == [("agent", None, "up"), ("worker", None, "up")]
    ((detail,),) = ask(database_url, "select detail from feed where kind = 'health'")
    assert [change["to"] for change in detail["changes"]] == ["up", "up"]


ENDS = {
    "w1": (ingest_pb2.WORKER_END_EXIT_CODE, 3, "dead", "exit code 3"),
    "w2": (ingest_pb2.WORKER_END_SIGNAL, 9, "dead", "killed by SIGKILL"),
    "w3": (ingest_pb2.WORKER_END_DIED, 0, "dead", "ended without a word"),
    "w4": (ingest_pb2.WORKER_END_CLEAN, 0, "retired", "ended cleanly"),
}


async def test_end_of_a_worker_is_a_state_at_once(collector: Running, database_url: str) -> None:
    """An end in a heartbeat is stored at once, with what ended the worker."""
    beats = Beats(await collector.agent())
    await beats.beat(*map(worker, ENDS))
    await eventually(lambda: len(states(database_url)) == 5)
    await beats.beat(
        *(
            worker(name, end=end, end_code=code, ended_us=1)
            for name, (end, code, _, _) in ENDS.items()
        )
    )
    wanted = {f"payments/{n}@test-host": (state, why) for n, (_, _, state, why) in ENDS.items()}
    # The flush that nothing urgent starts would come two seconds later.
    await eventually(lambda: wanted.items() <= states(database_url).items(), within_s=1.5)


async def test_restarted_worker_is_up_beside_its_dead_process(
    collector: Running, database_url: str
) -> None:
    """Of two processes of a worker the running one decides."""
    dead = worker(end=ingest_pb2.WORKER_END_SIGNAL, end_code=9, ended_us=5)
    await Beats(await collector.agent()).beat(worker(pid=43), dead)
    await eventually(lambda: W1 in states(database_url))

    assert states(database_url)[W1][0] == "up"


async def test_worker_that_is_not_reported_any_more_is_retired(
    collector: Running, database_url: str
) -> None:
    """A worker missing from several heartbeats of its agent in a row is retired, not silent."""
    beats = Beats(await collector.agent())
    await beats.beat(worker())
    for _ in range(3):
        await beats.beat()
    await eventually(lambda: states(database_url).get(W1, ("", ""))[0] == "retired")


async def test_missing_heartbeat_is_silence_and_its_return_ends_it(
    start: Start, database_url: str
) -> None:
    """Who is overdue by the database's clock is silent, with its workers, until it is back."""
    collector = await start(reconnect_grace=Duration("500ms"))
    agent = await collector.agent()
    beats = Beats(agent)
    await beats.beat(worker())
    await eventually(lambda: states(database_url))
    await beats.end()
    ask(database_url, "update heartbeats set due_at = now() - interval '1 second'")
    await eventually(lambda: {s for s, _ in states(database_url).values()} == {"silent"})
    await Beats(agent).beat(worker())
    await eventually(lambda: {s for s, _ in states(database_url).values()} == {"up"})

    transitions = ask(
        database_url,
        "select to_state from system_health_history where component_kind = 'worker' order by id",
    )
    assert transitions == [("up",), ("silent",), ("up",)]


async def test_a_broken_stream_is_known_soon(start: Start, database_url: str) -> None:
    """An agent that is killed is not waited for until its next heartbeat would be due, in a minute;
    one that is back at once was never away.
    """
    collector = await start(reconnect_grace=Duration("500ms"))
    killed, moved = await collector.agent("killed"), await collector.agent("moved")
    for agent in (killed, moved):
        await Beats(agent).beat(worker(agent.token[:8]))
    await eventually(lambda: len(states(database_url)) == 3)
    await killed.close()
    await moved.close()
    await Beats(collector.connect(moved.token)).beat(worker(moved.token[:8]))
    silent = "select host from system_health where state = 'silent' order by component_kind"
    await eventually(lambda: ask(database_url, silent) == [("killed",), ("killed",)])

    assert ask(
        database_url, "select count(*) from system_health_history where to_state <> 'up'"
    ) == [(2,)]


def test_many_that_break_at_once_have_longer_to_be_back() -> None:
    """A second after the break the absent are due soon, later where it is many; the present not."""
    book = HeartbeatBook()
    for agent in range(500):
        book.heard(agent, 1, "h", ingest_pb2.HeartbeatRequest(stopping=agent == 7), 0)
        book.left(agent, 1_000, broke=agent != 8)
    book.heard(9, 1, "h", ingest_pb2.HeartbeatRequest(), 500_000)
    assert book.broken(1_000_000) == {}
    due = book.broken(1_001_000)
    assert set(due) == set(range(500)) - {7, 8, 9}
    assert set(due.values()) == {1_000 + 5_000_000 + 498 * 20_000}
    assert book.broken(2_000_000) == {}


DEAD: dict[str, Any] = {"end": ingest_pb2.WORKER_END_SIGNAL, "end_code": 9, "ended_us": 5}


def test_one_of_two_agents_speaks_for_a_worker_of_both() -> None:
    """While the heartbeats of one say that it lives, another's word neither ends nor changes it."""
    book = HeartbeatBook()

    def after(agent: int, at_s: int, *workers: ingest_pb2.WorkerHeartbeat) -> list[str]:
        """What a heartbeat of the agent decides of the worker."""
        message = ingest_pb2.HeartbeatRequest(workers=workers, next_within_ms=10_000)
        book.heard(agent, 1, "test-host", message, at_s * 1_000_000)
        heartbeats, decided = book.drain()
        said = [row.component.agent for row in heartbeats if row.component.name == W1]
        assert said == [row.component.agent for row in decided if row.component.name == W1][:1]
        return [row.state for row in decided if row.component.name == W1]

    held = worker(usage=ingest_pb2.Usage(is_stopped=True))
    assert after(1, 0, worker()) == ["up"]
    for workers in ([held], [worker(**DEAD)], [], [], [], []):
        assert after(2, 1, *workers) == []
    assert after(1, 10, held) == ["degraded"]
    assert after(2, 11, worker()) == []
    # Its speaker says that it ended: it lives where another says so, who speaks for it then.
    assert after(1, 12, worker(**DEAD)) == ["dead"]
    assert after(2, 13, worker()) == ["up"]
    assert after(1, 14, worker(**DEAD)) == []
    # A speaker that is overdue, or that left, speaks no more.
    assert after(1, 40, worker(**DEAD)) == ["dead"]
    book.left(1, 41_000_000, broke=False)
    assert after(2, 42, worker(end=ingest_pb2.WORKER_END_CLEAN)) == ["retired"]


async def test_two_agents_of_one_host_name_are_stored(
    collector: Running, database_url: str
) -> None:
    """What both report is one row, in one flush and in those that follow."""
    one, other = Beats(await collector.agent()), Beats(await collector.agent())
    for more, stored in ([], 3), ([worker("w2")], 4), ([worker("w2"), worker("w3")], 5):
        await asyncio.gather(one.beat(worker(), *more), other.beat(worker(), *more))
        await eventually(partial(are_stored, database_url, stored))
    await asyncio.gather(one.beat(worker(**DEAD)), other.beat(worker(**DEAD)))
    await eventually(lambda: states(database_url)[W1] == ("dead", "killed by SIGKILL"))

    assert are_stored(database_url, 5)


def are_stored(url: str, count: int) -> bool:
    """Whether there are so many components, agents among them."""
    return ask(url, "select count(*) from system_health") == [(count,)]


async def test_of_several_rows_of_a_component_one_is_stored(database_url: str) -> None:
    """The store takes a component twice: the newest heartbeat and the last state."""
    seen = now_us()
    them = [health.Component("worker", W1, None, 1, host) for host in ("one", "other")]
    heartbeats = [
        health.HeartbeatRow(component, seen - age, seen, b'{"age": %d}' % age)
        for component, age in zip(them, (0, 5), strict=True)
    ]
    decided = [
        health.StateRow(component, state, "", from_us(seen))
        for component, state in zip(them, ("dead", "up"), strict=True)
    ]
    async with await connect(database_url, application_name="tests") as connection:
        changes = await health.record(connection, "one", heartbeats, decided)

    assert [change.to_state for change in changes] == ["up"]
    assert ask(database_url, "select gauges from heartbeats") == [({"age": 0},)]


async def test_a_refused_row_does_not_stop_others(
    collector: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Postgres refuses is left out and counted; everything else is stored, silence seen."""
    monkeypatch.setattr(keeper, "STATUS_S", 0.1)
    ask(database_url, "alter table heartbeats add check (component <> 'payments/odd@test-host')")
    ask(database_url, "alter table system_health add check (worker <> 'odd')")
    beats = Beats(await collector.agent())
    await beats.beat(worker("odd"), *(worker(f"w{i}") for i in range(1, 8)))
    await eventually(lambda: len(states(database_url)) == 8)

    assert "payments/odd@test-host" not in states(database_url)
    refused = "select (status ->> 'health_rows_refused')::int from collectors"
    await eventually(lambda: ask(database_url, refused) == [(2,)])
    ask(database_url, "update heartbeats set due_at = now() - interval '1 second'")
    await eventually(lambda: {s for s, _ in states(database_url).values()} == {"silent"})


async def test_agent_that_stops_on_purpose_is_retired(
    collector: Running, database_url: str
) -> None:
    """A last heartbeat with `stopping` retires the agent; of its workers nothing is known."""
    beats = Beats(await collector.agent())
    await beats.beat(worker())
    await beats.beat(worker(), stopping=True)
    await eventually(lambda: states(database_url).get("agent", ("", ""))[0] == "retired")

    assert states(database_url)[W1][0] == "unknown"


async def test_a_quiet_worker_comes_back_with_its_agent(
    collector: Running, database_url: str
) -> None:
    """After a restart of the agent it is what its file says, not what the agent left behind: up
    where the file was written lately, else unknown with a reason of now.
    """
    unspecified = ingest_pb2.WORKER_END_UNSPECIFIED
    w1 = worker(end=unspecified, last_line_us=now_us() - 60_000_000)
    w2 = worker("w2", end=unspecified)
    beats = Beats(await collector.agent())
    await beats.beat(w1, w2, stopping=True)
    await eventually(lambda: W1 in states(database_url))
    assert states(database_url)[W1] == ("unknown", "its agent stopped on purpose")
    await beats.end()
    await Beats(await collector.agent()).beat(w1, w2)

    await eventually(lambda: states(database_url)[W1][0] == "up")
    quiet = ("unknown", "no process is known, and its log file is quiet")
    await eventually(lambda: states(database_url)["payments/w2@test-host"] == quiet)
    history = ask(
        database_url,
        "select to_state from system_health_history where component = 'payments/w2@test-host'",
    )
    assert history == [("unknown",)]


async def test_absence_of_the_collector_makes_nobody_silent(
    start: Start, database_url: str
) -> None:
    """A collector that comes back waits for its agents before it calls anybody silent."""
    first = await start()
    await Beats(await first.agent()).beat(worker())
    await eventually(lambda: states(database_url))
    token = first.agents[0].token
    await first.vanish()
    ask(database_url, "update heartbeats set due_at = now() - interval '1 hour'")
    second = await start(reconnect_grace=Duration("30s"))
    await Beats(second.connect(token)).beat(worker())
    await eventually(
        lambda: ask(
            database_url,
            "select 1 from heartbeats where due_at > now() and component_kind <> 'pipeline'"
            " having count(*) = 2",
        )
    )

    assert ask(database_url, "select 1 from system_health_history where to_state = 'silent'") == []


async def test_status_row_tells_how_the_collector_is(
    collector: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector's row carries sessions, credit, rates and commit times; a stop marks it."""
    monkeypatch.setattr(keeper, "STATUS_S", 0.5)
    await eventually(lambda: ask(database_url, "select 1 from collectors"))
    push = await (await collector.agent()).push()
    await push.open(4711)
    data = lines(1_000)
    await push.batch(batch_of(4711, data, 0, len(data)))
    ((status, stopped),) = await eventually(
        lambda: ask(
            database_url,
            "select status, stopped_at from collectors where (status->>'records_per_s')::float > 0",
        )
    )
    assert stopped is None
    assert {
        "sessions", "credit_bytes", "queued_bytes", "commit_ms_p50", "commit_ms_p99",
        "quarantined", "last_error", "channels", "watching_since",
    } <= status.keys()  # fmt: skip
    assert status["records"] == 1_000
    await collector.end()

    assert ask(database_url, "select stopped_at is not null from collectors") == [(True,)]
