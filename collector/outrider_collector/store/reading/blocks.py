"""How records are read out of blocks.

The view ``blocks`` is both levels, fresh and compacted. A statement reads it once, or several times
in one snapshot, so a record that the compactor moves meanwhile is seen once, on one level.

Blocks are found by service and event time (index on service, ts_max), which is why every statement
names the services it means. Fresh ones are pruned by hour of arrival: a record's event time is at
most an hour later than its arrival, so a block with records from ``low`` on arrived after ``low``
minus an hour. Compacted ones are pruned by day, which is never before that of an event time.

Records come out by set-returning functions in the select list, which stream; in FROM they would be
written to a temporary store first, at three times the cost. Only the columns that a condition
reads are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from outrider_collector.store.reading.types import Cursor, LogRow
from outrider_collector.store.record_columns import RECORD_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from psycopg.sql import Composable

    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)

MOST_STREAMS_NAMED = 200
"""With more streams than this, comparing them with a block's costs more than opening it."""

IN_RANGE: Final = sql.SQL(
    "b.received_max >= %(arrived)s::timestamptz and b.day > %(day)s::timestamptz"
    " and b.ts_max >= %(low)s::timestamptz and b.ts_min < %(high)s::timestamptz"
    " and b.team = any(%(teams)s::integer[]) and b.service = any(%(services)s::text[])"
    " and (%(stream_ids)s::bigint[] is null or b.stream_ids && %(stream_ids)s::bigint[])"
)
"""Blocks that can hold records of [low, high) and of the scope: parameters of ``between`` and of
the scope. Nothing is left to compute, so that partitions are pruned while planning."""

PLACE: Final = sql.SQL("b.partition, b.block, b.received_min, b.day")
"""Where a block lies, good for this snapshot only."""

Place = tuple[int, str, datetime, datetime]
"""The columns of PLACE."""

AT_PLACE: Final = sql.SQL(
    "b.partition = p.partition and b.block = p.block and b.received_min = p.received_min"
    " and b.day = p.day"
)
"""The block at the place ``p``: one page of one partition."""

AT_PLACE_IN_RANGE: Final = sql.SQL(
    "{} and b.received_max >= %(arrived)s::timestamptz and b.day > %(day)s::timestamptz"
).format(AT_PLACE)
"""The same of a place in the range of ``between``: other partitions are not even planned for."""

_NAMES: Final = ("named_partitions", "named_blocks", "named_received", "named_days")
NAMED: Final = sql.SQL("""
    (select partition::oid as partition, block::tid as block, received_min, day
     from unnest(%(named_partitions)s::bigint[], %(named_blocks)s::text[],
                 %(named_received)s::timestamptz[], %(named_days)s::timestamptz[])
          as named(partition, block, received_min, day)) p
    cross join lateral (select * from blocks b where {} offset 0) b
    """).format(AT_PLACE_IN_RANGE)
"""Blocks by their places: parameters of ``names`` and ``between``. OFFSET 0 keeps the planner from
joining by hash, for which it would read the row of every block."""

_ALL: Final = sql.SQL("blocks b")


def names(places: Iterable[Place]) -> dict[str, Any]:
    """Return the parameters of NAMED."""
    columns: list[tuple[Any, ...]] = list(zip(*places, strict=True)) or [()] * len(_NAMES)
    return {name: list(column) for name, column in zip(_NAMES, columns, strict=True)}


def without(named: Mapping[str, Any], blocks: Container[tuple[int, str]]) -> dict[str, Any]:
    """Return the parameters of NAMED without some blocks: their partitions and places in these."""
    places = zip(*(named[name] for name in _NAMES), strict=True)
    return names(place for place in places if place[:2] not in blocks)


LOW: Final = sql.SQL("%(low)s::timestamptz")
HIGH: Final = sql.SQL("%(high)s::timestamptz")
"""The parameters of ``between``."""

_WHOLE: Final = sql.SQL("")

_PIECE: Final = sql.SQL("[w.first:w.last]")
PIECE_RECORDS: Final = 500

# Of a compacted block, which is sorted by time, only the stretch in [low, high) is taken apart; of
# a fresh one, which is small, the whole. Its columns are decompressed once (OFFSET 0 keeps the
# planner from putting the expressions in several places), then looked at in pieces: what a piece's
# texts hold together tells for less whether it must be taken apart. A piece is small enough for
# memory that the server's C library does not fetch from the kernel anew.
_RECORDS: Final = sql.SQL("""
    select {columns}
    from {blocks}
    cross join lateral (
        select case when b.class is null then 1
                    else width_bucket({low} - interval '1 microsecond', b.ts) + 1 end as first,
               case when b.class is null then b.n
                    else width_bucket({high} - interval '1 microsecond', b.ts) end as last
        offset 0
    ) stretch
    cross join lateral (select {stretched} offset 0) s
    cross join lateral (
        select first, least(first + {more}, stretch.last - stretch.first + 1) as last
        from generate_series(1, stretch.last - stretch.first + 1, {records}) first
    ) w
    where {where} and {text}
    """)


def records(
    conditions: Conditions,
    columns: Iterable[str],
    *,
    where: Composable,
    low: Composable,
    high: Composable,
    place: bool = False,
) -> Composable:
    """Return the query for the records of [low, high) in blocks where ``where`` holds.

    Stretches that cannot hold a match are passed over, and a fresh block's records outside of the
    range are not. ``place`` adds the number of each record in its block.
    """
    wanted = _in_order(columns)
    return _RECORDS.format(
        blocks=NAMED if conditions.named else _ALL,
        columns=sql.SQL(", ").join(
            [
                *(_unnested("s", name, _PIECE) for name in wanted),
                sql.SQL("b.service"),
                *([_NUMBER] if place else []),
            ]
        ),
        stretched=sql.SQL(", ").join(
            sql.SQL("b.{0}[stretch.first:stretch.last] as {0}").format(sql.Identifier(name))
            for name in _in_order({*wanted, *conditions.text_columns})
        ),
        low=low,
        high=high,
        where=where,
        text=conditions.text,
        records=sql.Literal(PIECE_RECORDS),
        more=sql.Literal(PIECE_RECORDS - 1),
    )


def records_in_range(conditions: Conditions, columns: Iterable[str]) -> Composable:
    """Return the query for the records of the scope's blocks in the range of ``between``."""
    opened = opened_in_range(conditions).opened
    return records(conditions, columns, where=opened, low=LOW, high=HIGH)


class Source(NamedTuple):
    """Blocks as a statement reads them."""

    blocks: Composable
    """What to select ``b`` from."""
    opened: Composable
    """The condition over ``b`` that it can hold a match."""


def opened_in_range(conditions: Conditions) -> Source:
    """Return the blocks of a range that can hold a match, by name where they are named."""
    if conditions.named:
        return Source(NAMED, conditions.block)
    return Source(_ALL, sql.SQL("{} and {}").format(IN_RANGE, conditions.block))


_NUMBER: Final = sql.SQL("stretch.first - 1 + generate_series(w.first, w.last) as place")


# Between two texts; of no meaning, for what is sought may be in two of them.
_SEPARATOR: Final = sql.SQL("chr(30)")


def texts_of(column: str) -> Composable:
    """Return all texts of a column in a piece of ``records``, as one; null where there are none."""
    return sql.SQL("array_to_string(s.{}{}, {})").format(sql.Identifier(column), _PIECE, _SEPARATOR)


def arrived_since(low: datetime) -> dict[str, datetime]:
    """Return the parameters that prune what arrived too early to hold event times from ``low``."""
    low = max(low, EARLIEST)
    return {"arrived": low - timedelta(hours=1), "day": low - timedelta(days=1)}


def between(low: datetime, high: datetime) -> dict[str, datetime]:
    """Return the parameters of IN_RANGE for event times in [low, high)."""
    return {"low": low, "high": high, **arrived_since(low)}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where matches can be, as of one snapshot."""

    now: datetime
    teams: list[int]
    services: list[str]
    stream_ids: list[int] | None
    """The only streams; None: too many to name, or all of the services."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of IN_RANGE, without those of ``between``."""
        return {"teams": self.teams, "services": self.services, "stream_ids": self.stream_ids}


# Distinct pairs by hops through the index: its cost is that of the services, not of the streams.
_ALL_SERVICES = sql.SQL("""
    with recursive pair as (
        (select team, service from stream_info order by team, service limit 1)
        union all
        select next.team, next.service
        from pair cross join lateral (
            select i.team, i.service from stream_info i
            where (i.team, i.service) > (pair.team, pair.service)
            order by i.team, i.service limit 1) next
    )
    select clock_timestamp(), coalesce(array_agg(distinct team), '{{}}'),
           coalesce(array_agg(distinct service), '{{}}'), null
    from pair
    """).format()

_MATCHING_STREAMS = sql.SQL("""
    select clock_timestamp(), coalesce(array_agg(distinct i.team), '{{}}'),
           coalesce(array_agg(distinct i.service), '{{}}'),
           case when count(*) <= {most} then array_agg(i.id) end
    from stream_info i where {streams}
    """)


async def scope(snapshot: Snapshot, conditions: Conditions) -> Scope:
    """Find out in which services and streams matches can be."""
    if conditions.streams is None:
        query: sql.SQL | sql.Composed = _ALL_SERVICES
    else:
        query = _MATCHING_STREAMS.format(
            most=sql.Literal(MOST_STREAMS_NAMED), streams=conditions.streams
        )
    row = await snapshot.row(query, conditions.parameters)
    assert row is not None  # noqa: S101  an aggregate always returns one row
    return Scope(*row)


def unnested(columns: Iterable[str], *extra: str, part: Composable = _WHOLE) -> Composable:
    """Return the select list that yields one row a record with these columns and the service.

    ``part`` is a subscript: only that stretch of the block.
    """
    items = [_unnested("b", name, part) for name in _in_order(columns)]
    items += [sql.SQL("b.{}").format(sql.Identifier(name)) for name in ("service", *extra)]
    return sql.SQL(", ").join(items)


def _in_order(columns: Iterable[str]) -> list[str]:
    asked = set(columns)
    return [name for name in (*RECORD_COLUMNS, "received_at") if name in asked]


def _unnested(alias: str, column: str, part: Composable) -> Composable:
    return sql.SQL("unnest({0}.{1}{2}) as {1}").format(
        sql.Identifier(alias), sql.Identifier(column), part
    )


# ------------------------------------------------------------------ hits


class Hit(NamedTuple):
    """A match and the place where it lies: good for this snapshot only."""

    partition: int
    block: str
    received_min: datetime
    day: datetime
    place: int
    ts: datetime
    stream: int
    stream_offset: int

    @property
    def cursor(self) -> Cursor:
        """Its place in the order of search."""
        return Cursor(self.ts, self.stream, self.stream_offset)


# ------------------------------------------------------------------ rows

# Said once, of the stream, and not with each of its records.
_OF_STREAM: Final = ("worker", "host", "source")
_FIELDS: Final = tuple(name for name in LogRow.__struct_fields__ if name not in _OF_STREAM)
_EXPRESSIONS: Final = {
    "received_at": sql.SQL("coalesce(r.received_at, r.received_min)"),
    "attributes_json": sql.SQL("r.attributes"),
}

# Each block is opened once, whatever the planner thinks of: the hits of a block come as a mask, one
# byte a record, and not as rows to be joined. Of its columns only the stretch from the first hit to
# the last is taken apart.
_ROWS = sql.SQL("""
    select {fields}
    from (
        select partition::oid as partition, block::tid as block, received_min, day, first, mask
        from unnest(%(partitions)s::bigint[], %(blocks)s::text[], %(received)s::timestamptz[],
                    %(days)s::timestamptz[], %(firsts)s::integer[], %(masks)s::bytea[])
             as p(partition, block, received_min, day, first, mask)
    ) p
    cross join lateral (
        select {columns}, generate_series(0, length(p.mask) - 1) as place
        from blocks b
        where {at_place} and b.received_max >= %(arrived)s::timestamptz
          and b.day >= %(day)s::timestamptz
    ) r
    where get_byte(p.mask, r.place) = 1
    """).format(
    fields=sql.SQL(", ").join(
        _EXPRESSIONS.get(name, sql.Identifier("r", name)) for name in _FIELDS
    ),
    columns=unnested(
        (*RECORD_COLUMNS, "received_at"),
        "received_min",
        "replayed",
        part=sql.SQL("[p.first:p.first + length(p.mask) - 1]"),
    ),
    at_place=AT_PLACE,
)

_STREAM_NAMES = sql.SQL("select id, {} from stream_info where id = any(%(ids)s::bigint[])").format(
    sql.SQL(", ").join(map(sql.Identifier, _OF_STREAM))
)


# Of a stream whose description is gone while lines of it are still there.
_NAMELESS: Final = dict.fromkeys(_OF_STREAM, "")


async def rows(snapshot: Snapshot, hits: Sequence[Hit]) -> list[LogRow]:
    """Fetch the records of hits found in the same snapshot, newest first."""
    if not hits:
        return []
    places: dict[tuple[int, str, datetime, datetime], list[int]] = {}
    for hit in hits:
        places.setdefault(hit[:4], []).append(hit.place)
    found = await snapshot.rows(
        _ROWS,
        {
            "partitions": [place[0] for place in places],
            "blocks": [place[1] for place in places],
            "received": [place[2] for place in places],
            "days": [place[3] for place in places],
            # Other partitions are not even planned for.
            "arrived": min(place[2] for place in places),
            "day": min(place[3] for place in places),
            "firsts": [min(of_block) for of_block in places.values()],
            "masks": [_mask(of_block) for of_block in places.values()],
        },
    )
    streams = await snapshot.rows(_STREAM_NAMES, {"ids": list({hit.stream for hit in hits})})
    names = {stream: dict(zip(_OF_STREAM, name, strict=True)) for stream, *name in streams}
    records = [
        LogRow(**known, **names.get(known["stream"], _NAMELESS))
        for known in (dict(zip(_FIELDS, row, strict=True)) for row in found)
    ]
    records.sort(key=lambda row: (row.ts, row.stream, row.stream_offset), reverse=True)
    return records


def _mask(places: list[int]) -> bytes:
    """Return a byte for each record from the first hit to the last: 1 where the record is one."""
    first = min(places)
    mask = bytearray(max(places) - first + 1)
    for place in places:
        mask[place - first] = 1
    return bytes(mask)
