"""Workers and agents: how they are now, how they were, and what is wrong."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_collector.store.health import PROBED_KINDS
from outrider_collector.store.reading import (
    alerts,
    blocks,
    completeness,
    components,
    conditions,
    gaps,
    health,
)
from outrider_collector.store.reading.causes import causes
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.slices import Slices
from outrider_collector.store.reading.standstill import standstills, unevaluated
from outrider_collector.store.reading.types import (
    STATES,
    Agent,
    Gauges,
    Overview,
    StateChange,
    StreamState,
    Worker,
    WorkerDetail,
    WorkerName,
)
from outrider_collector.store.reading.verdicts import verdicts

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot
    from outrider_collector.store.reading.types import LogRow

MOST_WORKERS = 20_000
MOST_HISTORY = 1_000
LAST_WORDS = 12
LAST_WORDS_WITHIN = timedelta(days=7)
OVERVIEW_GAPS_WITHIN = timedelta(hours=1)
OVERVIEW_GAPS = 2_000
"""So many rows of gaps are summed up."""

_WORST_FIRST: Final = sql.SQL("array_position({}::text[], h.state)").format(
    sql.Literal(list(STATES))
)

_WORKERS: Final = sql.SQL("""
    select h.service, h.worker, h.host, h.agent, h.state, h.since, h.reason,
           b.seen_at, b.due_at, coalesce(b.gauges, '{{}}')
    from system_health h
    left join heartbeats b using (component_kind, component)
    where h.component_kind = 'worker' and {which}
    order by {states}, h.service, h.worker, h.host
    limit {most}
    """)

_AGENTS: Final = sql.SQL("""
    select a.id, a.host, coalesce(h.state, 'unknown'), h.since, coalesce(h.reason, ''),
           b.seen_at, b.due_at, a.connected_at, a.revoked_at, a.software_version, b.collector,
           (select count(*) from stream_info i where i.agent = a.id and i.closed_at is null),
           coalesce(b.gauges, '{{}}')
    from agents a
    left join system_health h on h.component_kind = 'agent' and h.component = a.id::text
    left join heartbeats b on b.component_kind = 'agent' and b.component = a.id::text
    where {which}
    order by {states} nulls last, a.host, a.id
    limit {most}
    """)

_HISTORY: Final = sql.SQL("""
    select at, from_state, to_state, reason
    from system_health_history
    where component_kind = %(kind)s and component = %(component)s
      and at >= %(since)s and at < %(until)s
    order by at desc, id desc
    limit %(most)s
    """)

_STREAMS: Final = sql.SQL("""
    select i.id, i.source, i.path, i.start_offset, s.committed, s.watermark, i.born_at, i.closed_at
    from stream_info i left join streams s using (id)
    where i.service = %(service)s and i.worker = %(worker)s and i.host = %(host)s
    order by i.born_at desc, i.id limit 100
    """)

_EVERY: Final = sql.SQL("true")


async def workers(conn: AsyncConnection[Any]) -> list[Worker]:
    """Return all workers: dead, silent, degraded, lagging, unknown, up, retired; then by name."""
    async with snapshot(conn) as open_snapshot:
        return await _workers(open_snapshot, _EVERY, {})


async def worker(conn: AsyncConnection[Any], service: str, worker: str, host: str) -> WorkerDetail:
    """Return everything about one worker. Raises NOT_FOUND."""
    name = WorkerName(service, worker, host)
    names = {"service": service, "worker": worker, "host": host}
    async with snapshot(conn) as open_snapshot:
        of_service = await _workers(open_snapshot, sql.SQL("h.service = %(service)s"), names)
        found = next((one for one in of_service if one.name == name), None)
        if found is None:
            raise Fault(
                Reason.NOT_FOUND,
                detail=f"there is no worker {worker} of service {service} on host {host}",
            )
        now = await health.select_now(open_snapshot)
        agent = await _agents(open_snapshot, sql.SQL("a.id = %(agent)s"), {"agent": found.agent})
        return WorkerDetail(
            worker=found,
            agent=agent[0] if agent else None,
            history=await _history(
                open_snapshot, "worker", name.component, now - timedelta(days=1), now
            ),
            last_words=await _last_words(open_snapshot, name, now),
            streams=[StreamState(*row) for row in await open_snapshot.rows(_STREAMS, names)],
            gaps=await gaps.of_worker(open_snapshot, service, worker, host, 20),
            alerts=[
                alert
                for alert in await alerts.select_open(open_snapshot)
                if alert.labels.get("worker") == worker
                and alert.labels.get("service", service) == service
            ],
            others=[one for one in of_service if one.name != name],
        )


async def history(
    conn: AsyncConnection[Any], kind: str, component: str, since: datetime, until: datetime
) -> list[StateChange]:
    """Return a component's changes of state, newest first, at most 1,000.

    ``kind`` is ``worker`` (component: service/worker@host) or ``agent`` (its id).
    """
    async with snapshot(conn) as open_snapshot:
        return await _history(open_snapshot, kind, component, since, until)


async def agents(conn: AsyncConnection[Any]) -> list[Agent]:
    """Return all agents, the ones in trouble first."""
    async with snapshot(conn) as open_snapshot:
        return await _agents(open_snapshot, _EVERY, {})


async def overview(conn: AsyncConnection[Any]) -> Overview:
    """Return what is wrong now, as of one snapshot."""
    async with snapshot(conn) as open_snapshot:
        now = await health.select_now(open_snapshot)
        everyone = await _workers(open_snapshot, _EVERY, {})
        hosts = await _agents(open_snapshot, sql.SQL("a.revoked_at is null"), {})
        open_alerts = await alerts.select_open(open_snapshot)
        complete = await completeness.select(
            open_snapshot, conditions.EVERYTHING, now - OVERVIEW_GAPS_WITHIN, now, OVERVIEW_GAPS
        )
        collectors = await health.select_collectors(open_snapshot)
        looked_at = await components.select(open_snapshot, PROBED_KINDS)
    states: dict[str, int] = {}
    for one in everyone:
        states[one.state] = states.get(one.state, 0) + 1
    standing = [*standstills(collectors), *unevaluated(collectors)]
    found = causes(everyone, hosts, open_alerts, complete.gaps, standing, verdicts(looked_at))
    return Overview(now, found, everyone, open_alerts, complete, states)


async def _workers(
    open_snapshot: Snapshot, which: sql.SQL, parameters: dict[str, Any]
) -> list[Worker]:
    query = _WORKERS.format(which=which, states=_WORST_FIRST, most=sql.Literal(MOST_WORKERS))
    rows = await open_snapshot.rows(query, parameters)
    return [Worker(*(*row[:-1], gauges_of(row[-1]))) for row in rows]


async def _agents(
    open_snapshot: Snapshot, which: sql.SQL, parameters: dict[str, Any]
) -> list[Agent]:
    query = _AGENTS.format(which=which, states=_WORST_FIRST, most=sql.Literal(MOST_WORKERS))
    rows = await open_snapshot.rows(query, parameters)
    return [Agent(*(*row[:-1], gauges_of(row[-1]))) for row in rows]


async def _history(
    open_snapshot: Snapshot, kind: str, component: str, since: datetime, until: datetime
) -> list[StateChange]:
    rows = await open_snapshot.rows(
        _HISTORY,
        {
            "kind": kind,
            "component": component,
            "since": since,
            "until": until,
            "most": MOST_HISTORY,
        },
    )
    return [StateChange(*row) for row in rows]


async def _last_words(
    open_snapshot: Snapshot, name: WorkerName, now: datetime, limit: int = LAST_WORDS
) -> list[LogRow]:
    asked = conditions.of_worker(*name)
    scope = await blocks.scope(open_snapshot, asked)
    slices = Slices(now - LAST_WORDS_WITHIN, now + timedelta(hours=1))
    hits: list[blocks.Hit] = []
    while len(hits) < limit and scope.services and not slices.done:
        hits += (await slices.read(open_snapshot, scope, asked, limit - len(hits))).hits
    return (await blocks.rows(open_snapshot, hits))[::-1]


_TIMES: Final = frozenset({"progress_at", "ended_at", "started_at", "last_line_at"})
_GAUGES: Final = tuple(field.name for field in fields(Gauges))


def gauges_of(document: dict[str, Any]) -> Gauges:
    """Return a heartbeat's gauges; what is missing or of a wrong type is None."""
    known: dict[str, Any] = {}
    for name in _GAUGES:
        value = document.get(name)
        if value is None:
            continue
        if name in _TIMES:
            value = _moment(value)
        elif name not in {"progress_note", "end"}:
            value = int(value) if isinstance(value, (int, float)) else None
        known[name] = value
    return Gauges(**known)


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
