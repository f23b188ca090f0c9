"""SQL of the outbox, which is a ledger: rows of ``notifications`` on their way to their one fate.

A row is ``waiting`` until a deliverer claims it. Claiming and recording the attempt are one
transaction, committed before the channel's socket is written; so an attempt without an outcome,
whose claim ran out, belongs to a deliverer that died or froze, and its outcome is unknown. Claims
skip locked rows and end by the database's clock.

Order: an alert's notices for one channel go one after the other, and a conversation has one message
on its way at a time. What is urgent goes first between alerts.

Fates of the ledger are news for others: :func:`finish` ends with a feed row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from outrider_collector.store import feed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

DEPARTURES_MAX = 2_000
"""Newest attempts that are looked at; more than all limits together let pass in a minute."""


@dataclass(frozen=True, slots=True)
class Due:
    """A notification that could leave now."""

    id: int
    alert: int
    channel: str
    conversation: str
    priority: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A notification that is ours for the length of the lease; the attempt is recorded."""

    id: int
    alert: int
    notice: str
    channel: str
    conversation: str
    content: dict[str, Any]
    created_at: datetime
    age_s: float
    episode_started_at: datetime
    attempt: int
    attempts: int
    # Outcomes of earlier attempts that may have arrived.
    unknown: int
    # What the channel called the firing, and how far that got.
    firing_provider_id: str | None
    delivered: list[str]


@dataclass(frozen=True, slots=True)
class Finish:
    """What became of an attempt, and of the row with it."""

    claim: Claim
    # sent, retry, failed, unknown: what this attempt came to.
    outcome: str
    error: str | None
    # waiting, sent, failed, dead or unknown: what the row is now.
    fate: str
    retry_in_s: float = 0.0
    provider_id: str | None = None
    delivered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """An attempt that another deliverer recorded: it counts against the limits too."""

    attempt: int
    channel: str
    conversation: str
    age_s: float


async def due(connection: AsyncConnection, *, limit: int) -> list[Due]:
    """Return what could leave now: the first of each conversation, urgent ones first, then older.

    One a conversation, so that a conversation with thousands of rows hides no other.
    """
    cursor = await connection.cursor(row_factory=class_row(Due)).execute(
        """
        with ready as (
            select n.id, n.alert, n.channel, n.conversation, n.priority,
                   array_position(array['critical', 'warning', 'info'], n.priority) as place
            from notifications n
            where n.fate = 'waiting' and n.not_before <= clock_timestamp()
              and not exists (
                  select from notifications e
                  where e.alert = n.alert and e.channel = n.channel and e.id < n.id
                    and e.fate in ('waiting', 'claimed'))
              and not exists (
                  select from notifications c
                  where c.fate = 'claimed' and c.conversation = n.conversation)
        ), first as (
            select distinct on (conversation) * from ready order by conversation, place, id
        )
        select id, alert, channel, conversation, priority from first
        order by place, id limit %s
        """,
        (limit,),
        prepare=True,
    )
    return await cursor.fetchall()


async def claim(
    connection: AsyncConnection, ids: Sequence[int], *, holder: str, lease_s: float
) -> list[Claim]:
    """Claim those of the rows that are still waiting and record an attempt for each.

    One transaction. A conversation on which another deliverer just claimed a row is passed over.
    """
    async with connection.transaction():
        # Two deliverers at one conversation: who comes second sees the first one's claim or
        # finds its lock taken; either way it leaves the conversation alone.
        cursor = await connection.execute(
            """
            select id from notifications
            where id = any(%s) and fate = 'waiting'
              and pg_try_advisory_xact_lock(hashtextextended('outbox ' || conversation, 0))
            order by id
            for update skip locked
            """,
            (list(ids),),
        )
        locked = [row[0] for row in await cursor.fetchall()]
        if not locked:
            return []
        return await _take(connection, locked, holder, lease_s)


async def _take(
    connection: AsyncConnection, ids: list[int], holder: str, lease_s: float
) -> list[Claim]:
    cursor = await connection.cursor(row_factory=class_row(Claim)).execute(
        """
        with taken as (
            update notifications n
            set fate = 'claimed', claimed_by = %(holder)s, attempts = n.attempts + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
            where n.id = any(%(ids)s)
              and not exists (
                  select from notifications c
                  where c.fate = 'claimed' and c.conversation = n.conversation)
            returning n.*
        ), begun as (
            insert into notification_attempts (notification)
            select id from taken
            returning id, notification
        )
        select n.id, n.alert, n.notice, n.channel, n.conversation, n.content, n.created_at,
               extract(epoch from clock_timestamp() - n.created_at)::float8 as age_s,
               a.started_at as episode_started_at, b.id as attempt, n.attempts,
               (select count(*)::int from notification_attempts u
                where u.notification = n.id and u.outcome = 'unknown') as unknown,
               (select f.provider_id from notifications f
                where f.alert = n.alert and f.channel = n.channel and f.id < n.id
                  and f.provider_id is not null
                order by f.id limit 1) as firing_provider_id,
               n.delivered
        from taken n
        join begun b on b.notification = n.id
        join alerts a on a.id = n.alert
        order by n.id
        """,
        {"ids": ids, "holder": holder, "lease": lease_s},
    )
    return await cursor.fetchall()


async def finish(connection: AsyncConnection, finishes: Sequence[Finish], *, holder: str) -> int:
    """Record what became of claims that are still ours; returns how many were.

    One transaction with one feed row. A claim that ran out and was taken by somebody else is left
    alone, except that this attempt gets the outcome it had: the truth about a message that was
    sent late is worth keeping.
    """
    async with feed.transaction(connection):
        kept: list[Finish] = []
        for item in sorted(finishes, key=lambda f: f.claim.id):
            await _finish_attempt(connection, item)
            if await _finish_row(connection, item, holder):
                kept.append(item)
        for item in kept:
            if item.fate in {"failed", "dead"}:
                await _drop_resolve(connection, item)
            if item.fate in {"failed", "dead", "unknown"}:
                await _tell_in_app(connection, item)
        if kept:
            await feed.commit(
                connection, "alerts", detail={"alerts": sorted({f.claim.alert for f in kept})}
            )
    return len(kept)


async def _finish_attempt(connection: AsyncConnection, item: Finish) -> None:
    await connection.execute(
        "update notification_attempts set finished_at = clock_timestamp(), outcome = %s, error = %s"
        " where id = %s",
        (item.outcome, item.error, item.claim.attempt),
    )


async def _finish_row(connection: AsyncConnection, item: Finish, holder: str) -> bool:
    cursor = await connection.execute(
        """
        update notifications
        set fate = %(fate)s, why = %(why)s, claimed_by = null, lease_until = null,
            not_before = clock_timestamp() + make_interval(secs => %(retry)s),
            finished_at = case when %(fate)s = 'waiting' then null else clock_timestamp() end,
            provider_id = coalesce(%(provider)s, provider_id),
            delivered = array(select distinct unnest(delivered || %(delivered)s::text[]) order by 1)
        where id = %(id)s and fate = 'claimed' and claimed_by = %(holder)s
          and attempts = %(attempts)s
        """,
        {
            "fate": item.fate,
            "why": item.error,
            "retry": item.retry_in_s,
            "provider": item.provider_id,
            "delivered": list(item.delivered),
            "id": item.claim.id,
            "holder": holder,
            "attempts": item.claim.attempts,
        },
    )
    return cursor.rowcount == 1


async def _drop_resolve(connection: AsyncConnection, item: Finish) -> None:
    """Overtake a resolve that waits behind a firing which this destination will never have."""
    await connection.execute(
        """
        update notifications n
        set fate = 'superseded', why = 'its firing was never delivered',
            finished_at = clock_timestamp()
        where n.alert = %(alert)s and n.channel = %(channel)s and n.notice = 'resolved'
          and n.fate = 'waiting'
          and not exists (
              select from notifications t
              where t.alert = n.alert and t.channel = n.channel and t.notice <> 'resolved'
                and (t.fate not in ('failed', 'dead')
                     -- An attempt before the last one may have arrived.
                     or exists (select from notification_attempts u
                                where u.notification = t.id and u.outcome = 'unknown')))
        """,
        {"alert": item.claim.alert, "channel": item.claim.channel},
    )


async def _tell_in_app(connection: AsyncConnection, item: Finish) -> None:
    """Say in the notification centre that somebody was not told."""
    await connection.execute(
        """
        update notifications
        set why = left(concat_ws('; ', why, %(said)s::text), 2000)
        where alert = %(alert)s and notice = %(notice)s and channel_type = 'in-app'
        """,
        {
            "said": f"{item.claim.channel}: {item.fate}: {item.error or 'no reason given'}",
            "alert": item.claim.alert,
            "notice": item.claim.notice,
        },
    )


async def release_expired(connection: AsyncConnection) -> int:
    """Take back claims that ran out; returns how many.

    Their last attempt has no outcome and never will: it is unknown. The first time the row waits
    for its one marked repeat, the second time unknown is its fate.
    """
    async with feed.transaction(connection):
        cursor = await connection.execute(
            """
            with late as (
                select id from notifications
                where fate = 'claimed' and lease_until < clock_timestamp()
                order by id limit 500
                for update skip locked
            )
            update notification_attempts a
            set finished_at = clock_timestamp(), outcome = 'unknown',
                error = 'the deliverer ended before it knew'
            from late where a.notification = late.id and a.outcome is null
            returning a.notification
            """
        )
        late = sorted({row[0] for row in await cursor.fetchall()})
        if not late:
            return 0
        rows = await connection.execute(
            """
            update notifications n
            set fate = case when c.unknown > 1 then 'unknown' else 'waiting' end,
                why = 'the deliverer ended before it knew', claimed_by = null, lease_until = null,
                not_before = clock_timestamp(),
                finished_at = case when c.unknown > 1 then clock_timestamp() end
            from (
                select notification, count(*) as unknown from notification_attempts
                where notification = any(%s) and outcome = 'unknown' group by notification
            ) c
            where n.id = c.notification and n.fate = 'claimed'
              and n.lease_until < clock_timestamp()
            returning n.alert
            """,
            (late,),
        )
        alerts = sorted({row[0] for row in await rows.fetchall()})
        if alerts:
            await feed.commit(connection, "alerts", detail={"alerts": alerts})
    return len(late)


async def departures(
    connection: AsyncConnection, *, after: int, not_by: Sequence[int], within_s: float
) -> list[Departure]:
    """Return attempts recorded after the given one and not ours, oldest first."""
    cursor = await connection.cursor(row_factory=class_row(Departure)).execute(
        """
        select a.id as attempt, n.channel, n.conversation,
               extract(epoch from clock_timestamp() - a.started_at)::float8 as age_s
        from notification_attempts a join notifications n on n.id = a.notification
        where a.id > greatest(%(after)s, (select max(id) from notification_attempts) - %(most)s)
          and a.id <> all(%(ours)s::bigint[])
          and a.started_at > clock_timestamp() - make_interval(secs => %(within)s)
        order by a.id
        """,
        {"after": after, "ours": list(not_by), "within": within_s, "most": DEPARTURES_MAX},
        prepare=True,
    )
    return await cursor.fetchall()
