"""Counting records: in all and by time.

Where a filter asks only for services and whole levels, a block's summary is its count. A compacted
block that crosses an edge of a bucket is counted by its roll-up where buckets begin with minutes;
other blocks that do are opened, for two small columns. All other counts open
blocks, newest first, up to a limit of records; what lies beyond it is said to be not known, never
drawn as zero.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_collector.store.reading import blocks, sheets
from outrider_collector.store.reading.expressions import (
    answered,
    most_counted,
    of_streams,
)
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.logic import TRUE
from outrider_collector.store.reading.minutes import LEVELS, Shares
from outrider_collector.store.reading.session import DEFAULT_TIMEOUT_MS, snapshot
from outrider_collector.store.reading.sieve import sieved, worth_it
from outrider_collector.store.reading.types import Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.reading.blocks import Scope
    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot

MOST_RECORDS = 5_000_000
"""A count opens blocks of at most so many records."""

MOST_BUCKETS = 1_000

_MINUTE: Final = timedelta(minutes=1)


async def count(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    *,
    most_records: int = MOST_RECORDS,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> int:
    """Return how many records match, exactly.

    Raises QUERY_TOO_LARGE (metadata: records, limit) where more than ``most_records`` would have
    to be looked at, and QUERY_TIMEOUT.
    """
    low, high = max(since, blocks.EARLIEST), min(until, blocks.LATEST)
    if low >= high:
        return 0
    compiled = compile_filter(filter)
    async with snapshot(conn, timeout_ms) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        counting = Counting(open_snapshot, scope, conditions, low, high)
        if conditions.levels is not None:
            found = await counting.by_summaries(high - low)
        else:
            most_records = most_counted(conditions, most_records)
            cut, records = await counting.cut(most_records)
            if cut > low:
                raise Fault(
                    Reason.QUERY_TOO_LARGE,
                    detail=f"a count would look at {records:,} records, and at most "
                    f"{most_records:,} are looked at: narrow the time or the filter",
                    records=records,
                    limit=most_records,
                )
            await counting.sieve(low, records, scope.now)
            found = await counting.by_records(low, high - low)
    return sum(sum(levels) for levels in found.values())


async def histogram(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    buckets: int = 120,
    *,
    most_records: int = MOST_RECORDS,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> list[Bucket]:
    """Return matches by time and level in ``buckets`` equal parts of the range, oldest first.

    A range and parts of whole minutes are counted from roll-ups, which is quickest.

    Where more than ``most_records`` would have to be looked at, the oldest buckets come with
    ``known`` False. Raises QUERY_TIMEOUT.
    """
    low, high = max(since, blocks.EARLIEST), min(until, blocks.LATEST)
    buckets = min(max(buckets, 1), MOST_BUCKETS)
    # Whole microseconds, rounded up: the last bucket may end a little after the range.
    span = max((high - low) // timedelta(microseconds=1), 1)
    width = timedelta(microseconds=-(-span // buckets))
    compiled = compile_filter(filter)
    async with snapshot(conn, timeout_ms) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        counting = Counting(open_snapshot, scope, conditions, low, high)
        cut = low
        if conditions.levels is not None:
            found = await counting.by_summaries(width)
        else:
            cut, records = await counting.cut(most_counted(conditions, most_records))
            await counting.sieve(cut, min(records, most_records), scope.now)
            found = await counting.by_records(cut, width)
    return [
        _bucket(start, found.get(start, _NONE), known=start >= cut)
        for start in (low + i * width for i in range(buckets))
        if start < high or start == low
    ]


_NONE: Final = (0,) * LEVELS


def _bucket(start: datetime, levels: tuple[int, ...], *, known: bool) -> Bucket:
    trace, debug, info, warn, error, fatal = levels if known else _NONE
    return Bucket(start, trace + debug, info, warn, error + fatal, known)


def _add(counts: list[int], further: Sequence[int]) -> None:
    for level, count in enumerate(further):
        counts[level] += count


# Six counts, one a level; severity 1 to 24 in groups of four.
_BY_LEVEL = sql.SQL(", ").join(
    sql.SQL("count(*) filter (where (greatest(u.severity, 1) - 1) / 4 {})").format(sql.SQL(which))
    for which in ("= 0", "= 1", "= 2", "= 3", "= 4", ">= 5")
)

_BY_RECORDS = sql.SQL("""
    select date_bin(%(width)s::interval, u.ts, %(origin)s::timestamptz), {by_level}
    from ({records}) u
    where u.ts >= %(low)s::timestamptz and u.ts < %(high)s::timestamptz and {record}
    group by 1
    """)

_BY_SUMMARIES = sql.SQL("""
    with part as materialized (
        select {place}, b.ts_min, b.level_counts, b.minute_counts,
               case when %(by_minute)s and b.minute_counts is not null and (
                        b.ts_min < %(low)s::timestamptz or b.ts_max >= %(high)s::timestamptz)
                    then 'minutes'
                    when b.ts_min < %(low)s::timestamptz or b.ts_max >= %(high)s::timestamptz
                    then 'records'
                    when date_bin(%(width)s::interval, b.ts_min, %(origin)s::timestamptz)
                       = date_bin(%(width)s::interval, b.ts_max, %(origin)s::timestamptz)
                    then 'block'
                    when %(by_minute)s and b.minute_counts is not null then 'minutes'
                    else 'records' end as counted_by
        from blocks b where {in_range} and {block}
    )
    select start, sum(l0), sum(l1), sum(l2), sum(l3), sum(l4), sum(l5), null::bytea
    from (
        select date_bin(%(width)s::interval, ts_min, %(origin)s::timestamptz),
               level_counts[1], level_counts[2], level_counts[3],
               level_counts[4], level_counts[5], level_counts[6]
        from part where counted_by = 'block'
        union all
        select date_bin(%(width)s::interval, u.ts, %(origin)s::timestamptz), {by_level}
        from (
            select r.ts, r.severity
            from part p
            cross join lateral (
                select unnest(b.ts) as ts, unnest(b.severity) as severity
                from blocks b where {at_place}
            ) r
            where p.counted_by = 'records'
        ) u
        where u.ts >= %(low)s::timestamptz and u.ts < %(high)s::timestamptz
        group by 1
    ) counted (start, l0, l1, l2, l3, l4, l5)
    group by start
    union all
    select ts_min, null, null, null, null, null, null, array_send(minute_counts)
    from part where counted_by = 'minutes'
    """)

_CANDIDATES: Final = sql.SQL("""
    with candidate as (
        select {place}, b.ts_max,
               sum(b.n) over (order by b.ts_max desc rows unbounded preceding) as records
        from {blocks} where {opened}
    ), cut as (
        select max(ts_max) filter (where records > %(most)s) as low,
               coalesce(max(records), 0)::bigint as records
        from candidate
    )
    """)
_CUT: Final = sql.SQL("{candidates} select low, records from cut")
_NAMED: Final = sql.SQL("""
    {candidates}
    select cut.low, cut.records, c.partition::bigint, c.block::text, c.received_min, c.day
    from cut left join candidate c on c.ts_max >= coalesce(cut.low, c.ts_max)
    """)


class Counting:
    """One range, one scope, one filter: the statements that count in it."""

    def __init__(
        self,
        open_snapshot: Snapshot,
        scope: Scope,
        conditions: Conditions,
        low: datetime,
        high: datetime,
    ) -> None:
        self._snapshot = open_snapshot
        self._conditions = conditions
        self.parameters: dict[str, Any] = {
            **conditions.parameters,
            **scope.parameters,
            "origin": low,
            **blocks.between(low, high),
        }

    async def cut(self, most_records: int) -> tuple[datetime, int]:
        """Return from when on at most so many records lie in the range, and how many in all.

        What sheets can tell of blocks is asked once, here, and the others are named.
        """
        answers = await sheets.left_out(self._snapshot, self._conditions, self.parameters)
        source = sheets.asked(self._conditions, by_sheets=answers is not None)
        candidates = _CANDIDATES.format(
            place=blocks.PLACE, blocks=source.blocks, opened=source.opened
        )
        rows = await self._snapshot.rows(
            (_CUT if answers is None else _NAMED).format(candidates=candidates),
            {**self.parameters, **(answers or {}), "most": most_records},
        )
        low, records, *_ = rows[0]
        if answers is not None:
            named = blocks.names(row[2:] for row in rows if row[2] is not None)
            self._conditions = replace(
                self._conditions,
                block=TRUE,
                named=True,
                parameters={**self._conditions.parameters, **named},
            )
        return low or self.parameters["low"], records

    async def by_summaries(self, width: timedelta) -> dict[datetime, tuple[int, ...]]:
        """Count by bucket and level where the summaries decide."""
        levels = self._conditions.levels or frozenset()
        rows = await self._snapshot.rows(
            _BY_SUMMARIES.format(
                in_range=blocks.IN_RANGE,
                block=self._conditions.block,
                by_level=_BY_LEVEL,
                place=blocks.PLACE,
                at_place=blocks.AT_PLACE_IN_RANGE,
            ),
            {**self.parameters, "width": width, "by_minute": self._by_minute(width)},
        )
        low, high, origin = (self.parameters[name] for name in ("low", "high", "origin"))
        shares = Shares(low, high, origin, width)
        found: defaultdict[datetime, list[int]] = defaultdict(lambda: [0] * LEVELS)
        for start, *summed, minute_counts in rows:
            if minute_counts is None:
                _add(found[start], summed)
            else:
                shares.add(start, minute_counts)
        for start, shared in shares.by_begin().items():
            _add(found[start], shared)
        return {
            start: tuple(int(n) if i in levels else 0 for i, n in enumerate(counts))
            for start, counts in found.items()
        }

    def _by_minute(self, width: timedelta) -> bool:
        """Tell whether every bucket begins with a minute, and the last ends so: roll-ups fit."""
        edges: list[datetime] = [self.parameters["origin"], self.parameters["high"]]
        return not (width % _MINUTE or any(edge.second or edge.microsecond for edge in edges))

    async def sieve(self, low: datetime, records: int, now: datetime) -> None:
        """Where it is worth it, leave out the blocks that hold no match for certain.

        From ``low`` on they have so many ``records``.
        """
        if worth_it(self._conditions, records, self.parameters["high"], now):
            asked = {**self.parameters, **blocks.between(low, self.parameters["high"])}
            self._conditions, _ = await sieved(self._snapshot, self._conditions, asked)

    async def answered(self, low: datetime) -> Conditions:
        """Return the conditions with what regular expressions find from ``low`` on."""
        return await answered(self._snapshot, self._conditions, {**self.parameters, "low": low})

    async def by_records(self, low: datetime, width: timedelta) -> dict[datetime, tuple[int, ...]]:
        """Count by bucket and level, looking at each record from ``low`` on."""
        conditions = await self.answered(low)
        rows = await self._snapshot.rows(
            _BY_RECORDS.format(
                by_level=_BY_LEVEL,
                records=blocks.records_in_range(
                    conditions, {"ts", "stream", "severity"} | conditions.columns
                ),
                record=conditions.record,
            ),
            {**self.parameters, **conditions.parameters, "low": low, "width": width},
        )
        return {start: tuple(counts) for start, *counts in rows}
