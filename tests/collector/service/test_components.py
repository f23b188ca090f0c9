"""What probes report: from heartbeats into the store, hostile ones too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from outrider_collector.ingest import components
from outrider_collector.ingest.components import Observer
from outrider_collector.ingest.heartbeats import HeartbeatBook
from outrider_collector.store import health, overdue
from outrider_collector.store.connect import connect
from outrider_protos.limits import MAX_COMPONENTS, MAX_FACTS
from outrider_protos.v1 import ingest_pb2
from tests.collector.service.running import ask
from tests.collector.service.test_heartbeats import Beats
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.collector.service.running import Running

AGENT = Observer(7, 1, "web-1")


def report(name: str = "shop", state: str = "up", **fields: Any) -> ingest_pb2.ComponentReport:
    """What a probe says, unless told otherwise."""
    said: dict[str, Any] = {"kind": "probe", "name": name, "state": state, "next_within_ms": 60_000}
    return ingest_pb2.ComponentReport(**(said | fields))


def states(url: str) -> dict[str, tuple[str, str]]:
    """State and reason of what probes look at."""
    rows = ask(
        url, "select component, state, reason from system_health where component_kind = 'probe'"
    )
    return {component: (state, reason) for component, state, reason in rows}


async def test_a_components_life(collector: Running, database_url: str) -> None:
    """Reported it is there, with facts; a partial report leaves others alone; gone is retired."""
    beats = Beats(await collector.agent())
    facts = [ingest_pb2.Fact(name="status", number=200), ingest_pb2.Fact(name="via", text="a\0b")]
    shop = report(reason="HTTP 200", took_us=12_500, checked_us=5, facts=facts)
    await beats.beat(components=[shop, report("bank")], all_components=True)
    await eventually(lambda: len(states(database_url)) == 2)

    ((gauges,),) = ask(
        database_url, "select gauges from heartbeats where component = 'shop@test-host'"
    )
    assert gauges == {
        "status": 200, "via": "a\N{REPLACEMENT CHARACTER}b", "took_ms": 12.5,
        "checked_at": "2000-01-01T00:00:00.000005+00:00",
    }  # fmt: skip

    await beats.beat(components=[report(state="down", reason="HTTP 503")])
    await eventually(lambda: states(database_url)["shop@test-host"] == ("down", "HTTP 503"))
    await beats.beat(components=[report(state="down", reason="HTTP 500")])
    await eventually(lambda: states(database_url)["shop@test-host"] == ("down", "HTTP 500"))
    assert states(database_url)["bank@test-host"] == ("up", "")

    await beats.beat(components=[shop], all_components=True)
    await eventually(lambda: states(database_url)["bank@test-host"][0] == "retired")
    history = ask(
        database_url,
        "select component, from_state, to_state from system_health_history"
        " where component_kind = 'probe' order by id",
    )
    # A reason alone is no change.
    assert sorted(history, key=lambda row: row[0]) == [
        ("bank@test-host", None, "up"),
        ("bank@test-host", "up", "retired"),
        ("shop@test-host", None, "up"),
        ("shop@test-host", "up", "down"),
        ("shop@test-host", "down", "up"),
    ]
    await beats.end()


async def test_what_an_agent_no_longer_looks_at_is_retired_when_it_is_back(
    collector: Running, database_url: str
) -> None:
    """Configured away while the agent was stopped: its first heartbeat has all, and not that."""
    agent = await collector.agent()
    beats = Beats(agent)
    await beats.beat(components=[report()], all_components=True)
    await eventually(lambda: bool(states(database_url)))
    await beats.end()

    again = Beats(agent)
    await again.beat(all_components=True)
    await eventually(lambda: states(database_url)["shop@test-host"][0] == "retired")
    await again.end()


def test_what_is_undecided_changes_no_state_and_is_not_overdue() -> None:
    """A new process of an agent has to look first: until then what was said before holds."""
    book = HeartbeatBook()
    book.probed(AGENT, [report(state="")], 1_000_000, are_all=True)

    heartbeats, found = book.drain()
    assert [row.component.name for row in heartbeats] == ["shop@web-1"] and not found


def test_a_change_is_urgent_and_a_repetition_is_not() -> None:
    """A new state is flushed at once."""
    book = HeartbeatBook()
    book.probed(AGENT, [report()], 1, are_all=True)
    assert book.urgent.is_set()
    book.drain()
    book.probed(AGENT, [report()], 2, are_all=True)
    assert not book.urgent.is_set()
    book.probed(AGENT, [report(state="degraded")], 3, are_all=False)
    assert book.urgent.is_set()


def test_what_an_agent_says_is_made_to_fit() -> None:
    """Foreign kinds, states, sizes and numbers cost nobody a flush, and are counted."""
    facts = [ingest_pb2.Fact(name=f"f{i}", number=i) for i in range(100)]
    odd = [
        report(kind="worker"),
        report(name=""),
        report("s", state="sleeping", reason="r" * 1_000),
        report("f", facts=[ingest_pb2.Fact(name="n", number=float("nan")), *facts]),
        report("t", facts=[ingest_pb2.Fact(name="took_ms", text="x")], checked_us=-(2**63)),
        report("u", took_us=2**64 - 1, checked_us=2**63 - 1, next_within_ms=2**32 - 1),
    ]
    found, left_out = components.heard(odd, AGENT, 0)

    assert left_out == 2
    by_name = {component.name.partition("@")[0]: heard for component, heard in found.items()}
    assert set(by_name) == {"s", "f", "t", "u"}
    assert by_name["s"].verdict == ("unknown", "r" * 200)
    assert len(json.loads(by_name["f"].row.gauges)) == MAX_FACTS - 1
    assert json.loads(by_name["t"].row.gauges)["took_ms"] == 0.0
    assert by_name["u"].row.due_us - by_name["u"].row.seen_us == 608_000_000

    many = [report(str(i)) for i in range(MAX_COMPONENTS + 3)]
    assert components.heard(many, AGENT, 0)[1] == 3


@pytest.mark.parametrize("state", ["up", "degraded", "down", "maintenance", "unknown"])
async def test_what_is_not_reported_any_more_is_expired(database_url: str, state: str) -> None:
    """By the database's clock, whatever it was; an own probe's rows are its collector's."""
    ask(
        database_url,
        "insert into system_health (component_kind, component, host, state, since)"
        " values ('probe', 'shop@hub', 'hub', %s, now())",
        state,
    )
    ask(
        database_url,
        """
        insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)
        values ('probe', 'shop@hub', now() - interval '5 minutes', now() - interval '1 second',
                'one', '{}')
        """,
    )
    async with await connect(database_url, application_name="test") as connection:
        mine = await health.looked_at_by(connection, "one")
        await connection.rollback()
        changes = await overdue.mark_silent(connection, "one", reconnect_grace_s=0.0)

    assert [(c.name, c.agent) for c in mine] == [("shop@hub", None)]
    assert [(c.to_state, c.reason[:15]) for c in changes] == [("expired", "no report since")]


@pytest.mark.parametrize(
    ("who", "stopped", "expected"),
    [
        ("agent", True, "retired"),
        ("agent", False, "expired"),
        ("collector", True, "retired"),
        ("collector", False, "expired"),
    ],
)
async def test_what_a_host_looked_at_that_is_gone_for_good_alarms_nobody(
    database_url: str, who: str, stopped: bool, expected: str
) -> None:
    """Stopped on purpose is retired; gone without a word is expired."""
    state = "retired" if stopped else "silent"
    ask(
        database_url,
        "insert into system_health (component_kind, component, agent, host, state, since)"
        " values ('agent', '1', 1, 'h', %s, now()), ('probe', 'shop@h', %s, 'h', 'up', now())",
        state, 1 if who == "agent" else None,
    )  # fmt: skip
    ask(
        database_url,
        "insert into collectors (name, started_at, seen_at, stopped_at, status)"
        " values ('two', now(), now() - interval '1 hour', case when %s then now() end, '{}')",
        stopped and who == "collector",
    )
    ask(
        database_url,
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
        " values ('probe', 'shop@h', now() - interval '1 hour', now() - interval '59 min', 'two',"
        " '{}')",
    )
    async with await connect(database_url, application_name="test") as connection:
        changes = await overdue.mark_silent(connection, "one", reconnect_grace_s=0.0)

    assert [(c.component.name, c.to_state) for c in changes] == [("shop@h", expected)]
