"""How far a replica has come: what it has not heard of yet is not called absent or silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from outrider_collector.store.reading.types import Replica

if TYPE_CHECKING:
    from outrider_collector.store.reading.session import Snapshot

AS_OF: Final = sql.SQL(
    "coalesce(case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() end,"
    " clock_timestamp())"
)
"""The moment that the tables show: on a primary now, on a replica when their last change was."""

_REPLICA: Final = sql.SQL(
    "select a.as_of, greatest(extract(epoch from clock_timestamp() - a.as_of), 0)::float8"
    " from (select {} as as_of) a where pg_is_in_recovery()"
).format(AS_OF)


async def select(open_snapshot: Snapshot) -> Replica | None:
    """Return how far behind the answering server is; None: it is no replica."""
    row = await open_snapshot.row(_REPLICA)
    return Replica(*row) if row else None
