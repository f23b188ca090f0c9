"""SQL of buttons: what a message told, how far a bot's presses were acted upon, who listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

LEASE_PREFIX: Final = "buttons "
"""Of the lease whose holder listens to a bot; the rest is the bot's account."""


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """An alert that a message told of."""

    id: int
    labels: dict[str, str]
    rule: str
    state: str
    priority: str
    summary: str
    started_at: datetime
    acknowledged_by: str | None
    # Message of its newest line of evidence; None: it has none.
    newest_line: str | None


async def told_by(
    connection: AsyncConnection, channel: str, provider_id: str, alert: int
) -> list[ToldAlert]:
    """Return the alerts that a channel's message told of, at most 1,000; empty without ``alert``.

    A message that did not tell of the alert which its button names is not the button's.
    """
    cursor = await connection.cursor(row_factory=class_row(ToldAlert)).execute(
        """
        with told as (
            select distinct alert from notifications
            where channel = %(channel)s and provider_id = %(message)s and notice <> 'resolved'
              and alert is not null
            limit 1000
        )
        select id, labels, rule, state, priority, summary, started_at, acknowledged_by,
               evidence -> -1 ->> 'message' as newest_line
        from alerts
        where id in (select alert from told)
          and exists (select from told where told.alert = %(alert)s)
        order by id
        """,
        {"channel": channel, "message": provider_id, "alert": alert},
    )
    return await cursor.fetchall()


async def offset(connection: AsyncConnection, account: str) -> int:
    """Return the number of the first update of a bot that was not acted upon; 0: unknown."""
    cursor = await connection.execute(
        "select update_id from button_offsets where account = %s", (account,)
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def store_offset(connection: AsyncConnection, account: str, update_id: int) -> None:
    """Remember how far a bot's presses were acted upon."""
    await connection.execute(
        """
        insert into button_offsets (account, update_id) values (%s, %s)
        on conflict (account) do update set update_id = excluded.update_id
        """,
        (account, update_id),
    )


async def addresses(connection: AsyncConnection) -> dict[str, str]:
    """Return what conversations that moved are called now."""
    cursor = await connection.execute("select conversation, alias from conversation_aliases")
    return dict(await cursor.fetchall())


async def listened(connection: AsyncConnection) -> set[str]:
    """Return the accounts of bots whose buttons somebody reads now."""
    cursor = await connection.execute(
        """
        select name from leases
        where name like %s and holder <> '' and expires_at > clock_timestamp()
        """,
        (f"{LEASE_PREFIX}%",),
        prepare=True,
    )
    return {name.removeprefix(LEASE_PREFIX) for (name,) in await cursor.fetchall()}
