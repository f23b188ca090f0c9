"""SQL of the outbox, which is a ledger: rows of ``notifications`` on their way to their one fate.

A row is ``waiting`` until a deliverer claims it. Claiming and recording the attempt are one
transaction; right before the channel's socket is written the attempt is marked ``may_have_left``.
An attempt without an outcome, whose claim ran out, belongs to a deliverer that died or froze: its
outcome is unknown if it is marked, else nothing was sent. Claims skip locked rows and end by the
database's clock.

Order: an alert's notices for one channel go one after the other, and a conversation has one message
on its way at a time. What is urgent goes first between alerts.

Several rows may leave as one message, each with its own attempt and fate:

* those of one ``bundle``: the policy wants them together;
* ends of what one message told;
* in a storm (more than STORM firings of a conversation wait) all firings of one priority that is
  not critical.

A message that is tried again has the rows that it had: its name is its first row's, and a receiver
that has seen the name does not look at what it tells. ``message`` of a row names that first one.

What becomes of them is written by :mod:`.outcomes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row, dict_row

from outrider_alerting.routing import EDITABLE
from outrider_collector.store.shown import Part, Shown, parts_of, shown, shown_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

CUT_SHORT: Final = "the deliverer ended before anything left"
"""What the ledger says of such an attempt."""
STORM: Final = 5
TOGETHER_MAX: Final = 2_000
"""Rows that leave as one message at most."""
DEPARTURES_MAX: Final = 2_000
"""Newest attempts that are looked at; more than all limits together let pass in a minute."""


@dataclass(frozen=True, slots=True)
class Due:
    """A notification that could leave now."""

    id: int
    channel: str
    conversation: str
    priority: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Notices that are ours for the length of the lease, to be told in one message.

    All that is not a list is the first one's. Their attempts are recorded.
    """

    id: int
    alert: int | None
    notice: str
    channel: str
    conversation: str
    created_at: datetime
    age_s: float
    # None where it belongs to no alert.
    episode_started_at: datetime | None
    attempts: int
    # Outcomes of earlier attempts that may have arrived.
    unknown: int
    # Earlier attempts whose deliverer ended before anything left.
    cut_short: int
    # What the channel called the firing, and how far that got.
    firing_provider_id: str | None
    delivered: list[str]
    # Where the conversation has moved.
    address: str | None
    # What the channel called the message that is to tell this too.
    joins: str | None
    attempt_ids: list[int]
    parts: list[Part]
    # The message to be edited, and the firing's where this is a resolve.
    joined: Shown | None = None
    firing: Shown | None = None
    channel_type: str = ""


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
        -- Windows, not joins of the table with itself: the plan that was made while nothing waited
        -- is kept in a storm, and would look at every row for every row.
        with undone as materialized (
            select id, channel, conversation, priority, fate, not_before, joins,
                   message,
                   array_position(array['critical', 'warning', 'info'], priority) as place,
                   row_number() over (partition by coalesce(alert, -id), channel order by id)
                       as turn,
                   bool_or(fate = 'claimed') over (partition by conversation) as busy
            from notifications where fate in ('waiting', 'claimed')
        ), first as (
            select distinct on (conversation) * from undone
            where fate = 'waiting' and not_before <= clock_timestamp() and turn = 1 and not busy
              and (joins is null or joins not in (select id from undone))
              -- Who left with another one leaves again when that one does.
              and (message is null or message = id or message not in (select id from undone))
            order by conversation, place, id
        )
        select id, channel, conversation, priority from first
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

    What may leave together with one of them (see the module's page) is claimed with it. One
    transaction. A conversation on which another deliverer just claimed a row is passed over.
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
        leads = [row[0] for row in await cursor.fetchall()]
        if not leads:
            return []
        companions = await _companions(connection, leads)
        messages = {lead: lead for lead in leads} | companions
        await _take(connection, messages, holder, lease_s)
        return await claimed(connection, leads, companions)


async def _companions(connection: AsyncConnection, leads: list[int]) -> dict[int, int]:
    """Lock what leaves together with these rows; returns each one's lead."""
    cursor = await connection.execute(
        """
        with lead as (
            select n.*, f.provider_id as firing, f.message as firing_message,
                   (select count(*) from notifications w
                    where w.fate = 'waiting' and w.conversation = n.conversation
                      and w.notice = 'fired' and w.priority = n.priority and w.joins is null
                      and w.not_before <= clock_timestamp()) as waiting
            from notifications n
            left join lateral (
                select provider_id, message from notifications f
                where n.notice = 'resolved' and f.alert = n.alert and f.channel = n.channel
                  and f.id < n.id and f.provider_id is not null
                order by f.id limit 1) f on true
            where n.id = any(%(leads)s)
        ), undone as materialized (
            select id, channel, conversation, priority, notice, fate, not_before, joins, bundle,
                   alert, attempts, message,
                   row_number() over (partition by coalesce(alert, -id), channel order by id)
                       as turn
            from notifications
            where fate in ('waiting', 'claimed') and channel in (select channel from lead)
        ), companion as (
            select n.id, lead.id as lead
            from lead
            join undone n on n.conversation = lead.conversation and n.channel = lead.channel
            where n.fate = 'waiting' and n.id <> all(%(leads)s::bigint[])
              and n.message = lead.message
            union all
            select n.id, lead.id
            from lead
            join undone n on n.conversation = lead.conversation and n.channel = lead.channel
            where n.fate = 'waiting' and n.not_before <= clock_timestamp() and n.turn = 1
              and n.id <> all(%(leads)s::bigint[])
              and n.message is null and lead.message is null and n.attempts = lead.attempts
              and (n.bundle = lead.bundle
                   or (lead.notice = 'fired' and lead.waiting > %(storm)s
                       and lead.priority <> 'critical' and lead.joins is null
                       and n.notice = 'fired' and n.priority = lead.priority and n.joins is null)
                   or (lead.firing is not null and n.notice = 'resolved'
                       and exists (
                           select from notifications f
                           where f.alert = n.alert and f.channel = n.channel
                             and f.provider_id is not null and f.id < n.id
                             and (f.message = lead.firing_message
                                  or (lead.channel_type = any(%(editable)s)
                                      and f.provider_id = lead.firing)))))
            order by id limit %(most)s
        )
        select n.id, companion.lead
        from companion join notifications n using (id)
        where n.fate = 'waiting'
        order by n.id
        for update of n skip locked
        """,
        {
            "leads": leads,
            "storm": STORM,
            "most": TOGETHER_MAX,
            "editable": sorted(EDITABLE),
        },
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def _take(
    connection: AsyncConnection, messages: Mapping[int, int], holder: str, lease_s: float
) -> None:
    """Claim rows, given with the first row of their message, and record an attempt for each."""
    await connection.execute(
        """
        with taken as (
            update notifications n
            set fate = 'claimed', claimed_by = %(holder)s, attempts = n.attempts + 1,
                message = led.message,
                lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
            from unnest(%(ids)s::bigint[], %(messages)s::bigint[]) led (id, message)
            where n.id = led.id
              and n.conversation <> all(array(
                  select distinct conversation from notifications where fate = 'claimed'))
            returning n.id
        )
        insert into notification_attempts (notification, may_have_left)
        select id, false from taken order by id
        """,
        {
            "ids": list(messages),
            "messages": list(messages.values()),
            "holder": holder,
            "lease": lease_s,
        },
    )


async def claimed(
    connection: AsyncConnection, leads: Sequence[int], companions: Mapping[int, int]
) -> list[Claim]:
    """Read what was claimed in this transaction: one message for each lead."""
    cursor = await connection.cursor(row_factory=dict_row).execute(
        """
        select n.id, n.alert, n.notice, n.channel, n.conversation, n.created_at,
               extract(epoch from clock_timestamp() - n.created_at)::float8 as age_s,
               a.started_at as episode_started_at, n.attempts,
               (select count(*)::int from notification_attempts u
                where u.notification = n.id and u.outcome = 'unknown') as unknown,
               (select count(*)::int from notification_attempts u
                where u.notification = n.id and u.error = %s and not u.may_have_left) as cut_short,
               f.provider_id as firing_provider_id, f.message as firing_message,
               n.channel_type, n.delivered, m.alias as address,
               (select j.provider_id from notifications j where j.id = n.joins) as joins
        from notifications n
        left join alerts a on a.id = n.alert
        left join conversation_aliases m on m.conversation = n.conversation
        left join lateral (
            select provider_id, message from notifications f
            where f.alert = n.alert and f.channel = n.channel and f.id < n.id
              and f.provider_id is not null
            order by f.id limit 1) f on true
        where n.id = any(%s) and n.fate = 'claimed'
        order by n.id
        """,
        (CUT_SHORT, list(leads)),
    )
    rows = await cursor.fetchall()
    members: dict[int, list[int]] = {lead: [lead] for lead in leads}
    for companion, lead in companions.items():
        members[lead].append(companion)
    claims = []
    for row in rows:
        ids = members[row["id"]]
        attempt_ids = await _newest_attempts(connection, ids)
        parts = await parts_of(connection, ids)
        joined = await shown(connection, row["channel"], row["joins"])
        channel_type, message = row["channel_type"], row.pop("firing_message")
        told = None
        if row["notice"] == "resolved" and channel_type in EDITABLE:
            told = await shown(connection, row["channel"], row["firing_provider_id"])
        elif row["notice"] == "resolved":
            told = await shown_by_name(connection, message)
        claims.append(
            Claim(**row, attempt_ids=attempt_ids, parts=parts, joined=joined, firing=told)
        )
    return claims


async def _newest_attempts(connection: AsyncConnection, ids: list[int]) -> list[int]:
    cursor = await connection.execute(
        "select max(id) from notification_attempts where notification = any(%s)"
        " group by notification order by 1",
        (ids,),
    )
    return [row[0] for row in await cursor.fetchall()]


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
