"""SQL of what messages tell: those to be sent, and those that were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

PARTS_MAX: Final = 100
"""Rows of a message whose words are looked at; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """One notice of a message, and how its alert is by now."""

    # What is said; None beyond the first PARTS_MAX.
    content: dict[str, Any] | None
    over: bool
    acknowledged: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that was sent before: what the channel calls it and all that it tells."""

    provider_id: str
    # What its first part is about.
    alert: int | None
    episode_started_at: datetime | None
    parts: list[Part]
    total: int
    # Of all that it tells, what is not over by now.
    still_open: int


async def parts_of(connection: AsyncConnection, ids: list[int]) -> list[Part]:
    """Read what these rows say, in their order."""
    cursor = await connection.cursor(row_factory=class_row(Part)).execute(
        """
        select case when row_number() over (order by n.id) <= %s then n.content end as content,
               coalesce(a.state = 'resolved', false) as over,
               coalesce(a.acknowledged_by, '') as acknowledged
        from notifications n left join alerts a on a.id = n.alert
        where n.id = any(%s) order by n.id
        """,
        (PARTS_MAX, ids),
    )
    return await cursor.fetchall()


async def shown(connection: AsyncConnection, channel: str, provider_id: str | None) -> Shown | None:
    """Return what a message that was sent tells, but for ends; None where it is not known.

    For channels whose messages can be edited: what others call a message names no single one.
    """
    if provider_id is None:
        return None
    return await _shown(connection, channel=channel, provider_id=provider_id)


async def shown_by_name(connection: AsyncConnection, message: int | None) -> Shown | None:
    """Return what the message told that this row led, but for ends; it is about this row."""
    if message is None:
        return None
    found = await _shown(connection, message=message)
    cursor = await connection.execute(
        "select n.alert, a.started_at from notifications n left join alerts a on a.id = n.alert"
        " where n.id = %s",
        (message,),
    )
    lead = await cursor.fetchone()
    if found is None or lead is None:
        return None
    return replace(found, alert=lead[0], episode_started_at=lead[1])


async def _shown(
    connection: AsyncConnection,
    *,
    channel: str | None = None,
    provider_id: str | None = None,
    message: int | None = None,
) -> Shown | None:
    cursor = await connection.execute(
        """
        select n.content, coalesce(a.state = 'resolved', false), coalesce(a.acknowledged_by, ''),
               count(*) over (), n.alert, a.started_at,
               count(*) filter (where a.state is distinct from 'resolved') over ()
        from notifications n left join alerts a on a.id = n.alert
        where ((n.channel = %s and n.provider_id = %s) or n.message = %s)
          and n.notice <> 'resolved'
        order by n.id limit %s
        """,
        (channel, provider_id, message, PARTS_MAX),
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    parts = [Part(content, over, by) for content, over, by, *_ in rows]
    _, _, _, total, alert, started_at, still_open = rows[0]
    return Shown(provider_id or "", alert, started_at, parts, total, still_open)
