"""The audit log as people read it: newest first, by who and what, and how far it is sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading.export import csv_cell, timestamp
from outrider_collector.store.reading.session import DEFAULT_TIMEOUT_MS, snapshot

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

MOST_COUNTED: Final = 10_000
"""Rows that are not sealed yet are counted up to so many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows; an empty text asks for all."""

    actor: str = ""
    """Exactly."""
    action: str = ""
    """An event, or its beginning: ``config.``."""
    target: str = ""
    """Anywhere in it."""
    acts: bool = False
    """Only acts that a collector or command wrote itself."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of ``audit_log``."""

    id: int
    ts: datetime
    received_at: datetime
    event: str
    actor: str | None
    target: str | None
    outcome: str | None
    reason: str | None
    before: str | None
    """JSON, as ``after``."""
    after: str | None
    message: str | None
    service: str
    worker: str
    host: str
    stream: int | None
    """With the offset, the record among the logs; None: an act."""
    stream_offset: int | None


@dataclass(frozen=True, slots=True)
class SealState:
    """How far the log is sealed; numbers are 0 and times None before the first seal."""

    number: int
    root: str
    sealed_at: datetime | None
    up_to_id: int
    unsealed: int
    """Newer rows, of those that the reader may see; MOST_COUNTED: at least so many."""
    oldest_unsealed_at: datetime | None


_ROWS: Final = sql.SQL("""
    select id, ts, received_at, event, actor, target, outcome, reason, before, after, message,
           service, worker, host, stream, stream_offset
    from audit_log
    where (%(before)s::bigint is null or id < %(before)s::bigint)
        and (%(actor)s::text = '' or actor = %(actor)s::text)
        and (%(action)s::text = '' or starts_with(event, %(action)s::text))
        and (%(target)s::text = '' or position(lower(%(target)s::text) in lower(target)) > 0)
        and (not %(acts)s::boolean or stream is null)
    order by id desc limit %(limit)s
    """)

_SEALS: Final = sql.SQL("""
    with newest as (
        select number, encode(root, 'hex') as root, sealed_at, up_to_id
        from audit_seals order by number desc limit 1
    ), young as (
        select received_at from audit_log
        where id > coalesce((select up_to_id from newest), 0)
        order by id limit %(most)s
    )
    select coalesce(n.number, 0), coalesce(n.root, ''), n.sealed_at, coalesce(n.up_to_id, 0),
           (select count(*) from young), (select min(received_at) from young)
    from (values (1)) v left join newest n on true
    """)


async def rows(
    conn: AsyncConnection[Any],
    asked: Asked,
    limit: int,
    before_id: int | None = None,
    *,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> list[AuditRow]:
    """Return rows, newest first, before the one with ``before_id``. Raises QUERY_TIMEOUT."""
    async with snapshot(conn, timeout_ms) as open_snapshot:
        found = await open_snapshot.rows(
            _ROWS,
            {
                "before": before_id,
                "actor": asked.actor,
                "action": asked.action,
                "target": asked.target,
                "acts": asked.acts,
                "limit": limit,
            },
        )
    return [AuditRow(*row) for row in found]


async def seals(conn: AsyncConnection[Any]) -> SealState:
    """Return how far the log is sealed."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(_SEALS, {"most": MOST_COUNTED})
    assert row is not None  # noqa: S101  a select from values
    return SealState(*row)


COLUMNS: Final = (
    "id", "ts", "received_at", "event", "actor", "target", "outcome", "reason", "before", "after",
    "message", "service", "worker", "host", "stream", "stream_offset",
)  # fmt: skip


def csv_header() -> str:
    """Return the first line, with its end."""
    return ",".join(f'"{name}"' for name in COLUMNS) + "\r\n"


def csv_line(row: AuditRow) -> str:
    """Return a row as a line of CSV that no spreadsheet takes for a formula, with its end."""
    values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    values |= {name: timestamp(values[name]) for name in ("ts", "received_at")}
    cells = ("" if value is None else str(value) for value in values.values())
    return ",".join(map(csv_cell, cells)) + "\r\n"
