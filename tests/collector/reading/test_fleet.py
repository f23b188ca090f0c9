"""Workers, agents, alerts and collectors as pages show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from outrider.errors import Fault
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.reading import alerts, components, fleet, health
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.status_text import headline, status_lines
from tests.collector.reading.rows import Record, Source, born, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

NOW = datetime.now(UTC)
M = timedelta(minutes=1)


async def worker(
    owner: AsyncConnection[Any], stream: Source, state: str, age: int = 5, **gauges: Any
) -> None:
    """Store a worker with its stream, state and heartbeat."""
    await born(owner, stream, NOW)
    component = f"{stream.service}/{stream.worker}@{stream.host}"
    await component_is(owner, "worker", component, state, age, stream=stream)
    await owner.execute(
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
        " values ('worker', %s, %s, %s, 'c-1', %s)",
        (component, NOW, NOW + M, Jsonb(gauges)),
    )


async def component_is(
    owner: AsyncConnection[Any],
    kind: str,
    component: str,
    state: str,
    age: int,
    stream: Source | None = None,
) -> None:
    """Store the state of a component, with its history."""
    names = (stream.service, stream.worker, stream.host, stream.agent) if stream else (None,) * 4
    await owner.execute(
        "insert into system_health (component_kind, component, service, worker, host, agent, state,"
        " since, reason) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (kind, component, *names, state, NOW - age * M, f"it is {state}"),
    )
    await owner.execute(
        "insert into system_health_history (component_kind, component, from_state, to_state, at)"
        " values (%s, %s, 'up', %s, %s)",
        (kind, component, state, NOW - age * M),
    )


async def fire(
    owner: AsyncConnection[Any], rule: str, labels: dict[str, str], kind: str = "count", **more: Any
) -> int:
    """Store an alert; return its id."""
    row = await (
        await owner.execute(
            "insert into alerts (rule, key, labels, kind, priority, state, summary, started_at,"
            " fired_at, evidence, rule_set) values (%s, %s, %s, %s, %s, %s, 'many errors', %s, %s,"
            " %s, 1) returning id",
            (rule, list(labels.values()), Jsonb(labels), kind, more.get("priority", "critical"),
             more.get("state", "firing"), NOW - 3 * M, NOW - 2 * M,
             Jsonb([{"ts": NOW.isoformat(), "severity": 17, "service": "s", "worker": "w",
                     "message": "boom", "stream": 1, "stream_offset": 5}, {"not": "a line"}])),
        )
    ).fetchone()  # fmt: skip
    assert row is not None
    number: int = row[0]
    return number


async def test_workers_come_worst_first(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Dead, silent, unknown, lagging, degraded, up, retired; by name within a state."""
    states = ["up", "retired", "lagging", "dead", "up", "unknown", "degraded", "silent"]
    for number, state in enumerate(states):
        await worker(owner, Source(number + 1, "s", f"w-{9 - number}"), state)
    found = await fleet.workers(reader)
    assert [w.state for w in found] == [
        "dead", "silent", "unknown", "lagging", "degraded", "up", "up", "retired",
    ]  # fmt: skip
    assert [w.worker for w in found if w.state == "up"] == ["w-5", "w-9"]


async def test_one_worker_with_all_about_it(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A worker's page has gauges, history, last words oldest first, streams, gaps and alerts."""
    stream = Source(1, "trading", "arb-7", "trade-3")
    gauges: dict[str, Any] = {
        "pid": 48211,
        "rss_bytes": 5,
        "progress_at": NOW.isoformat(),
        "clock_offset_ms": "x",
    }
    await worker(owner, stream, "dead", **gauges)
    await worker(owner, Source(2, "trading", "arb-1", "trade-2"), "up")
    await worker(owner, Source(3, "etl", "ledger", "etl-1"), "up")
    records = [Record(stream, i, NOW - (20 - i) * M, f"word {i}") for i in range(20)]
    await commit(owner, records, NOW)
    await commit(owner, [Record(Source(2, "trading", "arb-1", "trade-2"), 99, NOW)], NOW)
    alert = await fire(owner, "worker-dead", {"service": "trading", "worker": "arb-7"})
    await fire(owner, "other", {"service": "etl", "worker": "ledger"})
    found = await fleet.worker(reader, "trading", "arb-7", "trade-3")
    assert (found.worker.state, found.worker.gauges.pid) == ("dead", 48211)
    assert (found.worker.gauges.progress_at, found.worker.gauges.clock_offset_ms) == (NOW, None)
    assert [row.message for row in found.last_words] == [f"word {i}" for i in range(8, 20)]
    assert [s.stream for s in found.streams] == [1]
    assert [h.to_state for h in found.history] == ["dead"]
    assert [a.id for a in found.alerts] == [alert]
    assert [w.worker for w in found.others] == ["arb-1"]
    assert found.agent is not None
    assert found.agent.id == 1
    with pytest.raises(Fault, match="nobody"):
        await fleet.worker(reader, "trading", "nobody", "trade-3")


async def test_an_overview_tells_each_cause_once(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A silent host explains its workers, a dead worker its alert; the worst comes first."""
    await worker(owner, Source(1, "s", "dead-1", "h1", agent=1), "dead", 1)
    await worker(owner, Source(2, "s", "quiet-1", "h2", agent=2), "silent")
    await worker(owner, Source(3, "s", "quiet-2", "h2", agent=2), "silent")
    await worker(owner, Source(4, "s", "slow-1", "h1", agent=1), "lagging", backlog_bytes=2_100_000)
    await worker(owner, Source(5, "s", "fine-1", "h1", agent=1), "up")
    await component_is(owner, "agent", "2", "silent", 4)
    await fire(owner, "worker-dead", {"service": "s", "worker": "dead-1"}, "liveness")
    errors = await fire(owner, "errors", {"service": "s"})
    await fire(owner, "maybe", {"service": "s"}, state="pending")
    view = await fleet.overview(reader)
    assert [(c.kind, c.subject) for c in view.causes] == [
        ("dead", "dead-1"), ("agent_silent", "h2"), ("alert", "s"), ("lagging", "slow-1"),
    ]  # fmt: skip
    assert {name.worker for name in view.causes[1].explains} == {"quiet-1", "quiet-2"}
    assert view.causes[2].alert == errors
    assert view.causes[3].bytes_behind == 2_100_000
    assert (view.affected, view.states["up"], len(view.alerts)) == (4, 1, 3)
    assert headline(view) == "Four things are wrong now; 4 of 5 workers affected."
    agents = await fleet.agents(reader)
    lines = status_lines(view, agents, [], await health.store(reader), colours=False)
    assert lines[0] == (
        "Unknown: no collector has reported yet: start one with 'outrider up' or "
        "'outrider collector'."
    )
    assert lines[1] == headline(view)
    assert any("s/dead-1@h1: it is dead, for " in line for line in lines)
    text = "\n".join(lines)
    assert [text.count(f"A-{alert.id} ") for alert in view.alerts] == [1, 1, 1]
    assert document(view)["causes"][0]["worker"]["worker"] == "dead-1"


async def test_what_is_looked_at_is_a_cause_once(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """What hosts see of one thing is one cause, with its alerts; what is well is counted."""
    await component_is(owner, "exchange", "kraken@h1", "down", 4)
    await component_is(owner, "exchange", "kraken@h2", "down", 2)
    await component_is(owner, "exchange", "okx@h1", "maintenance", 4)
    await component_is(owner, "probe", "shop@h1", "up", 9)
    await component_is(owner, "probe", "shop@h2", "down", 3)
    await component_is(owner, "probe", "disk@h1", "expired", 1)
    await owner.execute("update system_health set host = split_part(component, '@', 2)")
    for host in ("h1", "h2"):
        labels = {"component": f"kraken@{host}", "host": host}
        await fire(owner, "exchange-down", labels, "health")

    view, looked_at = await fleet.overview(reader), await components.components(reader)

    assert [(c.kind, c.subject, c.since) for c in view.causes] == [
        ("down", "kraken", NOW - 2 * M),
        ("expired", "disk", NOW - M),
        ("degraded", "shop", NOW - 3 * M),
    ]
    assert view.causes[2].reason == "not reachable from h2: it is down"
    store = await health.store(reader)
    text = "\n".join(status_lines(view, [], [], store, looked_at, colours=False))
    assert "Exchanges: 1 down, 1 maintenance (kraken down).\n" in text
    assert "Probes: 1 expired, 1 degraded (disk expired, shop degraded).\n" in text
    (kraken,) = [line for line in text.split("\n") if "kraken: it is down, for " in line]
    assert all(f"A-{number} firing" in kraken for number in (1, 2))
    assert "Other open alerts" not in text


async def test_an_alert_with_its_whole_story(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """An alert comes with transitions, each notification's fate and tries, and its evidence."""
    alert = await fire(owner, "errors", {"service": "payments"})
    await owner.execute(
        "insert into alert_transitions (alert, step, to_state, at, concluded_at, reason)"
        " values (%s, 1, 'firing', now(), now(), 'above 5')",
        (alert,),
    )
    for channel, kind, fate in (("ops", "telegram", "failed"), ("in-app", "in-app", "sent")):
        row = await (
            await owner.execute(
                "insert into notifications (alert, notice, channel, channel_type, conversation,"
                " priority, fate, content) values (%s, 'fired', %s, %s, 'x', 'critical', %s, '{}')"
                " returning id",
                (alert, channel, kind, fate),
            )
        ).fetchone()
        assert row is not None
        await owner.execute(
            "insert into notification_attempts (notification, outcome, error)"
            " values (%s, %s, '421 later')",
            (row[0], fate),
        )
    found = await alerts.alert(reader, alert)
    assert [t.reason for t in found.transitions] == ["above 5"]
    assert [(n.channel, n.fate, n.tries[0].error) for n in found.notifications] == [
        ("ops", "failed", "421 later"), ("in-app", "sent", "421 later"),
    ]  # fmt: skip
    assert [(e.message, e.stream, e.ts) for e in found.alert.evidence] == [("boom", 1, NOW)]
    centre = await alerts.notices(reader, NOW - 60 * M)
    assert {n.channel for n in centre} == {"ops", "in-app"}
    assert centre[0].rule == "errors"
    assert [a.id for a in await alerts.open_alerts(reader)] == [alert]
    assert [a.id for a in await alerts.recent(reader, NOW)] == [alert]
    with pytest.raises(Fault, match="no alert 999"):
        await alerts.alert(reader, 999)


async def test_an_alert_keeps_the_rule_that_moved_it(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """After the rule was edited, an alert still comes with what it was judged by."""
    await owner.execute(
        "insert into rule_sets (version, applied_by, files, minimum_engine)"
        " values (1, 'anna', '[]', 1), (2, 'anna', '[]', 1)"
    )
    await owner.execute(
        "insert into rule_versions (version, name, kind, definition)"
        " values (1, 'errors', 'count', '{\"above\": 5}'), (2, 'errors', 'count', '{\"above\": 9}')"
    )
    await owner.execute("insert into active_rule_set (version) values (2)")
    number = await fire(owner, "errors", {"service": "s"})

    assert (await alerts.alert(reader, number)).definition == {"above": 5}
    gone = await fire(owner, "deleted", {"service": "s"})
    assert (await alerts.alert(reader, gone)).definition == {}


async def test_silences_are_those_that_hold(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Those that are not over, and on request the ended."""
    for begin, end in ((-2, -1), (-1, 1), (1, 2)):
        await owner.execute(
            "insert into silences (filter, starts_at, ends_at, created_by)"
            " values ('', %s, %s, 'a')",
            (NOW + begin * 60 * M, NOW + end * 60 * M),
        )
    assert [s.active for s in await alerts.silences(reader)] == [True, False]
    assert len(await alerts.silences(reader, ended=True)) == 3


async def test_health_of_collectors_and_store(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A collector that fell quiet is not alive; the store tells its rate and its room."""
    await owner.execute(
        "insert into collectors (name, started_at, seen_at, status)"
        " values ('a', now(), now(), '{\"records_per_s\": 5}'),"
        " ('b', now(), now() - interval '1 minute', '{}')"
    )
    found = await health.collectors(reader)
    assert [(c.name, c.alive) for c in found] == [("a", True), ("b", False)]
    moment = await health.now(reader)
    await commit(owner, [Record(Source(1), i, moment) for i in range(7)], moment)
    store = await health.store(reader)
    assert (store.lines_last_minute, store.blocks_last_minute) == (7, 1)
    assert store.database_bytes > 1_000_000
    assert store.newest_partition_to is not None
    assert store.newest_partition_to > moment
    assert (store.gaps_today, store.feed_number) == (0, 1)


async def test_the_newest_hour_is_of_the_level_that_ingest_writes(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Days of compacted blocks take no line: without a fresh hour there is no newest one."""
    there = await owner.execute(
        "select inhrelid::regclass::text from pg_inherits"
        " where inhparent = 'blocks_fresh'::regclass"
    )
    for (hour,) in await there.fetchall():
        await owner.execute(sql.SQL("drop table {}").format(sql.Identifier(hour)))
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    await days.ensure(owner, [days.Day(today, RecordClass.APP)])
    store = await health.store(reader)
    assert store.partitions > 0
    assert store.newest_partition_to is None
