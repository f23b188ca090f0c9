"""SQL of the canary: a row of the feed that is to become a message (``canary_probe`` looks)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import ClientCursor

from outrider_alerting import telling
from outrider_alerting.routing import Destination
from outrider_collector.store import health, ledger
from outrider_collector.store.feed import APPEND_AND_COMMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection, Connection

FEED_KIND: Final = "canary"
NOTICES: Final = "canary:"
"""Begins the notice of its messages; the feed's number follows."""
CHANNEL: Final = "outrider-canary"
"""A channel that leads nowhere; no rule set has it."""
_KEPT: Final = timedelta(minutes=10)


class Arrival(NamedTuple):
    """How far a canary has come."""

    fate: str | None
    """Of its message; None: it has none yet."""
    why: str | None
    took_ms: float | None
    """From the commit to the end of the attempt; None before that."""


async def enter(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Put a message into the ledger for each canary that was read from the feed."""
    await ledger.add_apart(
        connection,
        [f"{NOTICES}{number}" for number in numbers],
        Destination(CHANNEL, "null", CHANNEL),
        "info",
        telling.canary(),
        unless_since=await health.clock(connection) - _KEPT,
    )


def launch(connection: Connection) -> int:
    """Commit the row; the lock, the row and COMMIT are one message (see :mod:`.feed`)."""
    connection.execute("begin")
    cursor = ClientCursor(connection)
    cursor.execute(APPEND_AND_COMMIT, (FEED_KIND, None, None))
    cursor.nextset()
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an insert from an aggregate returns one row
    return int(row[0])


def arrival(connection: Connection, number: int) -> Arrival:
    """Return how far the canary with this number of the feed has come."""
    row = connection.execute(
        """
        select n.fate, n.why,
               (extract(epoch from n.finished_at - f.committed_at) * 1000)::float8
        from feed f
        left join notifications n
            on n.notice = %(notices)s || f.number and n.created_at > now() - %(kept)s::interval
        where f.number = %(number)s
        """,
        {"notices": NOTICES, "kept": _KEPT, "number": number},
    ).fetchone()
    return Arrival(*row) if row is not None else Arrival(None, None, None)


def sweep(connection: Connection) -> None:
    """Remove what nobody will look at again: it belongs to no alert."""
    connection.execute(
        """
        with old as (
            select id from notifications
            where channel = %(channel)s and created_at < now() - %(kept)s::interval
        ), tried as (
            delete from notification_attempts a using old where a.notification = old.id
        )
        delete from notifications n using old where n.id = old.id
        """,
        {"channel": CHANNEL, "kept": _KEPT},
    )
