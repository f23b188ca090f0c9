"""One record by its name, and what its stream said around it.

A stream's records are committed in the order of their offsets, so its records, taken by arrival,
have rising offsets. Transactions that follow each other by milliseconds may carry arrival times
that do not: a margin of a minute, far beyond what the timeouts of a session allow, makes the walk
exact.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.session import DEFAULT_TIMEOUT_MS, snapshot

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot
    from outrider_collector.store.reading.types import LogRow

MOST_AROUND = 500
"""Context holds at most so many records on each side."""

_MARGIN: Final = timedelta(minutes=1)
_FIRST_STEP: Final = timedelta(minutes=2)

_STREAM = sql.SQL("""
    select i.team, i.service, i.born_at, coalesce(i.closed_at, clock_timestamp()),
           clock_timestamp()
    from stream_info i where i.id = %(stream)s
    """)

# Blocks of a stream by arrival; {near} narrows by event time where it is known.
_HITS = sql.SQL("""
    select u.partition, u.block::text, u.received_min, u.day, u.place, u.ts, u.stream,
           u.stream_offset, coalesce(u.received_at, u.received_min)
    from (
        select unnest(b.ts) as ts, unnest(b.stream) as stream,
               unnest(b.stream_offset) as stream_offset, unnest(b.received_at) as received_at,
               {place}, generate_series(1, b.n) as place
        from blocks b
        where b.received_max >= %(from)s and b.received_min < %(to)s
          and b.day > %(from)s::timestamptz - interval '8 days'
          and (b.day <= %(to)s::timestamptz + interval '1 hour' or b.class is null)
          and b.team = %(team)s and b.service = %(service)s and {near}
          and b.stream_ids @> array[%(stream)s::bigint]
    ) u
    where u.stream = %(stream)s and {wanted}
    order by u.stream_offset {direction}
    limit %(limit)s
    """)

_NO_HINT = sql.SQL("true")
_NEAR = sql.SQL("b.ts_max >= %(near)s and b.ts_min <= %(near)s")
_THIS = sql.SQL("u.stream_offset = %(offset)s")
_BEFORE = sql.SQL("u.stream_offset < %(offset)s")
_AFTER = sql.SQL("u.stream_offset > %(offset)s")
_RISING = sql.SQL("asc")
_FALLING = sql.SQL("desc")


async def record(
    conn: AsyncConnection[Any],
    stream: int,
    offset: int,
    *,
    near: datetime | None = None,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> LogRow:
    """Return the record of this name. ``near``, its event time, spares looking everywhere.

    Raises NOT_FOUND where it never was, or is gone by retention.
    """
    async with snapshot(conn, timeout_ms) as open_snapshot:
        walk = await _Walk.begin(open_snapshot, stream, offset)
        centre = await walk.centre(near)
        return (await blocks.rows(open_snapshot, [centre.hit]))[0]


async def context(
    conn: AsyncConnection[Any],
    stream: int,
    offset: int,
    before: int = 10,
    after: int = 10,
    *,
    near: datetime | None = None,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> list[LogRow]:
    """Return the record with its neighbours in its stream, by rising offset.

    Raises NOT_FOUND as ``record`` does.
    """
    async with snapshot(conn, timeout_ms) as open_snapshot:
        walk = await _Walk.begin(open_snapshot, stream, offset)
        centre = await walk.centre(near)
        hits = [
            *await walk.earlier(centre, min(max(before, 0), MOST_AROUND)),
            centre.hit,
            *await walk.later(centre, min(max(after, 0), MOST_AROUND)),
        ]
        rows = await blocks.rows(open_snapshot, hits)
    return sorted(rows, key=lambda row: row.stream_offset)


class _Arrived(NamedTuple):
    """A record and when it arrived."""

    hit: blocks.Hit
    at: datetime


class _Walk:
    """Looks through the blocks of one stream."""

    def __init__(
        self, open_snapshot: Snapshot, parameters: dict[str, Any], begin: datetime, end: datetime
    ) -> None:
        self._snapshot = open_snapshot
        self._parameters = parameters
        self._begin, self._end = begin, end

    @classmethod
    async def begin(cls, open_snapshot: Snapshot, stream: int, offset: int) -> _Walk:
        """Find the stream. Raises NOT_FOUND."""
        found = await open_snapshot.row(_STREAM, {"stream": stream})
        if found is None:
            raise Fault(Reason.NOT_FOUND, detail=f"there is no stream {stream}", stream=stream)
        team, service, born, closed, _ = found
        parameters = {"stream": stream, "offset": offset, "team": team, "service": service}
        # A stream that is closed may still have had a last batch on its way.
        return cls(open_snapshot, parameters, born - _MARGIN, closed + timedelta(hours=1))

    async def centre(self, near: datetime | None) -> _Arrived:
        """Find the record itself."""
        for hint in (_NEAR, _NO_HINT) if near is not None else (_NO_HINT,):
            found = await self._find(self._begin, self._end, _THIS, 1, hint=hint, near=near)
            if found:
                return found[0]
        stream, offset = self._parameters["stream"], self._parameters["offset"]
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"there is no record at offset {offset} of stream {stream}; "
            "it may be older than the retention",
            stream=stream,
            offset=offset,
        )

    async def earlier(self, centre: _Arrived, limit: int) -> list[blocks.Hit]:
        """Return the neighbours before, nearest first."""
        step, to = _FIRST_STEP, centre.at + _MARGIN
        while limit:
            low = max(self._begin, centre.at - step)
            found = await self._find(low, to, _BEFORE, limit)
            enough = len(found) == limit and min(each.at for each in found) - _MARGIN >= low
            if enough or low <= self._begin:
                return [each.hit for each in found]
            step *= 4
        return []

    async def later(self, centre: _Arrived, limit: int) -> list[blocks.Hit]:
        """Return the neighbours after, nearest first."""
        step, low = _FIRST_STEP, centre.at - _MARGIN
        while limit:
            to = min(self._end, centre.at + step)
            found = await self._find(low, to, _AFTER, limit)
            enough = len(found) == limit and max(each.at for each in found) + _MARGIN <= to
            if enough or to >= self._end:
                return [each.hit for each in found]
            step *= 4
        return []

    async def _find(
        self,
        low: datetime,
        to: datetime,
        wanted: sql.SQL,
        limit: int,
        *,
        hint: sql.SQL = _NO_HINT,
        near: datetime | None = None,
    ) -> list[_Arrived]:
        rows = await self._snapshot.rows(
            _HITS.format(
                near=hint,
                wanted=wanted,
                direction=_FALLING if wanted is _BEFORE else _RISING,
                place=blocks.PLACE,
            ),
            {**self._parameters, "from": low, "to": to, "limit": limit, "near": near},
        )
        return [_Arrived(blocks.Hit(*row[:-1]), row[-1]) for row in rows]
