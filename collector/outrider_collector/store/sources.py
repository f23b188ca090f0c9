"""SQL of sources: how complete what an agent ships of a worker is, as its streams' rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What one agent ships of one worker, and how complete it is."""

    agent: int
    service: str
    worker: str
    host: str
    # Least watermark of the open streams; None: none has one, or none is open.
    complete_at: datetime | None
    # Whether a stream is open.
    open: bool
    seen_at: datetime


async def read_open(connection: AsyncConnection) -> list[SourceRow]:
    """Return the sources with an open stream whose agent was heard from in the last 24 hours.

    A stream without a watermark yet holds its source at its birth, unless no stream of the source
    has one: then nothing is known.
    """
    cursor = await connection.cursor(row_factory=class_row(SourceRow)).execute(
        """
        select i.agent, i.service, i.worker, i.host, true as open,
               case when count(s.watermark) > 0
                    then min(coalesce(s.watermark, i.born_at)) end as complete_at,
               max(coalesce(greatest(h.seen_at, a.connected_at), a.created_at)) as seen_at
        from stream_info i
        join streams s on s.id = i.id
        join agents a on a.id = i.agent
        left join heartbeats h on h.component_kind = 'agent' and h.component = i.agent::text
        where i.closed_at is null
          and coalesce(greatest(h.seen_at, a.connected_at), a.created_at)
              > clock_timestamp() - interval '24 hours'
        group by i.agent, i.service, i.worker, i.host
        order by i.agent, i.service, i.worker, i.host
        """,
        prepare=True,
    )
    return await cursor.fetchall()


async def read_closed(connection: AsyncConnection) -> list[SourceRow]:
    """Return the sources whose streams were all closed, the last one in the last 24 hours."""
    cursor = await connection.cursor(row_factory=class_row(SourceRow)).execute(
        """
        -- From the few that ended lately, not from all that ever were.
        with ended as (
            select distinct agent, service, worker, host from stream_info
            where closed_at > clock_timestamp() - interval '24 hours'
        )
        select e.agent, e.service, e.worker, e.host, false as open,
               null::timestamptz as complete_at,
               coalesce(greatest(h.seen_at, a.connected_at), a.created_at) as seen_at
        from ended e
        join agents a on a.id = e.agent
        left join heartbeats h on h.component_kind = 'agent' and h.component = e.agent::text
        where a.revoked_at is null
          and not exists (
              select from stream_info o
              where (o.agent, o.service, o.worker, o.host) = (e.agent, e.service, e.worker, e.host)
                and o.closed_at is null)
        order by e.agent, e.service, e.worker, e.host
        """
    )
    return await cursor.fetchall()
