"""SQL of health: heartbeats, the state of each component with its history, collectors' status.

Heartbeats are rewritten every few seconds in one statement for all that changed. A state is written
only where it differs from the row's, with a history row and a place in the feed in the same
transaction, so that the evaluator and the dashboard see each change once and in order. Rows are
always touched in the order of their key: two collectors never wait for each other in a circle.

Who is not heard from any more is declared so in :mod:`~outrider_collector.store.overdue`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from psycopg.types.json import Jsonb

from outrider_collector.store import feed
from outrider_collector.store.reading.health import COLLECTOR_SILENT_S
from outrider_collector.store.rows import int8_array, json_array, text_array, time_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

REASON_CHARACTERS = 500
CHUNK_ROWS = 1_000
PROBED_KINDS = ("exchange", "database", "probe", "pipeline")
"""Kinds of components that probes look at; the others are ``agent`` and ``worker``."""


@dataclass(frozen=True, slots=True)
class Component:
    """Who is meant: an agent, a worker that an agent reports, or what a probe looks at.

    Kind and name are who it is, as in the tables: two agents of one host name speak of the same
    worker.
    """

    kind: str
    """"agent", "worker", or one of PROBED_KINDS."""
    name: str
    """Agent: its id. Worker: service/worker@host. What a probe looks at: name@host of who looks."""
    agent: int | None = field(compare=False)
    """None: a collector looks at it itself."""
    team: int = field(compare=False)
    host: str = field(compare=False)
    service: str | None = field(default=None, compare=False)
    worker: str | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        # The name's own hash is computed once: the book asks for it with every heartbeat.
        return hash(self.name)


_Row = TypeVar("_Row")


class HeartbeatRow(NamedTuple):
    """The last heartbeat of a component, as stored."""

    component: Component
    seen_us: int
    due_us: int
    """Database time after which it counts as late."""
    gauges: bytes
    """A JSON object without zero characters."""


class StateRow(NamedTuple):
    """A component's state as decided now."""

    component: Component
    state: str
    reason: str
    at: datetime
    ended_us: int = 0
    """When what is dead ended; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """A state that changed, as it went into history and feed."""

    component: Component
    from_state: str | None
    to_state: str
    reason: str
    at: datetime


class Older(NamedTuple):
    """A collector of an older version that is at work."""

    name: str
    knows: int
    """Up to which number, of what it was asked about; 0: it does not say."""


async def older(connection: AsyncConnection[Any], key: str, needed: int) -> Older | None:
    """Return the collector at work that knows least of ``key``, less than ``needed``, or None.

    ``key`` is a number of its status row: "schema" or "engine".
    """
    cursor = await connection.execute(
        """
        select name, coalesce((status ->> %(key)s::text)::integer, 0) as knows from collectors
        where stopped_at is null
          and seen_at > clock_timestamp() - make_interval(secs => %(silent)s)
          and coalesce((status ->> %(key)s::text)::integer, 0) < %(needed)s
        order by knows, name limit 1
        """,
        {"key": key, "needed": needed, "silent": COLLECTOR_SILENT_S},
    )
    row = await cursor.fetchone()
    return None if row is None else Older(*row)


async def clock(connection: AsyncConnection[Any]) -> datetime:
    """Return the database's clock."""
    row = await (await connection.execute("select clock_timestamp()")).fetchone()
    assert row is not None  # noqa: S101  a select without from returns one row
    moment: datetime = row[0]
    return moment


async def components_of(connection: AsyncConnection[Any], agent: int) -> list[Component]:
    """Return what an agent reports besides itself and whose last state is not an end."""
    cursor = await connection.execute(
        "select component_kind, component, agent, team, host, service, worker from system_health"
        " where component_kind <> 'agent' and agent = %s and state not in ('dead', 'retired')",
        (agent,),
    )
    return [
        Component(kind, name, agent, team, host or "", service, worker)
        for kind, name, agent, team, host, service, worker in await cursor.fetchall()
    ]


async def looked_at_by(connection: AsyncConnection[Any], collector: str) -> list[Component]:
    """Return what a collector's own probes looked at last."""
    cursor = await connection.execute(
        """
        select s.component_kind, s.component, s.team, s.host
        from system_health s join heartbeats h using (component_kind, component)
        where s.agent is null and s.component_kind = any(%(kinds)s) and s.state <> 'retired'
            and h.collector = %(collector)s
        """,
        {"kinds": list(PROBED_KINDS), "collector": collector},
    )
    return [
        Component(kind, name, None, team, host or "")
        for kind, name, team, host in await cursor.fetchall()
    ]


async def record(
    connection: AsyncConnection[Any],
    collector: str,
    heartbeats: Sequence[HeartbeatRow],
    states: Sequence[StateRow],
) -> list[Change]:
    """Store heartbeats and states in one transaction; return the states that changed.

    Of several of one component the newest heartbeat counts, and the state that was decided last.
    """
    states = list({row.component: row for row in states}.values())
    async with feed.transaction(connection):
        for some in _chunks(heartbeats):
            await _write_heartbeats(connection, collector, some)
        changes = [
            change for some in _chunks(states) for change in await _differing(connection, some)
        ]
        await store(connection, changes)
    return changes


def _chunks(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Cut into what one statement takes: packing more at once would hold everybody else up."""
    return (rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS))


async def _write_heartbeats(
    connection: AsyncConnection[Any], collector: str, rows: Sequence[HeartbeatRow]
) -> None:
    """Rewrite the last heartbeat of each component."""
    await connection.execute(
        """
        insert into heartbeats as h (component_kind, component, seen_at, due_at, collector, gauges)
        select distinct on (kind, component)
               kind, component, seen_at, due_at, %(collector)s, gauges
        from unnest(%(kinds)s::text[], %(names)s::text[], %(seen)s::timestamptz[],
                    %(due)s::timestamptz[], %(gauges)s::jsonb[])
             as new (kind, component, seen_at, due_at, gauges)
        order by kind, component, seen_at desc
        on conflict (component_kind, component) do update
            set seen_at = excluded.seen_at, due_at = excluded.due_at,
                collector = excluded.collector, gauges = excluded.gauges
            where h.seen_at <= excluded.seen_at
        """,
        {
            "collector": collector,
            "kinds": text_array(row.component.kind for row in rows),
            "names": text_array(row.component.name for row in rows),
            "seen": time_array(row.seen_us for row in rows),
            "due": time_array(row.due_us for row in rows),
            "gauges": json_array(row.gauges for row in rows),
        },
    )


async def hasten(
    connection: AsyncConnection[Any], collector: str, due_us: Mapping[int, int]
) -> None:
    """Expect agents, whose stream to this collector broke, and their workers by these times.

    Who was heard by another collector meanwhile is left alone.
    """
    if not due_us:
        return
    await connection.execute(
        """
        with mine as (
            select h.component_kind, h.component, b.due_at
            from unnest(%(agents)s::bigint[], %(due)s::timestamptz[]) as b (agent, due_at)
            join system_health s on s.agent = b.agent and s.component_kind in ('agent', 'worker')
            join heartbeats h using (component_kind, component)
            where h.collector = %(collector)s and h.due_at > b.due_at
            order by h.component_kind, h.component
            for update of h
        )
        update heartbeats h set due_at = mine.due_at from mine
        where h.component_kind = mine.component_kind and h.component = mine.component
        """,
        {
            "collector": collector,
            "agents": int8_array(due_us),
            "due": time_array(due_us.values()),
        },
    )


async def _differing(connection: AsyncConnection[Any], rows: Sequence[StateRow]) -> list[Change]:
    """Return the states that differ from what is stored, in the order of their keys.

    What is retired stays so until it shows life: that nothing is known of it, or that it died
    before, is no news. Nor is it news that a component is unknown for another reason than before
    (its agent is back, say), or that a probe found the same for another: the reason is rewritten
    where it stands.
    """
    cursor = await connection.execute(
        """
        with new as (
            select * from unnest(%(kinds)s::text[], %(names)s::text[], %(states)s::text[],
                                 %(reasons)s::text[], %(ended)s::timestamptz[]) with ordinality
                     as new (kind, component, state, reason, ended_at, place)
        ), stale as (
            select h.component_kind, h.component, new.reason
            from new join system_health h
                 on h.component_kind = new.kind and h.component = new.component
            where h.state = new.state and h.reason <> new.reason
              and (h.state = 'unknown' or h.component_kind = any(%(probed)s))
            order by h.component_kind, h.component
            for update of h
        ), reworded as (
            update system_health h set reason = stale.reason
            from stale
            where h.component_kind = stale.component_kind and h.component = stale.component
        )
        select new.place, h.state
        from new left join system_health h
             on h.component_kind = new.kind and h.component = new.component
        where h.state is distinct from new.state
          and not coalesce(h.state = 'retired' and (
              new.state = 'unknown' or new.state = 'dead' and new.ended_at <= h.since), false)
        order by new.kind, new.component
        """,
        {
            "kinds": text_array(row.component.kind for row in rows),
            "names": text_array(row.component.name for row in rows),
            "states": text_array(row.state for row in rows),
            "reasons": text_array(row.reason[:REASON_CHARACTERS] for row in rows),
            "ended": time_array(row.ended_us for row in rows),
            "probed": list(PROBED_KINDS),
        },
    )
    return [
        Change(row.component, before, row.state, row.reason[:REASON_CHARACTERS], row.at)
        for place, before in await cursor.fetchall()
        for row in (rows[place - 1],)
    ]


async def write_collector(
    connection: AsyncConnection[Any], name: str, started_at: datetime, status: dict[str, Any]
) -> None:
    """Publish how this collector is; does not commit."""
    await connection.execute(
        """
        insert into collectors (name, started_at, seen_at, status)
        values (%(name)s, %(started)s, clock_timestamp(), %(status)s)
        on conflict (name) do update
            set started_at = excluded.started_at, seen_at = excluded.seen_at,
                stopped_at = null, status = excluded.status
        """,
        {"name": name, "started": started_at, "status": Jsonb(status)},
    )


async def stop_collector(connection: AsyncConnection[Any], name: str) -> None:
    """Say that this collector stopped in order; does not commit."""
    await connection.execute(
        "update collectors set seen_at = clock_timestamp(), stopped_at = clock_timestamp()"
        " where name = %(name)s",
        {"name": name},
    )


async def store(connection: AsyncConnection[Any], changes: Sequence[Change]) -> None:
    """Write the changes, announce them, and commit; nothing where nothing changed."""
    if not changes:
        return
    await _upsert(connection, changes)
    await feed.commit(connection, "health", detail={"changes": [_detail(c) for c in changes]})


async def _upsert(connection: AsyncConnection[Any], changes: Sequence[Change]) -> None:
    columns = {
        "kinds": [c.component.kind for c in changes],
        "names": [c.component.name for c in changes],
        "teams": [c.component.team for c in changes],
        "services": [c.component.service for c in changes],
        "workers": [c.component.worker for c in changes],
        "hosts": [c.component.host for c in changes],
        "agents": [c.component.agent for c in changes],
        "before": [c.from_state for c in changes],
        "states": [c.to_state for c in changes],
        "since": [c.at for c in changes],
        "reasons": [c.reason for c in changes],
    }
    await connection.execute(
        """
        with new as (
            select * from unnest(%(kinds)s::text[], %(names)s::text[], %(teams)s::int[],
                                 %(services)s::text[], %(workers)s::text[], %(hosts)s::text[],
                                 %(agents)s::bigint[], %(before)s::text[], %(states)s::text[],
                                 %(since)s::timestamptz[], %(reasons)s::text[])
                     as new (kind, component, team, service, worker, host, agent, before, state,
                             since, reason)
        ), stored as (
            insert into system_health (component_kind, component, team, service, worker, host,
                                       agent, state, since, reason)
            select kind, component, team, service, worker, host, agent, state, since, reason
            from new
            on conflict (component_kind, component) do update
                set team = excluded.team, service = excluded.service, worker = excluded.worker,
                    host = excluded.host, agent = excluded.agent, state = excluded.state,
                    since = excluded.since, reason = excluded.reason
        )
        insert into system_health_history (component_kind, component, team, from_state, to_state,
                                           at, reason)
        select kind, component, team, before, state, since, reason from new
        """,
        columns,
    )


def _detail(change: Change) -> dict[str, Any]:
    component = change.component
    return {
        "kind": component.kind,
        "component": component.name,
        "team": component.team,
        "agent": component.agent,
        "host": component.host,
        "service": component.service,
        "worker": component.worker,
        "from": change.from_state,
        "to": change.to_state,
        "reason": change.reason,
        "at": change.at.isoformat(),
    }
