"""Records that Postgres refused: which there are, and what each was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Kept:
    """A range of a stream that is kept as bytes, with the reason."""

    id: int
    received_at: datetime
    service: str | None
    worker: str | None
    host: str | None
    stream: int
    begin_offset: int
    end_offset: int
    sqlstate: str
    reason: str
    """Postgres's words; they can quote the record."""
    bytes: int
    """Size of what is kept."""


_KEPT = """
select q.id, q.received_at, i.service, i.worker, i.host, q.stream, q.begin_offset, q.end_offset,
    q.sqlstate, q.reason, octet_length(q.payload) as bytes
from quarantine q left join stream_info i on i.id = q.stream
"""


async def newest(connection: AsyncConnection[Any], limit: int) -> list[Kept]:
    """Return the newest, newest first."""
    cursor = await connection.cursor(row_factory=class_row(Kept)).execute(
        _KEPT + "order by q.id desc limit %s", (limit,)
    )
    return await cursor.fetchall()


async def one(connection: AsyncConnection[Any], kept: int) -> tuple[Kept, str] | None:
    """Return one and its payload, JSON lines; None when there is no such one."""
    cursor = await connection.cursor(row_factory=class_row(Kept)).execute(
        _KEPT + "where q.id = %s", (kept,)
    )
    found = await cursor.fetchone()
    if found is None:
        return None
    payload = await connection.execute("select payload from quarantine where id = %s", (kept,))
    row = await payload.fetchone()
    return None if row is None else (found, bytes(row[0]).decode("utf-8", "replace"))
