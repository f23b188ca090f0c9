"""The statements that put a commit's rows in: blocks, losses, hits, ends of streams.

Each is one statement for any number of rows and takes packed arrays, so that it is prepared once
and a commit costs few round trips. Texts that come from agents outside of records (reasons,
details, keys of hits) are made storable here, whatever they contain: they must not be able to stop
a commit.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from outrider.instants import from_unix_us
from outrider_collector.store import binary, blocks
from outrider_collector.store.binary import (
    BoolArray,
    ByteaArray,
    Int4Array,
    Int8Array,
    JsonbArray,
    TextArray,
    TimestamptzArray,
)
from outrider_collector.store.record_columns import ARRAYS, RECORD_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection

    from outrider_alerting.hits import Hit
    from outrider_collector.store.blocks import Block
    from outrider_collector.store.claim import PendingBatch

_INT8_MAX = 2**63 - 1
_TIMES = (from_unix_us(0), 3_155_760_000_000_000)  # 1970 to 2100

_INSERT_BLOCK = (
    sql.SQL("""
insert into blocks_fresh (received_at, commit_id, team, service, replayed, n, ts_min, ts_max,
    level_counts, stream_ids, events, error_codes, {columns})
values (now(), {values})
""")
    .format(
        columns=sql.SQL(", ").join(map(sql.Identifier, RECORD_COLUMNS)),
        values=sql.SQL(", ").join([sql.SQL("%s")] * (11 + len(RECORD_COLUMNS))),
    )
    .as_bytes(None)
)

_INSERT_LOSSES = """
insert into gaps (commit_id, gap_id, team, agent, stream, service, worker, host, begin_offset,
    end_offset, records, at_least, bytes, reason, detail, from_at, to_at, severity_max)
select %s, gap_id, team, agent, stream, service, worker, host, begin_offset, end_offset, records,
    at_least, bytes, reason, detail, from_at, to_at, nullif(severity_max, 0)
from unnest(%s::bytea[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
    %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[], %s::bigint[], %s::text[],
    %s::text[], %s::timestamptz[], %s::timestamptz[], %s::integer[])
    u(gap_id, team, agent, stream, service, worker, host, begin_offset, end_offset, records,
      at_least, bytes, reason, detail, from_at, to_at, severity_max)
on conflict (gap_id) do nothing
"""

_INSERT_HITS = """
insert into hits (commit_id, hits_key, key, overflow, bucket, n, time_replaced, streams,
    stream_offsets, numbers)
select %s, hits_key, key::text[], overflow, bucket, n, time_replaced, streams::bigint[],
    offsets::bigint[], nullif(numbers, '')::double precision[]
from unnest(%s::bytea[], %s::text[], %s::boolean[], %s::timestamptz[], %s::integer[],
    %s::boolean[], %s::text[], %s::text[], %s::text[])
    u(hits_key, key, overflow, bucket, n, time_replaced, streams, offsets, numbers)
"""

_CLOSE = """
update stream_info set closed_at = now() where id = any(%s) and closed_at is null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One row of ``gaps``: named, so that it is stored once however often it is told."""

    gap_id: bytes
    batch: PendingBatch
    begin: int
    end: int
    records: int
    at_least: bool
    bytes: int
    reason: str
    detail: str = ""
    from_us: int = 0
    to_us: int = 0
    severity_max: int = 0


def losses_of(batch: PendingBatch) -> list[Loss]:
    """Return what a batch says was lost."""
    return [
        Loss(
            gap_id=gap.gap_id,
            batch=batch,
            begin=gap.begin,
            end=gap.end,
            records=gap.records,
            at_least=gap.at_least,
            bytes=gap.end - gap.begin,
            reason=gap.reason,
            detail=gap.detail,
            from_us=gap.from_us,
            to_us=gap.to_us,
            severity_max=gap.severity_max,
        )
        for gap in batch.gaps
    ]


async def insert_block(connection: AsyncConnection, commit_id: int, block: Block) -> None:
    """Insert one block, arrived now."""
    await connection.execute(
        _INSERT_BLOCK,
        (
            binary.int8(commit_id),
            binary.int4(block.team),
            binary.text(block.service),
            binary.boolean(block.replayed),
            binary.int4(block.n),
            binary.timestamptz(block.ts_min_us),
            binary.timestamptz(block.ts_max_us),
            Int4Array(block.level_counts),
            Int8Array(block.stream_ids),
            TextArray(block.events),
            TextArray(block.error_codes),
            *(array(block.columns[name]) for name, array in ARRAYS.items()),
        ),
        prepare=True,
    )


async def insert_losses(
    connection: AsyncConnection, commit_id: int, losses: Sequence[Loss]
) -> None:
    """Insert gap rows; a name that is there already changes nothing."""
    batches = [loss.batch for loss in losses]
    await connection.execute(
        _INSERT_LOSSES,
        (
            binary.int8(commit_id),
            ByteaArray(blocks.array_of_values(blocks.OID_BYTEA, [x.gap_id for x in losses])),
            int4_array(batch.team for batch in batches),
            int8_array(batch.agent for batch in batches),
            int8_array(batch.stream for batch in batches),
            text_array(batch.service for batch in batches),
            text_array(batch.worker for batch in batches),
            text_array(batch.host for batch in batches),
            int8_array(loss.begin for loss in losses),
            int8_array(loss.end for loss in losses),
            int8_array(loss.records for loss in losses),
            bool_array(loss.at_least for loss in losses),
            int8_array(loss.bytes for loss in losses),
            text_array(loss.reason for loss in losses),
            text_array(loss.detail for loss in losses),
            time_array(loss.from_us for loss in losses),
            time_array(loss.to_us for loss in losses),
            int4_array(loss.severity_max for loss in losses),
        ),
        prepare=True,
    )


async def insert_hits(connection: AsyncConnection, commit_id: int, hits: Sequence[Hit]) -> None:
    """Insert hits as they are; merge them first."""
    await connection.execute(
        _INSERT_HITS,
        (
            binary.int8(commit_id),
            ByteaArray(blocks.array_of_values(blocks.OID_BYTEA, [hit.hits_key for hit in hits])),
            text_array(array_literal(hit.key) for hit in hits),
            bool_array(hit.overflow for hit in hits),
            time_array(_second(hit.bucket_us) for hit in hits),
            int4_array(hit.n for hit in hits),
            bool_array(hit.time_replaced for hit in hits),
            text_array(array_literal(str(stream) for stream, _ in hit.names) for hit in hits),
            text_array(array_literal(str(offset) for _, offset in hit.names) for hit in hits),
            text_array(
                array_literal(map(repr, hit.numbers)) if hit.numbers else "" for hit in hits
            ),
        ),
        prepare=True,
    )


async def close_streams(connection: AsyncConnection, streams: Iterable[int]) -> None:
    """Mark streams as ended; what is closed stays as it is."""
    await connection.execute(_CLOSE, (int8_array(streams),), prepare=True)


# ------------------------------------------------------------------ arrays of a few values


def int8_array(values: Iterable[int]) -> Int8Array:
    """Pack integers as bigint[], each at most the largest there is."""
    numbers = array("q", (min(value, _INT8_MAX) for value in values))
    return Int8Array(blocks.array_of_int64(blocks.OID_INT8, (numbers,)))


def int4_array(values: Iterable[int]) -> Int4Array:
    """Pack integers as integer[]."""
    packed = [min(value, 2**31 - 1).to_bytes(4, signed=True) for value in values]
    return Int4Array(blocks.array_of_values(blocks.OID_INT4, packed))


def bool_array(values: Iterable[bool]) -> BoolArray:
    """Pack booleans as boolean[]."""
    return BoolArray(
        blocks.array_of_values(blocks.OID_BOOL, [b"\x01" if v else b"\x00" for v in values])
    )


def text_array(values: Iterable[str]) -> TextArray:
    """Pack texts as text[]; what Postgres cannot hold (NUL, lone surrogates) is replaced."""
    packed = [storable(value).encode() for value in values]
    return TextArray(blocks.array_of_values(blocks.OID_TEXT, packed))


def json_array(documents: Iterable[bytes]) -> JsonbArray:
    """Pack JSON documents, which hold no zero character, as jsonb[]."""
    packed = [b"\x01" + document for document in documents]
    return JsonbArray(blocks.array_of_values(blocks.OID_JSONB, packed))


def time_array(values_us: Iterable[int]) -> TimestamptzArray:
    """Pack microseconds since 2000 as timestamptz[]; 0 and what no clock shows become null."""
    low, high = _TIMES
    packed = [us.to_bytes(8, signed=True) if us and low <= us <= high else None for us in values_us]
    return TimestamptzArray(blocks.array_of_values(blocks.OID_TIMESTAMPTZ, packed))


def _second(bucket_us: int) -> int:
    """A hit's second as a time that is never null: hostile clocks must not stop a commit."""
    low, high = _TIMES
    return min(max(bucket_us, low), high) or 1


def storable(text: str) -> str:
    """Return the text without what a Postgres text cannot hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def array_literal(values: Iterable[str]) -> str:
    """Return an array in Postgres's text form, every element quoted."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"
