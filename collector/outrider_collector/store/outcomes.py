"""SQL of what became of attempts: fates of the ledger's rows, claims that ran out, addresses.

Fates are news for others: what is written here ends with a feed row. Its ``look`` names the alerts
whose destination was not reached, so that the policy can find them another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from outrider_alerting.durations import SECOND_US
from outrider_alerting.policy import OVERDUE_US
from outrider_collector.store import feed, leaving, outdated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

    from outrider_alerting.ledger import Fate
    from outrider_collector.store.outbox import Claim

RELEASED_MAX: Final = 64
"""Messages whose claims ran out that are taken back in one transaction."""
EDITS_UNKNOWN_MAX: Final = 4
"""An edit may be tried again so often without an answer: arriving twice, it reads the same."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What became of an attempt, and of its rows with it."""

    claim: Claim
    # sent, retry, failed, unknown: what this attempt came to.
    outcome: str
    error: str | None
    # What the rows are now.
    fate: Fate
    retry_in_s: float = 0.0
    provider_id: str | None = None
    delivered: tuple[str, ...] = ()
    # What the conversation is called since it moved.
    moved_to: str = ""
    # Alerts that the message names, where it tells of several; the others it only counts.
    named: frozenset[int] | None = None

    @property
    def only_counted(self) -> str:
        """What the ledger says of rows whose alert the message does not name."""
        joined = self.claim.joined
        lead = self.claim.alert if joined is None else joined.alert
        return f"only counted in the message of A-{lead} when it was sent, not named"

    @property
    def is_undelivered(self) -> bool:
        """Whether somebody else should be told."""
        if self.fate == "waiting":
            return self.claim.age_s * SECOND_US > OVERDUE_US
        return self.fate != "sent"


async def finish(connection: AsyncConnection, finishes: Sequence[Finish], *, holder: str) -> int:
    """Record what became of claims that are still ours; returns how many rows were.

    One transaction with one feed row. A row whose claim ran out and was taken by somebody else is
    left alone, except that this attempt gets the outcome it had: the truth about a message that was
    sent late is worth keeping.
    """
    rows = 0
    async with feed.transaction(connection):
        news = _News()
        for item in sorted(finishes, key=lambda f: f.claim.id):
            rows += await _record(connection, item, holder, news)
        await news.commit(connection)
    return rows


@dataclass(frozen=True, slots=True)
class _News:
    """Alerts that a transaction is about, and those of them whose destination was not reached."""

    touched: set[int] = field(default_factory=set)
    look: set[int] = field(default_factory=set)

    async def commit(self, connection: AsyncConnection) -> None:
        if self.touched:
            detail = {"alerts": sorted(self.touched), "look": sorted(self.look)}
            await feed.commit(connection, "alerts", detail=detail)


async def _record(connection: AsyncConnection, item: Finish, holder: str, news: _News) -> int:
    """Record what became of one message; returns how many rows it had."""
    alerts, kept = await _finish_rows(connection, item, holder)
    await _finish_attempts(connection, item)
    if item.moved_to:
        await _remember(connection, item.claim.conversation, item.moved_to)
    if item.fate in {"failed", "dead"}:
        await _drop_resolves(connection, item, alerts)
    await _have_edited(connection, item, alerts)
    if item.is_undelivered:
        await _tell_in_app(connection, item, alerts)
        news.look.update(alerts)
    news.touched.update(alerts)
    return kept


async def _finish_attempts(connection: AsyncConnection, item: Finish) -> None:
    await connection.execute(
        "update notification_attempts set finished_at = clock_timestamp(), outcome = %s, error = %s"
        " where id = any(%s)",
        (item.outcome, item.error, item.claim.attempt_ids),
    )


async def _finish_rows(
    connection: AsyncConnection, item: Finish, holder: str
) -> tuple[list[int], int]:
    """Give the rows their fate; returns the alerts they belong to, and how many rows there are."""
    cursor = await connection.execute(
        """
        update notifications
        set fate = %(fate)s, claimed_by = null, lease_until = null,
            not_before = clock_timestamp() + make_interval(secs => %(retry)s),
            finished_at = case when %(fate)s = 'waiting' then null else clock_timestamp() end,
            why = case when alert <> all(%(named)s::bigint[])
                       then concat_ws('; ', %(why)s::text, %(counted)s::text)
                       else %(why)s end,
            provider_id = coalesce(%(provider)s, provider_id),
            delivered = array(select distinct unnest(delivered || %(delivered)s::text[]) order by 1)
        where fate = 'claimed' and claimed_by = %(holder)s
          and id in (
              select a.notification from notification_attempts a
              where a.id = any(%(attempts)s)
                and not exists (
                    select from notification_attempts later
                    where later.notification = a.notification and later.id > a.id))
        returning alert
        """,
        {
            "fate": item.fate,
            "why": item.error,
            # Compared with null, no alert is only counted.
            "named": None if item.named is None else sorted(item.named),
            "counted": item.only_counted,
            "retry": item.retry_in_s,
            "provider": item.provider_id,
            "delivered": list(item.delivered),
            "attempts": item.claim.attempt_ids,
            "holder": holder,
        },
    )
    found = [row[0] for row in await cursor.fetchall()]
    return [alert for alert in found if alert is not None], len(found)


async def _have_edited(connection: AsyncConnection, item: Finish, alerts: list[int]) -> None:
    """Have the messages edited that do not read right any more, now that this one is told."""
    claim = item.claim
    changes = claim.notice == "resolved" or claim.notice.startswith("raised:")
    if changes and item.fate != "waiting":
        await outdated.mark(connection, alerts, channel=claim.channel)
    if claim.joins is not None and item.fate == "sent":
        await outdated.mark_joined(connection, claim.channel, claim.joins)


async def _remember(connection: AsyncConnection, conversation: str, alias: str) -> None:
    await connection.execute(
        """
        insert into conversation_aliases (conversation, alias) values (%s, %s)
        on conflict (conversation) do update
        set alias = excluded.alias, noted_at = clock_timestamp()
        where conversation_aliases.alias <> excluded.alias
        """,
        (conversation, alias),
    )


async def _drop_resolves(connection: AsyncConnection, item: Finish, alerts: list[int]) -> None:
    """Overtake resolves that wait behind a firing which this destination will never have."""
    await connection.execute(
        """
        update notifications n
        set fate = 'superseded', why = 'its firing was never delivered',
            finished_at = clock_timestamp()
        where n.alert = any(%(alerts)s) and n.channel = %(channel)s and n.notice = 'resolved'
          and n.fate = 'waiting'
          and not exists (
              select from notifications t
              where t.alert = n.alert and t.channel = n.channel and t.notice <> 'resolved'
                and (t.fate not in ('failed', 'dead')
                     -- An attempt before the last one may have arrived.
                     or exists (select from notification_attempts u
                                where u.notification = t.id and u.outcome = 'unknown')))
        """,
        {"alerts": alerts, "channel": item.claim.channel},
    )


async def _tell_in_app(connection: AsyncConnection, item: Finish, alerts: list[int]) -> None:
    """Say in the notification centre that somebody was not told."""
    await connection.execute(
        """
        update notifications
        set why = left(concat_ws('; ', why, %(said)s::text), 2000)
        where alert = any(%(alerts)s) and notice = %(notice)s and channel_type = 'in-app'
          and strpos(coalesce(why, ''), %(said)s::text) = 0
        """,
        {
            "said": f"{item.claim.channel}: {item.fate}: {item.error or 'no reason given'}",
            "alerts": alerts,
            "notice": item.claim.notice,
        },
    )


async def release_expired(
    connection: AsyncConnection, judge: Callable[[leaving.CutShort], Finish]
) -> int:
    """Take back claims that ran out and record what ``judge`` makes of them; returns how many.

    Their last attempt has no outcome and never will, unless its deliverer was only frozen: then it
    tells its own later.
    """
    rows = 0
    async with feed.transaction(connection):
        news = _News()
        for late in await leaving.cut_short(connection, limit=RELEASED_MAX):
            rows += await _record(connection, judge(late), late.holder, news)
        await news.commit(connection)
    return rows
