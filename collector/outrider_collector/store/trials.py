"""SQL of messages that try a channel: rows of the ledger that belong to no alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row, dict_row

from outrider.configuration import suggest
from outrider.errors import Fault, Reason
from outrider.instants import to_us
from outrider_alerting import telling
from outrider_alerting.routing import destination
from outrider_collector.store import feed, ledger, rules
from outrider_collector.store.audit import log
from outrider_collector.store.reading.types import Attempt

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_alerting.ledger import Fate

NOTICE: Final = "test"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What the ledger says of a test."""

    id: int
    channel: str
    conversation: str
    fate: Fate
    why: str | None
    provider_id: str | None
    created_at: datetime
    finished_at: datetime | None
    tries: list[Attempt]
    """Oldest first."""


async def add(connection: AsyncConnection, channel: str, actor: str, collector: str) -> int:
    """Put a message through a channel of the active set into the ledger; returns its row.

    It goes before everything that waits for the channel. Raises NOT_FOUND for another channel.
    """
    active = await rules.active(connection)
    if active is None:
        raise Fault(
            Reason.NOT_FOUND,
            detail="no rules are active, and no channel with them: apply the rules first, "
            "'outrider rules apply DIR'",
        )
    config = active.rule_set.channel(channel)
    if config is None:
        known = [each.name for each in active.rule_set.channels]
        near = suggest(channel, known)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(known) or 'none'}"
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"the active rule set has no channel '{channel[:50]}': {hint}; "
            "one that is new is there after 'outrider rules apply DIR'",
        )
    to = destination(config)
    async with feed.transaction(connection):
        said = telling.trial(channel, actor, collector, to_us(datetime.now(UTC)))
        (number,) = await ledger.add_apart(connection, [NOTICE], to, "critical", said)
        await log.commit(
            connection,
            log.Act("alert.notify_tested", actor, f"notification {number}"),
            "admin",
            {"act": "test", "actor": actor, "notification": number},
        )
    return number


async def read(connection: AsyncConnection, notification: int) -> TrialRow:
    """Return a test as it stands. Raises NOT_FOUND."""
    cursor = await connection.cursor(row_factory=dict_row).execute(
        """
        select id, channel, conversation, fate, why, provider_id, created_at, finished_at
        from notifications where id = %s
        """,
        (notification,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise Fault(Reason.NOT_FOUND, detail=f"there is no notification {notification}")
    tries = await connection.cursor(row_factory=class_row(Attempt)).execute(
        """
        select started_at, finished_at, outcome, error
        from notification_attempts where notification = %s order by id
        """,
        (notification,),
    )
    return TrialRow(**row, tries=await tries.fetchall())
