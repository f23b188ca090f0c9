"""Who is declared silent, by the statement that declares it."""

from __future__ import annotations

from typing import Any

import pytest

from outrider_collector.store import overdue
from outrider_collector.store.connect import connect
from tests.collector.service.running import ask

GRACE_S = 60.0


def given(
    url: str, *, state: str, overdue_s: float, seen_s: float, watched_s: float, stopped: bool
) -> None:
    """One component, and the collector that had its heartbeats; all ages in seconds."""
    ask(
        url,
        """
        insert into system_health (component_kind, component, agent, host, state, since)
        values ('agent', '1', 1, 'h', %s, now())
        """,
        state,
    )
    ask(
        url,
        """
        insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)
        values ('agent', '1', now() - interval '2 hours', now() - make_interval(secs => %s),
                'one', '{}')
        """,
        overdue_s,
    )
    ask(
        url,
        """
        insert into collectors (name, started_at, seen_at, stopped_at, status)
        values ('one', now() - interval '1 day', now() - make_interval(secs => %s),
                case when %s then now() end, jsonb_build_object('watching_since',
                now() - make_interval(secs => %s)))
        """,
        seen_s,
        stopped,
        watched_s,
    )


@pytest.mark.parametrize(
    ("facts", "silent"),
    [
        ({}, True),
        ({"overdue_s": -1}, False),
        ({"state": "lagging"}, True),
        ({"state": "dead"}, False),
        ({"state": "retired"}, False),
        ({"state": "silent"}, False),
        # Its collector was away or frozen until a moment ago.
        ({"watched_s": 30}, False),
        # Its collector has said nothing since: it may have died with the heartbeat in its hands.
        ({"overdue_s": 4, "seen_s": 5}, False),
        ({"overdue_s": 4, "seen_s": 3}, True),
        # Unless it is the one that looks.
        ({"overdue_s": 4, "seen_s": 5, "asker": "one"}, True),
        # Its collector went, and there was no time yet to find another.
        ({"seen_s": 30}, False),
        ({"seen_s": 30, "stopped": True}, False),
        ({"seen_s": 90, "stopped": True}, True),
        ({"seen_s": 90}, True),
    ],
)
async def test_silence_needs_somebody_who_would_have_seen(
    database_url: str,
    facts: dict[str, Any],
    silent: bool,
) -> None:
    """Overdue is silent only where a collector was there for long enough to have seen it."""
    usual: dict[str, Any] = {
        "state": "up",
        "overdue_s": 2,
        "seen_s": 1,
        "watched_s": 90,
        "stopped": False,
    }
    asker = str(facts.get("asker", "two"))
    given(database_url, **(usual | {k: v for k, v in facts.items() if k != "asker"}))
    connection = await connect(database_url, application_name="test")
    async with connection:
        changes = await overdue.mark_silent(connection, asker, reconnect_grace_s=GRACE_S)

    assert [change.to_state for change in changes] == (["silent"] if silent else [])
    assert bool(ask(database_url, "select 1 from feed where kind = 'health'")) == silent


async def test_silence_is_declared_once(database_url: str) -> None:
    """A second look, by this collector or another, finds nothing left to declare."""
    given(database_url, state="up", overdue_s=2, seen_s=1, watched_s=90, stopped=False)
    async with (
        await connect(database_url, application_name="test") as one,
        await connect(database_url, application_name="test") as two,
    ):
        first = await overdue.mark_silent(one, "two", reconnect_grace_s=GRACE_S)
        second = await overdue.mark_silent(two, "two", reconnect_grace_s=GRACE_S)

    assert (len(first), len(second)) == (1, 0)


@pytest.mark.parametrize(
    ("agent_seen_s", "agent_due_s", "state"),
    [
        # It beats on without the worker: a file that was put away, for one.
        (1, -19, "retired"),
        # It has not beaten since: whether the worker lives, nobody knows.
        (7200, -19, "silent"),
        # It has, but is overdue itself, if not yet declared so.
        (20, 0, "silent"),
    ],
)
async def test_a_worker_that_its_living_agent_does_not_report_is_retired(
    database_url: str, agent_seen_s: int, agent_due_s: int, state: str
) -> None:
    """It never counts as silent, nor as time in which it was down."""
    given(database_url, state="up", overdue_s=2, seen_s=1, watched_s=90, stopped=False)
    ask(database_url, "update system_health set component_kind = 'worker'")
    ask(database_url, "update heartbeats set component_kind = 'worker'")
    ask(
        database_url,
        """
        insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)
        select 'agent', '1', case when %s = 7200 then seen_at
            else now() - make_interval(secs => %s) end, now() - make_interval(secs => %s), 'one',
            '{}' from heartbeats
        """,
        agent_seen_s,
        agent_seen_s,
        agent_due_s,
    )
    async with await connect(database_url, application_name="test") as connection:
        (change,) = await overdue.mark_silent(connection, "two", reconnect_grace_s=GRACE_S)

    assert change.to_state == state
    history = ask(database_url, "select from_state, to_state from system_health_history")
    assert history == [("up", state)]
