"""The newest head goes to a channel once a day: people's mailboxes are out of reach too.

It is a message of the ledger that belongs to no alert, as a test of a channel is.
"""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING, Final

from outrider_alerting.content import Content
from outrider_alerting.routing import destination
from outrider_collector.store import feed, health, ledger, rules

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.audit.canonical import Head

NOTICE: Final = "audit head"

_LOG = logging.getLogger(__name__)


async def publish(connection: AsyncConnection, channel: str, head: Head) -> bool:
    """Put the head into the ledger for a channel, unless that was done today (UTC).

    The caller holds the lease of who seals. False, and a line in the collector's log, where the
    active rules lack the channel.
    """
    active = await rules.active(connection)
    config = active.rule_set.channel(channel) if active else None
    if config is None:
        _LOG.warning("no rule set in force has the channel of `store.audit_channel`: %s", channel)
        return False
    now = (await health.clock(connection)).astimezone(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    async with feed.transaction(connection):
        added = await ledger.add_apart(
            connection, [NOTICE], destination(config), "info", _content(head), unless_since=today
        )
        for number in added:
            await feed.commit(
                connection, "admin", detail={"act": "publish", "notification": number}
            )
    return True


def _content(head: Head) -> Content:
    return Content(
        alert="",
        status="test",
        priority="info",
        subject="Outrider: heads of the audit log",
        title=f"Audit log, seal {head.number}",
        sentence=f"{head}. Keep it: it proves that nobody wrote the log anew up to this seal.",
        command=f"outrider audit verify --head {head}",
    )
