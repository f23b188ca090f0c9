"""Newest first, exactly: how a range is walked from its newest edge down.

A page is sought in slices of event time [low, high), from the newest edge down, each four times as
wide as the last, or sixteen times where the last had no block to open, or none that held a match. A
slice is cut where it is expected to hold a budget of records, so that a dense minute is not taken
apart whole for a hundred lines; the budget grows by four, or by sixteen where nothing matched. What
a block holds below its newest record is reckoned from its number of records and its span of time,
as if they lay evenly: at a depth of d seconds below the newest edge, the sum of
``density * (d - above)`` over the blocks that reach there. That is too much where blocks end above
that depth, and so is the sum of all records of the blocks that reach it: the deeper of both cuts is
taken. The reckoning only chooses where to cut.
Every record of the slice lies in a block with ts_max >= its low end and ts_min < its high end, all
of which are opened, but for those that hold no match for certain: nothing is missed, whatever the
overlap of blocks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading import sheets
from outrider_collector.store.reading.blocks import (
    AT_PLACE_IN_RANGE,
    EARLIEST,
    HIGH,
    LATEST,
    LOW,
    PLACE,
    Hit,
    between,
    records,
)
from outrider_collector.store.reading.expressions import MOST_RECORDS, answered, over_records
from outrider_collector.store.reading.sieve import sieved, worth_it

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg.sql import Composable

    from outrider_collector.store.reading.blocks import Scope
    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot
    from outrider_collector.store.reading.types import Cursor


MANY_RECORDS: Final = 8_000_000
"""The filters of blocks with so many are asked by several processes of the server."""

MOST_QUICK: Final = 100_000
"""Where blocks were opened and nothing matched, slices grow by sixteen up to this budget only."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What a slice held: its hits, newest first, and where it ended."""

    hits: list[Hit]
    low: datetime
    blocks_read: int
    blocks_total: int


_UP_TO_CUT: Final = sql.SQL("""
    with tested as materialized (
        -- Once a block: a filter's test may fetch a page for each bit.
        select {place}, b.class, b.ts_min, b.ts_max, b.n, {opened} as opened
        from {blocks}
    ), opened as (
        select ts_max, n,
               extract(epoch from {high} - least(ts_max, {high}))::float8 as above,
               n / greatest(extract(epoch from ts_max - ts_min)::float8, 0.001) as density
        from tested where opened
    ), depth as (
        select (%(budget)s + sum(density * above) over newest_first)
               / sum(density) over newest_first as seconds,
               ts_max, sum(n) over newest_first as whole
        from opened
        window newest_first as (order by ts_max desc rows unbounded preceding)
    ), cut as materialized (
        select greatest({low}, least(
            coalesce(max({high} - greatest(seconds, 0.000001) * interval '1 second') filter (
                where seconds < extract(epoch from {high} - {low})::float8), {low}),
            coalesce(max(ts_max) filter (where whole > %(budget)s) + interval '1 microsecond',
                     {low}))) as low
        from depth
    )
    """)

_COUNTED: Final = sql.SQL("""
    counted as (
        select count(*) filter (where c.opened) as opened, count(*) as total
        from tested c, cut
        where c.ts_max >= cut.low and c.ts_max < %(counted_to)s
    )
    """)

_CUT: Final = sql.SQL("""
    {up_to_cut}, {counted}
    select cut.low, counted.total, exists (
        select from tested where opened and class is not null and ts_max >= cut.low)
    from cut, counted
    """)

_SLICE: Final = sql.SQL("""
    {up_to_cut}, {counted}, hit as (
        select p.partition, p.block::text as block, p.received_min, p.day, u.place,
               u.ts, u.stream, u.stream_offset
        from tested p
        cross join lateral (
            {records}
        ) u
        where p.opened and p.ts_max >= (select low from cut)
          and u.ts >= (select low from cut) and u.ts < %(high)s::timestamptz
          and (%(after_ts)s::timestamptz is null
               or (u.ts, u.stream, u.stream_offset)
                  < (%(after_ts)s, %(after_stream)s::bigint, %(after_offset)s::bigint))
          and {record}
        order by u.ts desc, u.stream desc, u.stream_offset desc
        limit %(limit)s
    )
    select cut.low, counted.opened, counted.total, hit.*
    from cut cross join counted left join hit on true
    order by hit.ts desc, hit.stream desc, hit.stream_offset desc
    """)


_CUT_LOW: Final = sql.SQL("(select low from cut)")


def _up_to_cut(conditions: Conditions, *, by_sheets: bool) -> Composable:
    source = sheets.asked(conditions, by_sheets=by_sheets)
    return _UP_TO_CUT.format(
        place=PLACE, opened=source.opened, blocks=source.blocks, low=LOW, high=HIGH
    )


class Slices:
    """Walks [since, until) from its newest edge down. Keeps its pace over pages of an export."""

    def __init__(self, since: datetime, until: datetime, after: Cursor | None = None) -> None:
        self.since = max(since, EARLIEST)
        self.high = min(until, LATEST)
        self.after = after
        if after is not None:
            self.high = min(self.high, after.ts + timedelta(microseconds=1))
        self._width = timedelta(minutes=1)
        self._budget = 2_000
        self._counted_to = LATEST

    @property
    def done(self) -> bool:
        """True when nothing of the range is left."""
        return self.high <= self.since

    async def read(
        self,
        snapshot: Snapshot,
        scope: Scope,
        conditions: Conditions,
        limit: int,
        most_records: int | None = None,
    ) -> Slice:
        """Read the next slice: at most ``limit`` hits. Moves on only when it had fewer."""
        anchor = min(self.high, max(scope.now, self.since))
        low = asked = self.since if anchor - self.since <= self._width else anchor - self._width
        parameters = {
            **scope.parameters,
            **between(low, self.high),
            "budget": max(self._budget, 2 * limit),
            "counted_to": self._counted_to,
            "limit": limit,
            "after_ts": self.after and self.after.ts,
            "after_stream": self.after and self.after.stream,
            "after_offset": self.after and self.after.stream_offset,
        }
        answers = await sheets.left_out(snapshot, conditions, parameters)
        by_sheets = answers is not None
        parameters |= answers or {}
        if conditions.filtered and parameters["budget"] >= MANY_RECORDS and not by_sheets:
            await snapshot.use_cores()
        much = worth_it(conditions, parameters["budget"], self.high, scope.now)
        if much or over_records(conditions):
            # Asked for what this slice will read, and no further down.
            low, total, compacted = await self._cut(
                snapshot, conditions, parameters, by_sheets=by_sheets
            )
            parameters |= between(low, self.high)
        if much:
            conditions, holds_any = await sieved(snapshot, conditions, parameters)
            if not (holds_any or (conditions.filtered and compacted)):
                nothing = Slice([], low, 0, total)
                self._move(nothing, asked, looked=True, full=False, most_records=most_records)
                return nothing
        if over_records(conditions):
            most_records = min(most_records or MOST_RECORDS, MOST_RECORDS)
            conditions = await answered(snapshot, conditions, parameters)
        found = await self._found(snapshot, conditions, parameters, by_sheets=by_sheets)
        full = len(found.hits) == limit
        if full:
            self.after = found.hits[-1].cursor
        looked = found.blocks_read > 0
        self._move(found, asked, looked=looked, full=full, most_records=most_records)
        return found

    async def _found(
        self,
        snapshot: Snapshot,
        conditions: Conditions,
        parameters: dict[str, Any],
        *,
        by_sheets: bool,
    ) -> Slice:
        """Open the blocks of the slice."""
        rows = await snapshot.rows(
            _SLICE.format(
                up_to_cut=_up_to_cut(conditions, by_sheets=by_sheets),
                counted=_COUNTED,
                records=records(
                    conditions,
                    {"ts", "stream", "stream_offset"} | conditions.columns,
                    where=AT_PLACE_IN_RANGE,
                    low=_CUT_LOW,
                    high=HIGH,
                    place=True,
                ),
                record=conditions.record,
            ),
            {**conditions.parameters, **parameters},
        )
        cut, opened, total = rows[0][:3]
        return Slice([Hit(*row[3:]) for row in rows if row[3] is not None], cut, opened, total)

    async def _cut(
        self,
        snapshot: Snapshot,
        conditions: Conditions,
        parameters: dict[str, Any],
        *,
        by_sheets: bool,
    ) -> tuple[datetime, int, bool]:
        """Return where the slice will end, how many blocks it has, and if compacted ones open."""
        row = await snapshot.row(
            _CUT.format(up_to_cut=_up_to_cut(conditions, by_sheets=by_sheets), counted=_COUNTED),
            {**conditions.parameters, **parameters},
        )
        assert row is not None  # noqa: S101  an aggregate always returns one row
        low, total, compacted = row
        return low, total, compacted

    def _move(
        self, found: Slice, low: datetime, *, looked: bool, full: bool, most_records: int | None
    ) -> None:
        """Go on below a slice, which was asked for from ``low`` on.

        ``looked``: it had blocks that were looked into.
        """
        if full:
            assert self.after is not None  # noqa: S101  set by the only caller
            self.high = self.after.ts + timedelta(microseconds=1)
            return
        self.high = self._counted_to = found.low
        # Where so much held nothing, a page is not full soon.
        quick = looked and not found.hits and self._budget < MOST_QUICK
        if quick or not looked:
            self._width *= 16
        elif found.low == low:
            self._width *= 4
        self._budget = min(self._budget * (16 if quick else 4), most_records or sys.maxsize)
