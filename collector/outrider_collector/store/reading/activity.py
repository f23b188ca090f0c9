"""Lines per worker and minute over the last hour, kept up to date by reading only what is new.

To count them from the store each time would open every block of an hour for every viewer. A process
that shows them keeps an :class:`ActivityWindow` instead: the first refresh counts the newest blocks
up to a limit of records, each further one only the commits that the feed names since. Minutes that
nobody counted stay unknown (None), never zero.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading.blocks import AT_PLACE, PLACE, arrived_since
from outrider_collector.store.reading.feed import commits_after
from outrider_collector.store.reading.health import select_now
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Activity, WorkerName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.feed import Commits
    from outrider_collector.store.reading.session import Snapshot

MOST_RECORDS = 2_000_000
"""A refresh counts at most so many records."""

MOST_COMMITS = 100_000
"""Further behind than this, a refresh begins anew."""

MOST_NAMES = 100_000
"""Stream names remembered; those of workers without lines are dropped beyond it."""

_MINUTE: Final = timedelta(minutes=1)

# The first refresh: all blocks with lines of the window, newest first up to the limit.
_ALL_BLOCKS: Final = sql.SQL("""
    with block as materialized (
        select {place}, b.ts_max,
               sum(b.n) over (order by b.ts_max desc rows unbounded preceding) as records
        from blocks b
        where b.received_max >= %(arrived)s::timestamptz and b.day > %(day)s::timestamptz
          and b.ts_max >= %(low)s::timestamptz
    ), cut as (
        select max(ts_max) filter (where records > %(most)s) as low from block
    ), opened as (
        select block.* from block, cut where block.ts_max >= coalesce(cut.low, '-infinity')
    )
    """).format(place=PLACE)

# Later ones: the blocks of the commits that the feed has named since.
_NEW_COMMITS: Final = sql.SQL("""
    with opened as (
        select {place}
        from blocks b
        where b.commit_id = any(%(commits)s::bigint[])
          and b.received_max >= %(oldest)s::timestamptz - interval '1 hour'
          and b.ts_max >= %(low)s::timestamptz
    ), cut as (
        select null::timestamptz as low
    )
    """).format(place=PLACE)

_COUNTED: Final = sql.SQL("""
    select null as cut, u.stream, date_trunc('minute', u.ts, 'UTC'), count(*),
           count(*) filter (where u.severity between 13 and 16),
           count(*) filter (where u.severity >= 17)
    from (
        select r.*
        from opened p
        cross join lateral (
            select unnest(b.stream) as stream, unnest(b.ts) as ts, unnest(b.severity) as severity
            from blocks b where {at_place}
        ) r
    ) u
    where u.ts >= %(low)s::timestamptz
    group by 2, 3
    union all
    select low, null, null, 0, 0, 0 from cut
    """).format(at_place=AT_PLACE)

_FIRST: Final = sql.SQL("{}{}").format(_ALL_BLOCKS, _COUNTED)
_NEXT: Final = sql.SQL("{}{}").format(_NEW_COMMITS, _COUNTED)
_NEW_RECORDS: Final = sql.SQL("""
    select coalesce(sum(b.n), 0)::bigint from blocks b
    where b.commit_id = any(%(commits)s::bigint[])
      and b.received_max >= %(oldest)s::timestamptz - interval '1 hour'
    """)

_STREAMS: Final = sql.SQL(
    "select id, service, worker, host from stream_info where id = any(%(ids)s::bigint[])"
)


class ActivityWindow:
    """Counts of the last ``minutes`` minutes, for one process. Not for concurrent refreshes."""

    def __init__(self, minutes: int = 60, most_records: int = MOST_RECORDS) -> None:
        self._minutes = minutes
        self._most_records = most_records
        self._feed_number: int | None = None
        self._first_minute: datetime | None = None
        self._known_since: datetime | None = None
        # Lines, warns and errors of each minute that had any.
        self._counts: dict[WorkerName, dict[datetime, list[int]]] = {}
        self._names: dict[int, WorkerName] = {}

    async def refresh(self, conn: AsyncConnection[Any], now: datetime | None = None) -> None:
        """Count what was committed since the last refresh; move the window to the present.

        ``now`` is the present; None: the server's, which is that of records' arrival.
        """
        async with snapshot(conn) as open_snapshot:
            now = now or await select_now(open_snapshot)
            low = now.replace(second=0, microsecond=0) - (self._minutes - 1) * _MINUTE
            new = await commits_after(open_snapshot, self._feed_number or 0, MOST_COMMITS)
            if new.went_back:
                # Restored from a copy: what was counted may not be in it.
                self._feed_number = None
            rows = await self._rows(open_snapshot, low, new)
            await self._learn_names(open_snapshot, {row[1] for row in rows if row[1] is not None})
        self._first_minute = low
        self._forget_before(low)
        self._add(rows)
        self._feed_number = new.last

    async def _rows(
        self, open_snapshot: Snapshot, low: datetime, new: Commits
    ) -> list[tuple[Any, ...]]:
        parameters = {
            "low": low, **arrived_since(low), "most": self._most_records, **new.parameters,
        }  # fmt: skip
        if self._feed_number is not None and not new.ids:
            return []
        if self._feed_number is not None and len(new.ids) < MOST_COMMITS:
            records = await open_snapshot.row(_NEW_RECORDS, parameters)
            # With less there than was stored, the compactor has moved some of it.
            if records is not None and new.records <= records[0] <= self._most_records:
                return await open_snapshot.rows(_NEXT, parameters)
        # The beginning, or so far behind that beginning anew is cheaper or the only way.
        self._counts.clear()
        rows = await open_snapshot.rows(_FIRST, parameters)
        cut = next((row[0] for row in rows if row[0] is not None), None)
        self._known_since = low if cut is None else max(low, _minute_after(cut))
        return rows

    async def _learn_names(self, open_snapshot: Snapshot, streams: set[int]) -> None:
        unknown = sorted(streams - self._names.keys())
        if unknown:
            for stream, *name in await open_snapshot.rows(_STREAMS, {"ids": unknown}):
                self._names[stream] = WorkerName(*name)

    def _forget_before(self, low: datetime) -> None:
        for name in list(self._counts):
            kept = {m: n for m, n in self._counts[name].items() if m >= low}
            if kept:
                self._counts[name] = kept
            else:
                del self._counts[name]
        living = set(self._counts)
        if len(self._names) > MOST_NAMES:
            self._names = {k: v for k, v in self._names.items() if v in living}

    def _add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for _, stream, minute, *counts in rows:
            name = self._names.get(stream)
            if name is None:
                continue
            cell = self._counts.setdefault(name, {}).setdefault(minute, [0, 0, 0])
            for place, count in enumerate(counts):
                cell[place] += count

    # ------------------------------------------------------------------ answers

    def of(self, name: WorkerName) -> Activity:
        """Return the lines per minute of one worker."""
        return self._activity([name] if name in self._counts else [])

    def of_service(self, service: str) -> Activity:
        """Return the lines per minute of all workers of a service."""
        return self._activity(name for name in self._counts if name.service == service)

    def total(self) -> Activity:
        """Return the lines per minute of everybody."""
        return self._activity(self._counts)

    def _activity(self, names: Iterable[WorkerName]) -> Activity:
        first = self._first_minute
        if first is None:
            raise RuntimeError("an activity window is refreshed before it is asked")
        counted = [self._counts[name] for name in names]
        columns: tuple[list[int | None], ...] = ([], [], [])
        for minute in (first + i * _MINUTE for i in range(self._minutes)):
            known = self._known_since is not None and minute >= self._known_since
            for place, column in enumerate(columns):
                total = sum(cells[minute][place] for cells in counted if minute in cells)
                column.append(total if known else None)
        return Activity(*columns)


def _minute_after(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0) + _MINUTE
