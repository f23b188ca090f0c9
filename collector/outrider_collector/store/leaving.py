"""SQL of the moment at which an attempt may have left, and of claims whose deliverer ended.

Whoever changes both locks rows of ``notifications`` before their attempts, so nobody waits in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_collector.store import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection


async def mark_leaving(
    connection: AsyncConnection, attempts: Sequence[int], *, holder: str
) -> set[int]:
    """Mark attempts whose first byte is about to be written; returns those that may leave.

    Not one whose claim ran out or was taken back. Committed when this returns.
    """
    # Locked before it is looked at: who takes a claim back meanwhile comes before or after.
    cursor = await connection.execute(
        """
        with held as materialized (
            select id from notifications
            where fate = 'claimed' and claimed_by = %(holder)s and lease_until > clock_timestamp()
              and id in (select notification from notification_attempts
                         where id = any(%(attempts)s))
            order by id
            for no key update
        )
        update notification_attempts a set may_have_left = true
        from held where a.notification = held.id and a.id = any(%(attempts)s) and a.outcome is null
        returning a.id
        """,
        {"attempts": list(attempts), "holder": holder},
        prepare=True,
    )
    return {row[0] for row in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class CutShort:
    """A claim that ran out: its deliverer died or froze."""

    claim: outbox.Claim
    holder: str
    may_have_left: bool


async def cut_short(connection: AsyncConnection, *, limit: int) -> list[CutShort]:
    """Lock the claims that ran out, of ``limit`` messages at most, and read them. In a transaction.

    Two statements: what their deliverer marked while this waited is seen by the second.
    """
    cursor = await connection.execute(
        """
        select id, coalesce(message, id), claimed_by from notifications
        where fate = 'claimed' and lease_until < clock_timestamp()
          and coalesce(message, id) in (
              select coalesce(message, id) from notifications
              where fate = 'claimed' and lease_until < clock_timestamp()
              group by 1 order by 1 limit %s)
        order by id
        for update skip locked
        """,
        (limit,),
    )
    messages: dict[tuple[int, str], list[int]] = {}
    for row, message, holder in await cursor.fetchall():
        messages.setdefault((message, holder), []).append(row)
    leads = {ids[0]: holder for (_, holder), ids in messages.items()}
    companions = {row: ids[0] for ids in messages.values() for row in ids[1:]}
    claims = await outbox.claimed(connection, list(leads), companions) if leads else []
    attempts = [attempt for claim in claims for attempt in claim.attempt_ids]
    cursor = await connection.execute(
        "select id from notification_attempts where id = any(%s) and may_have_left", (attempts,)
    )
    left = {row[0] for row in await cursor.fetchall()}
    return [
        CutShort(claim, leads[claim.id], not left.isdisjoint(claim.attempt_ids)) for claim in claims
    ]
