"""Who has missed his heartbeats by the database's clock is declared silent, once.

The statement that declares it also reads the heartbeat it is declared by, so that a heartbeat
stored a moment earlier wins, and whether the collector that would have heard it was there: its own
downtime is never counted against a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outrider_collector.store import feed
from outrider_collector.store.health import PROBED_KINDS, Change, Component, store

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection


GONE_WORKER: Final = ("retired", "its agent does not report it any more")


async def mark_silent(
    connection: AsyncConnection[Any],
    collector: str,
    *,
    reconnect_grace_s: float,
    limit: int = 1_000,
) -> list[Change]:
    """Declare silent who is overdue by the database's clock, in one transaction.

    What probes look at is expired then: nobody has said how it is. Where the agent or collector
    that looked has stopped on purpose, nobody is to say it: it is retired, until somebody does. A
    worker is retired too of whose agent a later heartbeat is there, which is not overdue: it lives,
    and does not report the worker any more.

    ``collector`` is who asks. Nobody is overdue whose collector is gone, or was until less than
    ``reconnect_grace_s`` ago. Another collector is there if it has said so after the heartbeat was
    due: who died just before may have heard it and told nobody.
    A transaction of another collector that declares the same is passed over.
    """
    async with feed.transaction(connection):
        changes = await _overdue(connection, collector, reconnect_grace_s, limit)
        await store(connection, changes)
    return changes


async def _overdue(
    connection: AsyncConnection[Any], collector: str, reconnect_grace_s: float, limit: int
) -> list[Change]:
    cursor = await connection.execute(
        """
        select s.component_kind, s.component, s.agent, s.team, s.host, s.service, s.worker,
               s.state, h.seen_at, clock_timestamp(),
               coalesce(a.state = 'retired', s.agent is null and c.stopped_at is not null),
               s.component_kind = 'worker' and exists (
                   select from heartbeats b
                   where b.component_kind = 'agent' and b.component = s.agent::text
                       and b.seen_at > h.seen_at and b.due_at >= clock_timestamp())
        from heartbeats h
        join system_health s using (component_kind, component)
        left join collectors c on c.name = h.collector
        left join system_health a on a.component_kind = 'agent' and a.component = s.agent::text
        where h.due_at < clock_timestamp()
          and s.state in ('up', 'degraded', 'lagging', 'unknown', 'down', 'maintenance')
          and clock_timestamp() - make_interval(secs => %(grace)s) > case
              when c.stopped_at is null and (c.name = %(collector)s or c.seen_at > h.due_at)
              -- Its collector is there: has it been there for long enough to have seen it?
              then coalesce((c.status ->> 'watching_since')::timestamptz, c.seen_at)
              -- Its collector is gone: has there been time to find another?
              else greatest(c.seen_at, h.seen_at) end
        order by component_kind, component
        limit %(limit)s
        for update of s, h skip locked
        """,
        {"collector": collector, "grace": reconnect_grace_s, "limit": limit},
    )
    return [
        Change(
            Component(kind, name, agent, team, host or "", service, worker),
            state,
            *_unheard(kind, seen_at, on_purpose=on_purpose, is_left_out=is_left_out),
            now,
        )
        for (
            kind, name, agent, team, host, service, worker, state, seen_at, now, on_purpose,
            is_left_out,
        ) in await cursor.fetchall()
    ]  # fmt: skip


def _unheard(
    kind: str, seen_at: datetime, *, on_purpose: bool, is_left_out: bool
) -> tuple[str, str]:
    """Return the state of who is not heard from any more, and why."""
    since = f"since {seen_at:%Y-%m-%d %H:%M:%S} UTC"
    if is_left_out:
        return GONE_WORKER
    if kind not in PROBED_KINDS:
        return "silent", f"no heartbeat {since}"
    if on_purpose:
        return "retired", f"who looked at it has stopped on purpose, no report {since}"
    return "expired", f"no report {since}"
