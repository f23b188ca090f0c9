"""Counts over the whole store, for whoever keeps figures over time: how many, never what or who.

Each statement reads a table that stays small, or an index; a scrape every few seconds costs the
database some milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading.session import snapshot

if TYPE_CHECKING:
    from psycopg import AsyncConnection

TALLY_WITHIN_MS = 5_000

_ONE: Final = sql.SQL("""
    select pg_database_size(current_database()), coalesce(max(number), 0),
           (select feed_number from evaluator_state),
           -- Of what the evaluator has not seen yet, the oldest says how far behind it is.
           coalesce((select extract(epoch from clock_timestamp() - f.committed_at)::float8
                     from feed f
                     where f.number > (select feed_number from evaluator_state)
                     order by f.number limit 1), 0)
    from feed
    """)
_COMPONENTS: Final = sql.SQL(
    "select component_kind, state, count(*) from system_health group by 1, 2 order by 1, 2"
)
_ALERTS: Final = sql.SQL(
    "select state, priority, count(*) from alerts where state <> 'resolved' group by 1, 2"
    " order by 1, 2"
)
_NOTICES: Final = sql.SQL(
    "select channel, fate, count(*) from notifications"
    " where created_at > clock_timestamp() - interval '1 day' group by 1, 2 order by 1, 2"
)
_GAPS: Final = sql.SQL(
    "select reason, count(*), sum(records)::bigint from gaps group by 1 order by 1"
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of what."""

    database_bytes: int
    feed_number: int
    evaluated_feed_number: int
    evaluator_lag_s: float
    """Age of the oldest feed row that was not evaluated; 0: all were."""
    components: list[tuple[str, str, int]]
    """Kind, state, how many."""
    alerts: list[tuple[str, str, int]]
    """State, priority, how many; open ones."""
    notices: list[tuple[str, str, int]]
    """Channel, fate, how many; of the last 24 hours."""
    gaps: list[tuple[str, int, int]]
    """Reason, how many, records lost at least."""


async def tally(conn: AsyncConnection[Any]) -> Tally:
    """Count, as of one snapshot."""
    async with snapshot(conn, TALLY_WITHIN_MS) as open_snapshot:
        one = await open_snapshot.row(_ONE)
        assert one is not None  # noqa: S101  an aggregate returns a row
        # Rows as the fields of Tally say them.
        lists: list[list[Any]] = [
            await open_snapshot.rows(query) for query in (_COMPONENTS, _ALERTS, _NOTICES, _GAPS)
        ]
    return Tally(*one[:4], *lists)
