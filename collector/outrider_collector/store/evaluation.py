"""SQL of the evaluator: what a step reads from the feed, and the transaction that stores steps.

The transaction begins with the evaluator's lease (whoever lost it stores nothing), moves cursor and
state, and ends with the feed row in the same message as COMMIT. Everything of its steps is in it:
rule states, alerts, transitions, the ledger's new rows. So a crash at any point loses steps whole,
and the next evaluator takes them again with the same inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

_LAST_STEPS: Final = 20
"""Between two parts of a row there is at most one step ahead, and one for the clock."""
MESSAGE_CHARACTERS: Final = 300
"""Of a record's message in an alert's evidence."""


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A transaction that was committed."""

    number: int
    kind: str
    commit_id: int | None
    detail: dict[str, Any] | None
    # Of its commit.
    hits: int


class HitRow(NamedTuple):
    """A hit as an ingest transaction stored it."""

    commit_id: int
    hits_key: bytes
    key: list[str]
    overflow: bool
    bucket: datetime
    n: int
    time_replaced: bool
    streams: list[int]
    stream_offsets: list[int]
    # Sum, lowest, highest, last.
    numbers: list[float] | None = None


class GapRow(NamedTuple):
    """A loss as an ingest transaction stored it."""

    commit_id: int
    service: str
    worker: str
    host: str
    reason: str
    records: int
    detected_at: datetime
    at_least: bool


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """A component's current state."""

    component_kind: str
    component: str
    service: str | None
    worker: str | None
    host: str | None
    state: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """A stored record that raised an alert."""

    stream: int
    stream_offset: int
    ts: datetime
    severity: int
    service: str
    worker: str
    message: str | None


class Cursor(NamedTuple):
    """Where the evaluation stands."""

    feed_number: int
    step: int
    rule_set: int | None
    # JSON of the engine's general state.
    state: str
    # So far, beyond `feed_number`, hits of rules that can be critical were evaluated ahead.
    urgent_to: int = 0


class RecordedStep(NamedTuple):
    """What a replay of a step needs."""

    step: int
    now: datetime
    feed_from: int
    feed_to: int
    rule_set: int | None
    inputs: dict[str, Any]


class HalfRow(NamedTuple):
    """A feed row of whose hits only the first were evaluated."""

    number: int
    taken: int


async def read_cursor(connection: AsyncConnection) -> Cursor:
    """Return where the evaluation stands."""
    cursor = await connection.execute(
        "select feed_number, step, rule_set, state::text, urgent_to from evaluator_state"
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  the schema inserts the one row
    return Cursor(*row)


async def read_half_row(connection: AsyncConnection, place: Cursor) -> HalfRow | None:
    """Return the row that the last steps began and did not finish; None: there is none."""
    cursor = await connection.execute(
        """
        select feed_to, (cut ->> 1)::integer
        from (select feed_to, inputs -> 'cut' as cut from evaluation_steps
              where step <= %s order by step desc limit %s) last
        where feed_to > %s and jsonb_typeof(cut) = 'array' order by 2 desc limit 1
        """,
        (place.step, _LAST_STEPS, place.feed_number),
    )
    row = await cursor.fetchone()
    return None if row is None else HalfRow(*row)


async def read_feed(
    connection: AsyncConnection, after: int, limit: int
) -> tuple[datetime, list[FeedRow]]:
    """Return the database's clock and the feed's rows after a number, in order."""
    cursor = await connection.execute(
        """
        select clock_timestamp(), f.number, f.kind, f.commit_id, f.detail, f.hits
        from (select) as one
        left join lateral (
            select number, kind, commit_id, case when kind <> 'ingest' then detail end as detail,
                   coalesce((detail ->> 'hits')::int, 0) as hits
            from feed where number > %s order by number limit %s) f on true
        """,
        (after, limit),
        prepare=True,
    )
    rows = await cursor.fetchall()
    return rows[0][0], [FeedRow(*row[1:]) for row in rows if row[1] is not None]


async def read_hits(
    connection: AsyncConnection,
    commit_ids: Sequence[int],
    only: Sequence[bytes] | None = None,
    *,
    but: Sequence[bytes] = (),
    begin: int = 0,
    limit: int | None = None,
) -> list[HitRow]:
    """Return the hits of some commits, each commit's in one order that never changes.

    ``only`` those filed under one of these (None: all), ``but`` none of those; of what is left
    ``limit`` of them (None: all) after the first ``begin``.
    """
    if not commit_ids:
        return []
    cursor = await connection.execute(
        """
        select commit_id, hits_key, key, overflow, bucket, n, time_replaced, streams,
               stream_offsets, numbers
        from hits
        where commit_id = any(%(commits)s)
          and (%(only)s::bytea[] is null or hits_key = any(%(only)s))
          and hits_key <> all(%(but)s::bytea[])
        order by commit_id, hits_key, key, overflow, bucket, n, time_replaced, streams,
                 stream_offsets
        offset %(begin)s limit %(limit)s
        """,
        {
            "commits": list(commit_ids),
            "only": None if only is None else list(only),
            "but": list(but),
            "begin": begin,
            "limit": limit,
        },
        prepare=True,
    )
    return [HitRow(*row) for row in await cursor.fetchall()]


async def read_gaps(connection: AsyncConnection, commit_ids: Sequence[int]) -> list[GapRow]:
    """Return the losses of some commits, in the order in which they were stored."""
    if not commit_ids:
        return []
    cursor = await connection.execute(
        """
        select commit_id, service, worker, host, reason, records, detected_at, at_least
        from gaps where commit_id = any(%s) order by commit_id, id
        """,
        (list(commit_ids),),
        prepare=True,
    )
    return [GapRow(*row) for row in await cursor.fetchall()]


async def read_components(connection: AsyncConnection) -> list[ComponentRow]:
    """Return the current state of every component."""
    cursor = await connection.cursor(row_factory=class_row(ComponentRow)).execute(
        """
        select component_kind, component, service, worker, host, state, since, reason
        from system_health order by component_kind, component
        """
    )
    return await cursor.fetchall()


async def commits_of(
    connection: AsyncConnection, streams: Sequence[int], since: datetime
) -> dict[tuple[int, int], int]:
    """Return the commit of each record that hits since a time name, for these streams."""
    cursor = await connection.execute(
        """
        select u.stream, u.stream_offset, h.commit_id
        from hits h cross join lateral unnest(h.streams, h.stream_offsets)
             as u (stream, stream_offset)
        where h.bucket >= %(since)s and h.streams && %(streams)s::bigint[]
          and u.stream = any(%(streams)s::bigint[])
        order by h.commit_id desc limit 10000
        """,
        {"since": since, "streams": list(streams)},
    )
    return {(stream, offset): commit for stream, offset, commit in await cursor.fetchall()}


async def read_evidence(
    connection: AsyncConnection,
    commit_ids: Sequence[int],
    names: Iterable[tuple[int, int]],
    since: datetime,
) -> list[EvidenceRow]:
    """Return the named records (stream, offset) of these commits, which arrived since a time.

    They are fresh almost always. What is not there any more was moved before, so it is found among
    the compacted, whatever the compactor does meanwhile.
    """
    wanted = set(names)
    if not wanted or not commit_ids:
        return []
    found: list[EvidenceRow] = []
    for blocks in (_FRESH_OF_COMMITS, _COMPACTED_OF_STREAMS):
        if missing := sorted(wanted - {(row.stream, row.stream_offset) for row in found}):
            cursor = await connection.cursor(row_factory=class_row(EvidenceRow)).execute(
                _EVIDENCE.format(blocks=blocks),
                {
                    "streams": [pair[0] for pair in missing],
                    "offsets": [pair[1] for pair in missing],
                    "commits": list(commit_ids),
                    "since": since,
                    "most": MESSAGE_CHARACTERS,
                },
            )
            found += await cursor.fetchall()
    return sorted(found, key=lambda row: (row.ts, row.stream, row.stream_offset))


_FRESH_OF_COMMITS: Final = sql.SQL(
    "blocks_fresh b where b.commit_id = any(%(commits)s) and b.received_at >= %(since)s"
)
# Its records arrived since then, so it is of a day later than 8 days before.
_COMPACTED_OF_STREAMS: Final = sql.SQL(
    "blocks_compacted b where b.stream_ids && %(streams)s::bigint[]"
    " and b.received_max >= %(since)s and b.day > %(since)s::timestamptz - interval '8 days'"
)

_EVIDENCE: Final = sql.SQL("""
    with wanted as (
        select * from unnest(%(streams)s::bigint[], %(offsets)s::bigint[])
                 as w (stream, stream_offset)
    )
    select u.stream, u.stream_offset, u.ts, u.severity, u.service, i.worker,
           left(u.message, %(most)s) as message
    from (
        select unnest(b.stream) as stream, unnest(b.stream_offset) as stream_offset,
               unnest(b.ts) as ts, unnest(b.severity) as severity, unnest(b.message) as message,
               b.service
        from {blocks}
    ) u
    join wanted w on w.stream = u.stream and w.stream_offset = u.stream_offset
    join stream_info i on i.id = u.stream
    """)


async def move_cursor(connection: AsyncConnection, before: Cursor, after: Cursor) -> bool:
    """Move the evaluation's place; False when it stands elsewhere than ``before``."""
    cursor = await connection.execute(
        """
        update evaluator_state
        set feed_number = %s, step = %s, rule_set = %s, state = %s::jsonb, urgent_to = %s
        where feed_number = %s and step = %s
        """,
        (
            after.feed_number,
            after.step,
            after.rule_set,
            after.state,
            after.urgent_to,
            before.feed_number,
            before.step,
        ),
        prepare=True,
    )
    return cursor.rowcount == 1


async def record_steps(
    connection: AsyncConnection, epoch: int, steps: Iterable[RecordedStep]
) -> None:
    """Store what a replay of the steps needs, beside the feed and the hits."""
    rows = [
        (s.step, epoch, s.now, s.feed_from, s.feed_to, s.rule_set, Jsonb(s.inputs)) for s in steps
    ]
    if rows:
        await connection.cursor().executemany(
            """
            insert into evaluation_steps (step, epoch, now, feed_from, feed_to, rule_set, inputs)
            values (%s, %s, %s, %s, %s, %s, %s)
            """,
            rows,
        )
