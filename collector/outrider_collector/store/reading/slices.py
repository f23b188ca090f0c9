"""Newest first, exactly: how a range is walked from its newest edge down.

A page is sought in slices of event time [low, high), from the newest edge down, each four times as
wide as the last, or sixteen times where the last had no block to open. A slice is cut where it is
expected to hold a budget of records, so that a dense minute is not taken apart whole for a hundred
lines. What a block holds below its newest record is reckoned from its number of records and its
span of time, as if they lay evenly: at a depth of d seconds below the newest edge, the sum of
``density * (d - above)`` over the blocks that reach there. The reckoning only chooses where to cut.
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

from outrider_collector.store.reading.blocks import (
    AT_PLACE_IN_RANGE,
    EARLIEST,
    HIGH,
    IN_RANGE,
    LATEST,
    LOW,
    PLACE,
    Hit,
    between,
    records,
)
from outrider_collector.store.reading.expressions import MOST_RECORDS, answered, over_records
from outrider_collector.store.reading.logic import TRUE
from outrider_collector.store.reading.sheets import left_out
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

LEAST_BY_SHEETS: Final = timedelta(minutes=10)
"""The filters of fewer blocks are asked at once. Most pages are full before."""


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
        select {place}, b.ts_min, b.ts_max, b.n, {opened} as opened
        from {blocks}
    ), opened as (
        select ts_max,
               extract(epoch from {high} - least(ts_max, {high}))::float8 as above,
               n / greatest(extract(epoch from ts_max - ts_min)::float8, 0.001) as density
        from tested where opened
    ), depth as (
        select (%(budget)s + sum(density * above) over newest_first)
               / sum(density) over newest_first as seconds
        from opened
        window newest_first as (order by ts_max desc rows unbounded preceding)
    ), cut as materialized (
        select greatest({low},
                        max({high} - greatest(seconds, 0.000001) * interval '1 second')) as low
        from depth where seconds < extract(epoch from {high} - {low})::float8
    )
    """)

_CUT: Final = sql.SQL("{up_to_cut} select low from cut")

_SLICE: Final = sql.SQL("""
    {up_to_cut}, counted as (
        select count(*) filter (where c.opened) as opened, count(*) as total
        from tested c, cut
        where c.ts_max >= cut.low and c.ts_max < %(counted_to)s
    ), hit as (
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


_EACH: Final = sql.SQL("blocks b where {in_range}").format(in_range=IN_RANGE)
# OFFSET 0: above all tables at once, so that what sheets leave out is hashed once and not by table.
_TOGETHER: Final = sql.SQL("(select * from {} offset 0) b").format(_EACH)
_BY_SHEETS: Final = sql.SQL("case when {sheets} then ({block}) else false end")


def _up_to_cut(conditions: Conditions, *, by_sheets: bool) -> Composable:
    opened: Composable = sql.SQL("({})").format(conditions.block)
    if by_sheets:
        opened = _BY_SHEETS.format(sheets=conditions.sheets, block=conditions.block)
    blocks = _TOGETHER if by_sheets else _EACH
    return _UP_TO_CUT.format(place=PLACE, opened=opened, blocks=blocks, low=LOW, high=HIGH)


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
        by_sheets = False
        if conditions.sheets != TRUE and anchor - low >= LEAST_BY_SHEETS:
            answers = await left_out(snapshot, conditions, parameters)
            by_sheets = answers is not None
            parameters |= answers or {}
        if conditions.filtered and parameters["budget"] >= MANY_RECORDS and not by_sheets:
            await snapshot.use_cores()
        much = worth_it(conditions, parameters["budget"], self.high, scope.now)
        if much or over_records(conditions):
            # Asked for what this slice will read, and no further down.
            low = await self._cut(snapshot, conditions, parameters, by_sheets=by_sheets)
            parameters |= between(low, self.high)
        if much:
            conditions = await sieved(snapshot, conditions, parameters)
        if over_records(conditions):
            most_records = min(most_records or MOST_RECORDS, MOST_RECORDS)
            conditions = await answered(snapshot, conditions, parameters)
        rows = await snapshot.rows(
            _SLICE.format(
                up_to_cut=_up_to_cut(conditions, by_sheets=by_sheets),
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
        hits = [Hit(*row[3:]) for row in rows if row[3] is not None]
        if len(hits) == limit:
            self.after = hits[-1].cursor
        growth = 4 if opened else 16
        self._move(cut, asked, growth, full=len(hits) == limit, most_records=most_records)
        return Slice(hits, cut, opened, total)

    async def _cut(
        self,
        snapshot: Snapshot,
        conditions: Conditions,
        parameters: dict[str, Any],
        *,
        by_sheets: bool,
    ) -> datetime:
        """Return where the slice will end."""
        row = await snapshot.row(
            _CUT.format(up_to_cut=_up_to_cut(conditions, by_sheets=by_sheets)),
            {**conditions.parameters, **parameters},
        )
        assert row is not None  # noqa: S101  an aggregate always returns one row
        low: datetime = row[0]
        return low

    def _move(
        self, cut: datetime, low: datetime, growth: int, *, full: bool, most_records: int | None
    ) -> None:
        if full:
            assert self.after is not None  # noqa: S101  set by the only caller
            self.high = self.after.ts + timedelta(microseconds=1)
            return
        self.high = self._counted_to = cut
        if cut == low:
            self._width *= growth
        self._budget = min(self._budget * 4, most_records or sys.maxsize)
