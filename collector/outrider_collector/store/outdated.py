"""SQL of messages that were sent and do not say yet that somebody acknowledged.

The act marks them (:mod:`.acts`), in its own transaction; whoever delivers takes the mark away and
edits the message. An edit that is lost with its process is not made up for: it tells nobody, the
alert itself is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from outrider_alerting.routing import EDITABLE
from outrider_collector.store.outbox import Due, Shown, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Outdated:
    """A message to be edited."""

    channel: str
    # Where the conversation has moved.
    address: str | None
    shown: Shown


async def mark(connection: AsyncConnection, alert: int) -> None:
    """Have the messages that told an alert edited, those on their way once they are there."""
    await connection.execute(
        """
        update notifications set outdated = true
        where alert = %s and channel_type = any(%s) and notice <> 'resolved'
          and fate in ('waiting', 'claimed', 'sent')
        """,
        (alert, sorted(EDITABLE)),
    )


async def due(connection: AsyncConnection, *, limit: int) -> list[Due]:
    """Return a row of one message in each conversation that has such messages."""
    cursor = await connection.cursor(row_factory=class_row(Due)).execute(
        """
        select distinct on (conversation) id, channel, conversation, priority
        from notifications
        where outdated and fate = 'sent' and provider_id is not null
        order by conversation, id limit %s
        """,
        (limit,),
        prepare=True,
    )
    return await cursor.fetchall()


async def take(connection: AsyncConnection, ids: Sequence[int]) -> list[Outdated]:
    """Take the marks from the messages of these rows; returns what is ours to edit."""
    async with connection.transaction():
        cursor = await connection.execute(
            """
            with ours as (
                select channel, provider_id from notifications
                where id = any(%s) and outdated
                for update skip locked
            ), unmarked as (
                update notifications n set outdated = false
                from ours where (n.channel, n.provider_id) = (ours.channel, ours.provider_id)
                returning n.channel, n.provider_id, n.conversation
            )
            select distinct u.channel, u.provider_id, m.alias
            from unmarked u left join conversation_aliases m using (conversation)
            """,
            (list(ids),),
        )
        messages = [
            (channel, address, await shown(connection, channel, provider_id))
            for channel, provider_id, address in await cursor.fetchall()
        ]
    return [Outdated(channel, address, told) for channel, address, told in messages if told]
