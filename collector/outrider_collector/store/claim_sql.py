"""The claim, as Postgres decides it: see :mod:`~outrider_collector.store.claim` for its outcomes.

One statement locks the streams' rows in the order of their ids, passing over rows that another
transaction holds, and moves those that stand where their chain begins. A row that was moved between
the statement's snapshot and its lock is judged by its newest version: Postgres evaluates the
condition anew on it.

Where a stream has its end the row's tail is empty, as at its first byte: only then is it asked
whether the stream is closed.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from outrider_collector.store import binary, blocks
from outrider_collector.store.binary import ByteaArray, Int8Array, TimestamptzArray
from outrider_collector.store.claim import Answer, Chain
from outrider_collector.store.pipeline import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection

_LOCK_RULES = "select pg_advisory_xact_lock_shared(rules_lock_key())"
_BEGIN_COMMIT = """
select (select version from active_rule_set), nextval('commit_ids'),
    (extract(epoch from now()) * 1000000)::bigint - 946684800000000
"""

_CLAIM = """
with batch as materialized (
    select * from unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[],
        %s::bigint[], %s::bytea[], %s::bytea[], %s::timestamptz[]) as b(
        stream, agent, session, begin_offset, previous, end_offset, tail, framer_state, watermark)
), held as materialized (
    select s.id, s.committed, s.tail, s.framer_state,
        s.agent = b.agent and a.session = b.session and a.revoked_at is null as live,
        s.tail = '' and coalesce(
            (select i.closed_at is not null from stream_info i where i.id = s.id), false) as over
    from batch b
    join streams s on s.id = b.stream
    join agents a on a.id = b.agent
    order by s.id
    for update of s skip locked
), claimed as (
    update streams s
    set committed = b.end_offset, tail = b.tail, framer_state = b.framer_state,
        watermark = greatest(s.watermark, least(b.watermark, now()))
    from batch b
    join held h on h.id = b.stream
    where s.id = h.id and h.live and not h.over
        and s.committed = b.begin_offset and s.tail = b.previous
    returning s.id
)
select b.stream, exists (select from streams e where e.id = b.stream), h.id is not null,
    coalesce(h.live, false), coalesce(h.over, false), c.id is not null, coalesce(h.committed, 0),
    coalesce(h.tail, ''), coalesce(h.framer_state, '')
from batch b
left join held h on h.id = b.stream
left join claimed c on c.id = b.stream
"""


class Begun(NamedTuple):
    """A transaction that began."""

    rule_set_version: int | None
    """The active version; it cannot change before the transaction ends."""
    commit_id: int
    now_us: int
    """The arrival of everything it stores: the database's clock, microseconds since 2000."""


async def begin(connection: AsyncConnection, found: Sequence[Chain]) -> tuple[Begun, list[Answer]]:
    """Begin a transaction, take the rules' lock (shared), and claim, in one round trip."""
    async with pipeline(connection):
        await connection.execute("begin", prepare=True)
        await connection.execute(_LOCK_RULES, prepare=True)
        # A statement of its own: it must see what was committed before the lock was granted.
        begun = await connection.execute(_BEGIN_COMMIT, prepare=True)
        claimed = await connection.execute(
            _CLAIM, _claim_parameters(found), prepare=True, binary=True
        )
    row = await begun.fetchone()
    assert row is not None  # noqa: S101  a select without from
    return Begun(*row), _answers(await claimed.fetchall(), found)


async def claim(connection: AsyncConnection, found: Sequence[Chain]) -> list[Answer]:
    """Claim more in the transaction that began."""
    cursor = await connection.execute(_CLAIM, _claim_parameters(found), prepare=True, binary=True)
    return _answers(await cursor.fetchall(), found)


def _claim_parameters(found: Sequence[Chain]) -> tuple[binary.Packed, ...]:
    def int8(values: Iterable[int]) -> Int8Array:
        return Int8Array(blocks.array_of_int64(blocks.OID_INT8, (array("q", values),)))

    def bytea(values: list[bytes | None]) -> ByteaArray:
        return ByteaArray(blocks.array_of_values(blocks.OID_BYTEA, values))

    watermarks = [
        chain.watermark_us.to_bytes(8, signed=True) if chain.watermark_us else None
        for chain in found
    ]
    return (
        int8(chain.stream for chain in found),
        int8(chain.first.agent for chain in found),
        int8(chain.first.session for chain in found),
        int8(chain.first.begin for chain in found),
        bytea([chain.first.previous_digest for chain in found]),
        int8(chain.last.end for chain in found),
        bytea([chain.last.digest for chain in found]),
        bytea([chain.last.framer_state or None for chain in found]),
        TimestamptzArray(blocks.array_of_values(blocks.OID_TIMESTAMPTZ, watermarks)),
    )


def _answers(rows: Iterable[tuple[Any, ...]], found: Sequence[Chain]) -> list[Answer]:
    by_stream = {
        stream: Answer(
            stream, known, held, live, over, claimed, committed, bytes(tail), bytes(framer)
        )
        for stream, known, held, live, over, claimed, committed, tail, framer in rows
    }
    return [by_stream[chain.stream] for chain in found]
