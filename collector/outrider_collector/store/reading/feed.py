"""Following the feed: what was committed, in commit order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import FeedRow

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot

MOST_CHANGES = 10_000


async def last(conn: AsyncConnection[Any]) -> int:
    """Return the newest feed number; 0 before the first."""
    async with snapshot(conn) as open_snapshot:
        row = await open_snapshot.row(sql.SQL("select coalesce(max(number), 0) from feed"))
    return int(row[0]) if row else 0


async def changes(conn: AsyncConnection[Any], after: int, limit: int = 1_000) -> list[FeedRow]:
    """Return the feed's rows after a number, in order, at most ``limit`` (10,000).

    A first row whose number is not ``after + 1`` tells that rows between are gone by retention.
    """
    async with snapshot(conn) as open_snapshot:
        rows = await open_snapshot.rows(
            sql.SQL(
                "select number, kind, commit_id, detail, committed_at from feed"
                " where number > %(after)s order by number limit %(limit)s"
            ),
            {"after": after, "limit": min(max(limit, 1), MOST_CHANGES)},
        )
    return [FeedRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Commits:
    """Transactions that stored records, newest first."""

    last: int
    """The newest number of the whole feed."""
    went_back: bool
    """The feed ends before the number asked for: this database was restored from a copy."""
    numbers: list[int]
    ids: list[int]
    records: int
    """What these transactions stored. Less of them on the fresh level: the compactor was there."""
    oldest: datetime | None
    """When the oldest was committed. Its blocks carry the beginning of their transaction, which
    the timeouts of a session keep far less than an hour before."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a statement that looks for their blocks."""
        return {"numbers": self.numbers, "commits": self.ids, "oldest": self.oldest}


async def commits_after(open_snapshot: Snapshot, after: int, most: int) -> Commits:
    """Return the newest ``most`` commits with records after a feed number, in a snapshot.

    The newest row of the feed is never trimmed, so a feed that ends before ``after`` is another
    history: it has no commits after a number that it never gave.
    """
    newest = await open_snapshot.row(sql.SQL("select coalesce(max(number), 0) from feed"))
    rows = await open_snapshot.rows(
        sql.SQL(
            "select number, commit_id, committed_at, coalesce((detail ->> 'records')::bigint, 0)"
            " from feed"
            " where number > %(after)s and kind = 'ingest' and commit_id is not null"
            " order by number desc limit %(most)s"
        ),
        {"after": after, "most": most},
    )
    assert newest is not None  # noqa: S101  an aggregate always returns one row
    return Commits(
        last=newest[0],
        went_back=newest[0] < after,
        numbers=[row[0] for row in rows],
        ids=[row[1] for row in rows],
        records=sum(row[3] for row in rows),
        oldest=min((row[2] for row in rows), default=None),
    )
