"""SQL of messages that were sent and do not read as things are by now: their edits are owed.

Who changes what is so (an acknowledgement, an end, a higher priority) counts it at the rows of the
messages that told it, in its own transaction. Whoever delivers takes such a message for the length
of a lease, edits it to what is so now, and takes off as many changes as it had seen, unless
somebody else has taken it since. What is counted meanwhile, an edit that was refused for now and
one that was lost with its process leave the message owed: it is tried until it reads right, for
about a day.

Edits of a message follow each other: none is begun during another, nor while a notice of its
conversation is on its way, since that may be an edit too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row

from outrider_alerting.routing import EDITABLE
from outrider_collector.store.outbox import Due
from outrider_collector.store.shown import Shown, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

TRIES_MAX: Final = 300
"""At five minutes at most between two of them, about a day."""
_LONGEST_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Outdated:
    """A message to be edited, ours for the length of the lease."""

    channel: str
    conversation: str
    # Where the conversation has moved.
    address: str | None
    shown: Shown
    # Rows with changes it does not show yet, and how many when it was taken.
    rows: tuple[int, ...]
    owed: tuple[int, ...]
    # Until when each row is ours: where it is another time by now, somebody else has taken it.
    until: tuple[datetime, ...]
    # This edit's number among those in a row that came to nothing.
    tries: int


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of an edit."""

    message: Outdated
    # True: it reads as things were when it was taken. None: not yet. False: it never will.
    reads_right: bool | None
    reason: str = ""
    # Least seconds until the next try.
    after_s: float = 0.0


async def mark(
    connection: AsyncConnection, alerts: Sequence[int], *, channel: str | None = None
) -> None:
    """Have the messages that told these alerts edited, those on their way once they are there.

    Those of all channels, or of one.
    """
    await connection.execute(
        """
        with telling as (
            select id from notifications
            where alert = any(%(alerts)s) and channel_type = any(%(types)s) and notice <> 'resolved'
              and channel = coalesce(%(channel)s, channel)
              and fate in ('waiting', 'claimed', 'sent')
            order by id for update
        )
        update notifications n set edits_owed = n.edits_owed + 1, edit_tries = 0
        from telling where n.id = telling.id
        """,
        {"alerts": list(alerts), "types": sorted(EDITABLE), "channel": channel},
    )


async def mark_joined(connection: AsyncConnection, channel: str, provider_id: str) -> None:
    """Have a message looked at again that two edits may have reached at the same time.

    A notice has just joined it. An edit that began before may have arrived after it.
    """
    await connection.execute(
        """
        update notifications set edits_owed = edits_owed + 1
        where channel = %s and provider_id = %s and notice <> 'resolved'
          and edit_at > clock_timestamp() - interval '1 minute'
        """,
        (channel, provider_id),
    )


async def due(connection: AsyncConnection, *, limit: int) -> list[Due]:
    """Return a row of one message in each conversation that has messages to be edited now."""
    cursor = await connection.cursor(row_factory=class_row(Due)).execute(
        """
        select distinct on (conversation) id, channel, conversation, priority
        from notifications
        where edits_owed > 0 and fate = 'sent' and provider_id is not null
          and (edit_at is null or edit_at <= clock_timestamp())
          and conversation <> all(array(
              select distinct conversation from notifications where fate = 'claimed'))
        order by conversation, id limit %s
        """,
        (limit,),
        prepare=True,
    )
    return await cursor.fetchall()


async def take(
    connection: AsyncConnection, ids: Sequence[int], *, lease_s: float
) -> list[Outdated]:
    """Take the messages of these rows for the length of the lease; returns what is ours to edit."""
    async with connection.transaction():
        cursor = await connection.execute(
            """
            with ours as (
                select channel, provider_id from notifications
                where id = any(%(ids)s) and edits_owed > 0
                  and (edit_at is null or edit_at <= clock_timestamp())
                for update skip locked
            ), message as (
                select n.id from notifications n join ours using (channel, provider_id)
                order by n.id for update of n
            ), taken as (
                update notifications n
                set edit_at = clock_timestamp() + make_interval(secs => %(lease)s),
                    edit_tries = least(n.edit_tries + 1, %(most)s)
                from message where n.id = message.id
                returning n.id, n.channel, n.provider_id, n.conversation, n.edits_owed,
                          n.edit_tries, n.edit_at
            )
            select t.channel, t.provider_id, t.conversation, m.alias,
                   array_agg(t.id order by t.id), array_agg(t.edits_owed order by t.id),
                   array_agg(t.edit_at order by t.id), max(t.edit_tries)
            from taken t left join conversation_aliases m using (conversation)
            group by 1, 2, 3, 4
            """,
            {"ids": list(ids), "lease": lease_s, "most": TRIES_MAX},
        )
        found = []
        for channel, provider_id, conversation, alias, *rows, tries in await cursor.fetchall():
            told = await shown(connection, channel, provider_id)
            if told is not None:
                ids_, owed, until = map(tuple, rows)
                message = Outdated(channel, conversation, alias, told, ids_, owed, until, tries)
                found.append(message)
    return found


async def settle(connection: AsyncConnection, edited: Sequence[Edited]) -> None:
    """Record what became of edits of rows that are still ours."""
    async with connection.transaction():
        for item in edited:
            message = item.message
            if item.reads_right is None and message.tries < TRIES_MAX:
                await _put_off(connection, item)
                continue
            why = None
            if not item.reads_right:
                why = f"its message still reads as it did: {item.reason or 'no answer'}"[:500]
            await connection.execute(
                """
                update notifications n
                set edits_owed = greatest(n.edits_owed - u.owed, 0), edit_at = clock_timestamp(),
                    edit_tries = 0, why = left(coalesce(%s, n.why), 2000)
                from unnest(%s::bigint[], %s::integer[], %s::timestamptz[]) u (id, owed, until)
                where n.id = u.id and n.edit_at = u.until
                """,
                (why, list(message.rows), list(message.owed), list(message.until)),
            )


async def _put_off(connection: AsyncConnection, item: Edited) -> None:
    wait_s = max(item.after_s, min(_LONGEST_WAIT_S, 2.0 ** min(item.message.tries, 9)))
    await connection.execute(
        """
        update notifications n set edit_at = clock_timestamp() + make_interval(secs => %s)
        from unnest(%s::bigint[], %s::timestamptz[]) u (id, until)
        where n.id = u.id and n.edit_at = u.until
        """,
        (wait_s, list(item.message.rows), list(item.message.until)),
    )
