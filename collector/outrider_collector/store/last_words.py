"""SQL of what workers wrote last: the evidence of an alert that one of them died or fell silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from outrider_collector.store.evaluation import MESSAGE_CHARACTERS, EvidenceRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

LINES: Final = 3
"""Of each worker."""
WORKERS_MAX: Final = 20
"""Workers of one step whose last lines are read; who dies with more of them is shown without."""
WITHIN_MS: Final = 200
"""For all of them: an alert does not wait longer for what only explains it. Who is quiet in a busy
service has its last lines behind very many blocks of others."""
_BLOCKS: Final = 2
"""Newest blocks of a worker that are opened."""


class Worker(NamedTuple):
    """A worker as its component is named."""

    service: str
    worker: str
    host: str


async def last_words(
    connection: AsyncConnection, workers: Sequence[Worker], since: datetime
) -> dict[Worker, list[EvidenceRow]]:
    """Return the last lines of each worker that arrived since a time, oldest first.

    Only fresh blocks are asked: what was moved from there is older than minutes. Where that takes
    longer than ``WITHIN_MS``, nothing is returned.
    """
    asked = list(workers)[:WORKERS_MAX]
    if not asked:
        return {}
    try:
        async with connection.transaction():
            await connection.execute(f"set local statement_timeout = {WITHIN_MS:d}")
            return await _last_words(connection, asked, since)
    except psycopg.errors.QueryCanceled:
        return {}


async def _last_words(
    connection: AsyncConnection, asked: Sequence[Worker], since: datetime
) -> dict[Worker, list[EvidenceRow]]:
    cursor = await connection.execute(
        """
        select u.stream, u.stream_offset, u.ts, u.severity, w.service, w.worker,
               left(u.message, %(most)s) as message, w.host
        from unnest(%(services)s::text[], %(workers)s::text[], %(hosts)s::text[])
             as w (service, worker, host)
        join system_health h on h.component_kind = 'worker'
                            and h.component = w.service || '/' || w.worker || '@' || w.host
        cross join lateral (
            select array_agg(i.id) as ids from stream_info i
            where i.team = h.team and i.service = w.service and i.worker = w.worker
              and i.host = w.host and (i.closed_at is null or i.closed_at >= %(since)s)
        ) s
        cross join lateral (
            select l.stream, l.stream_offset, l.ts, l.severity, l.message
            from (
                select b.stream, b.stream_offset, b.ts, b.severity, b.message
                from blocks_fresh b
                where b.service = w.service and b.ts_max >= %(since)s
                  and b.received_at >= %(since)s and b.stream_ids && s.ids
                order by b.ts_max desc limit %(blocks)s
            ) b cross join lateral unnest(b.stream, b.stream_offset, b.ts, b.severity, b.message)
                 as l (stream, stream_offset, ts, severity, message)
            where l.stream = any(s.ids)
            order by l.ts desc, l.stream_offset desc limit %(lines)s
        ) u
        order by u.ts, u.stream_offset
        """,
        {
            "services": [each.service for each in asked],
            "workers": [each.worker for each in asked],
            "hosts": [each.host for each in asked],
            "since": since,
            "most": MESSAGE_CHARACTERS,
            "blocks": _BLOCKS,
            "lines": LINES,
        },
        prepare=True,
    )
    found: dict[Worker, list[EvidenceRow]] = {}
    for *line, host in await cursor.fetchall():
        row = EvidenceRow(*line)
        found.setdefault(Worker(row.service, row.worker, host), []).append(row)
    return found
