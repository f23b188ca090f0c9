"""SQL of the ledger as the policy reads and writes it: who was, is and will be told of what.

Ids rise in the order in which rows are given: a conversation is told in the order of its ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_alerting.content import Content
    from outrider_alerting.routing import Destination
    from outrider_alerting.rules import Priority


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A row of the ledger as it stands."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    priority: str
    fate: str
    # Attempts that may have arrived: their outcome is unknown.
    attempts: int
    # All attempts.
    tries: int
    created_at: datetime
    why: str | None
    # What was to be said, where a channel was not told that something came and went.
    content: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A row for the ledger."""

    alert: int
    notice: str
    channel: str
    channel_type: str
    conversation: str
    priority: str
    fate: str
    why: str | None
    # Channel-independent blocks; msgspec encodes it. Rows that say the same may share it.
    content: msgspec.Struct
    not_before: datetime
    # Leaves as one message with others of its channel and bundle that wait.
    bundle: str | None
    # Alert and notice of the row, same channel, whose message is to tell this too.
    joins: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class SpokenRow:
    """A firing that went, or goes, out as a message of its own."""

    channel: str
    rule: str
    priority: str
    alert: int
    notice: str
    created_at: datetime
    followers: int


async def read(connection: AsyncConnection, ids: Sequence[int]) -> list[NotificationRow]:
    """Return the ledger of these alerts, locked: it stays as it is until the commit."""
    # Two statements: who waited for a row must read its attempts from a snapshot after the lock.
    await connection.execute(
        "select from notifications where alert = any(%s) order by id for update",
        (list(ids),),
        prepare=True,
    )
    cursor = await connection.cursor(row_factory=class_row(NotificationRow)).execute(
        """
        select n.alert, n.notice, n.channel, n.channel_type, n.conversation, n.priority, n.fate,
               n.why, n.attempts as tries, n.created_at,
               (select count(*)::int from notification_attempts a
                where a.notification = n.id and a.outcome = 'unknown') as attempts,
               case when n.fate in ('failed', 'dead', 'unknown')
                         and n.content ->> 'status' = 'fired and resolved'
                    then n.content end as content
        from notifications n where n.alert = any(%s) order by n.id
        """,
        (list(ids),),
        prepare=True,
    )
    return await cursor.fetchall()


async def spoken(connection: AsyncConnection, since: datetime) -> list[SpokenRow]:
    """Return the firings that went out by themselves since then and still hold, oldest first.

    What is over takes no more in: who was told that it is over would not hear of another.
    """
    cursor = await connection.cursor(row_factory=class_row(SpokenRow)).execute(
        """
        with joined as materialized (
            select joins, count(*) as followers from notifications
            where created_at > %(since)s and joins is not null group by joins
        )
        select n.channel, a.rule, n.priority, n.alert, n.notice, n.created_at,
               coalesce(j.followers, 0)::int as followers
        from notifications n join alerts a on a.id = n.alert left join joined j on j.joins = n.id
        where n.created_at > %(since)s and n.notice <> 'resolved' and n.channel_type <> 'in-app'
          and n.bundle is null and n.fate in ('waiting', 'claimed', 'sent')
          and a.state <> 'resolved'
          and (n.notice = 'fired' or n.notice like 'unsuppressed:%%')
        order by n.id
        """,
        {"since": since},
        prepare=True,
    )
    return await cursor.fetchall()


async def add(connection: AsyncConnection, rows: Sequence[NewNotification]) -> None:
    """Insert rows of the ledger; one (alert, notice, channel) has one row, whoever comes twice."""
    for part in _parts(rows):
        # What is said is said to several channels and is most of a row: it travels once.
        said = {id(row.content): row.content for row in part}
        places = {content: place for place, content in enumerate(said)}
        await connection.execute(
            """
            insert into notifications (alert, notice, channel, channel_type, conversation, priority,
                                       fate, why, content, not_before, finished_at, bundle,
                                       joins)
            select alert, notice, channel, channel_type, conversation, priority, fate, why,
                   said.content::jsonb, not_before,
                   case when fate = 'waiting' then null else clock_timestamp() end, bundle,
                   (select id from notifications first
                    where first.alert = new.first and first.notice = new.first_notice
                      and first.channel = new.channel)
            from jsonb_to_recordset(%s::jsonb) as new (
                place int, alert bigint, notice text, channel text, channel_type text,
                conversation text, priority text, fate text, why text, said int,
                not_before timestamptz, bundle text, first bigint, first_notice text)
            join unnest(%b::text[]) with ordinality as said (content, number)
                on said.number = new.said + 1
            order by place
            on conflict (alert, notice, channel) do nothing
            """,
            (
                msgspec.json.encode(
                    [_row(place, row, places[id(row.content)]) for place, row in enumerate(part)]
                ).decode(),
                [msgspec.json.encode(content).decode() for content in said.values()],
            ),
            prepare=True,
        )


async def add_apart(
    connection: AsyncConnection,
    notices: Sequence[str],
    to: Destination,
    priority: Priority,
    content: Content,
    *,
    unless_since: datetime | None = None,
) -> list[int]:
    """Insert messages that belong to no alert, one for each notice; returns their rows.

    They differ in their notice only. With ``unless_since``, those are left out that the channel was
    sent, or is to be sent, since then.
    """
    cursor = await connection.execute(
        """
        insert into notifications (notice, channel, channel_type, conversation, priority, fate,
                                   content)
        select notice, %(channel)s, %(type)s, %(conversation)s, %(priority)s, 'waiting', %(content)s
        from unnest(%(notices)s::text[]) new (notice)
        where not exists (
            select from notifications old
            where old.notice = new.notice and old.channel = %(channel)s
              and old.created_at >= coalesce(%(since)s::timestamptz, 'infinity')
        )
        returning id
        """,
        {
            "notices": list(notices),
            "channel": to.channel,
            "type": to.channel_type,
            "conversation": to.conversation,
            "priority": priority,
            "content": Jsonb(msgspec.to_builtins(content)),
            "since": unless_since,
        },
    )
    return [row[0] for row in await cursor.fetchall()]


def _parts(rows: Sequence[NewNotification]) -> Iterator[list[NewNotification]]:
    """Part the rows, in order, so that a row that joins another one finds it stored."""
    part: list[NewNotification] = []
    coming: set[tuple[int, str, str]] = set()
    for row in rows:
        if row.joins is not None and (*row.joins, row.channel) in coming:
            yield part
            part, coming = [], set()
        part.append(row)
        coming.add((row.alert, row.notice, row.channel))
    if part:
        yield part


def _row(place: int, row: NewNotification, said: int) -> dict[str, Any]:
    return {
        "place": place,
        "alert": row.alert,
        "notice": row.notice,
        "channel": row.channel,
        "channel_type": row.channel_type,
        "conversation": row.conversation,
        "priority": row.priority,
        "fate": row.fate,
        "why": row.why,
        "said": said,
        "not_before": row.not_before,
        "bundle": row.bundle,
        "first": row.joins[0] if row.joins else None,
        "first_notice": row.joins[1] if row.joins else None,
    }


async def supersede(
    connection: AsyncConnection, *, alert: int, notice: str, channel: str, why: str
) -> None:
    """Overtake a row that still waits."""
    await connection.execute(
        """
        update notifications
        set fate = 'superseded', why = %s, finished_at = clock_timestamp()
        where alert = %s and notice = %s and channel = %s and fate = 'waiting'
        """,
        (why, alert, notice, channel),
    )
