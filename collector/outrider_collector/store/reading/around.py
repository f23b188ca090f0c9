"""One record by its name, and what its stream said around it.

A stream's records are committed in the order of their offsets, so its blocks, taken by arrival,
hold rising offsets. Transactions that follow each other by milliseconds may carry arrival times
that do not: a margin of a minute, far beyond what the timeouts of a session allow, makes the walk
exact.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

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
    select u.partition, u.block::text, u.received_at, u.place, u.ts, u.stream, u.stream_offset
    from (
        select unnest(b.ts) as ts, unnest(b.stream) as stream,
               unnest(b.stream_offset) as stream_offset, b.received_at,
               b.tableoid as partition, b.ctid as block, generate_series(1, b.n) as place
        from blocks_fresh b
        where b.received_at >= %(from)s and b.received_at < %(to)s
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
        hit = await walk.centre(near)
        return (await blocks.rows(open_snapshot, [hit]))[0]


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
        hit = await walk.centre(near)
        hits = [
            *await walk.earlier(hit, min(max(before, 0), MOST_AROUND)),
            hit,
            *await walk.later(hit, min(max(after, 0), MOST_AROUND)),
        ]
        rows = await blocks.rows(open_snapshot, hits)
    return sorted(rows, key=lambda row: row.stream_offset)


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

    async def centre(self, near: datetime | None) -> blocks.Hit:
        """Find the record itself."""
        for hint in (_NEAR, _NO_HINT) if near is not None else (_NO_HINT,):
            hits = await self._hits(self._begin, self._end, _THIS, 1, hint=hint, near=near)
            if hits:
                return hits[0]
        stream, offset = self._parameters["stream"], self._parameters["offset"]
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"there is no record at offset {offset} of stream {stream}; "
            "it may be older than the retention",
            stream=stream,
            offset=offset,
        )

    async def earlier(self, centre: blocks.Hit, limit: int) -> list[blocks.Hit]:
        """Return the neighbours before, nearest first."""
        step, to = _FIRST_STEP, centre.received_at + _MARGIN
        while limit:
            low = max(self._begin, centre.received_at - step)
            hits = await self._hits(low, to, _BEFORE, limit)
            enough = len(hits) == limit and min(h.received_at for h in hits) - _MARGIN >= low
            if enough or low <= self._begin:
                return hits
            step *= 4
        return []

    async def later(self, centre: blocks.Hit, limit: int) -> list[blocks.Hit]:
        """Return the neighbours after, nearest first."""
        step, low = _FIRST_STEP, centre.received_at - _MARGIN
        while limit:
            to = min(self._end, centre.received_at + step)
            hits = await self._hits(low, to, _AFTER, limit)
            enough = len(hits) == limit and max(h.received_at for h in hits) + _MARGIN <= to
            if enough or to >= self._end:
                return hits
            step *= 4
        return []

    async def _hits(
        self,
        low: datetime,
        to: datetime,
        wanted: sql.SQL,
        limit: int,
        *,
        hint: sql.SQL = _NO_HINT,
        near: datetime | None = None,
    ) -> list[blocks.Hit]:
        rows = await self._snapshot.rows(
            _HITS.format(
                near=hint, wanted=wanted, direction=_FALLING if wanted is _BEFORE else _RISING
            ),
            {**self._parameters, "from": low, "to": to, "limit": limit, "near": near},
        )
        return [blocks.Hit(*row) for row in rows]
