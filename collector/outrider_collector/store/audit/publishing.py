"""The newest head goes to a channel once a day: people's mailboxes are out of reach too.

It is a message of the ledger that belongs to no alert, as a test of a channel is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec
from psycopg.types.json import Jsonb

from outrider_alerting.content import Content
from outrider_alerting.routing import destination
from outrider_collector.store import feed, rules

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.audit.canonical import Head

NOTICE: Final = "audit head"

_LOG = logging.getLogger(__name__)
_INSERT: Final = """
insert into notifications (notice, channel, channel_type, conversation, priority, fate, content)
select %(notice)s, %(channel)s, %(type)s, %(conversation)s, 'info', 'waiting', %(content)s
where not exists (
    select from notifications
    where notice = %(notice)s and channel = %(channel)s
        and created_at >= date_trunc('day', now(), 'UTC'))
returning id
"""


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
    to = destination(config)
    values = {
        "notice": NOTICE,
        "channel": to.channel,
        "type": to.channel_type,
        "conversation": to.conversation,
        "content": Jsonb(msgspec.to_builtins(_content(head))),
    }
    async with feed.transaction(connection):
        cursor = await connection.execute(_INSERT, values)
        row = await cursor.fetchone()
        if row is not None:
            await feed.commit(
                connection, "admin", detail={"act": "publish", "notification": row[0]}
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
