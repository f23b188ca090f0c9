"""Puts records into blocks by plain SQL, as the writer would, for readers to find."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

from outrider.columns import Columns, pack_dictionary, pack_text
from outrider.instants import to_us

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection

BASE = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
"""An hour in the past that tests fill."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Source:
    """A stream and who writes it."""

    id: int
    service: str = "payments"
    worker: str = "pay-1"
    host: str = "host-1"
    source: str = "file"
    agent: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a test wants it."""

    stream: Source
    offset: int
    ts: datetime
    message: str | None = "hello"
    severity: int = 9
    logger: str | None = None
    event: str | None = None
    error_code: str | None = None
    trace_id: uuid.UUID | None = None
    correlation_id: str | None = None
    attributes: str | None = None

    @property
    def name(self) -> tuple[int, int]:
        """Its name for ever."""
        return self.stream.id, self.offset

    @property
    def key(self) -> tuple[datetime, int, int]:
        """Its place in the order of search."""
        return self.ts, self.stream.id, self.offset


def newest_first(records: Iterable[Record]) -> list[tuple[int, int]]:
    """Return the names of the records as a search orders them."""
    return [r.name for r in sorted(records, key=lambda r: r.key, reverse=True)]


async def partition(conn: AsyncConnection[Any], moment: datetime) -> None:
    """Make the partition of an hour, where it is not there."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    await conn.execute(
        sql.SQL(
            "create table if not exists {} partition of blocks_fresh for values from ({}) to ({})"
        ).format(
            sql.Identifier(f"blocks_fresh_{hour:%Y%m%d%H}"),
            sql.Literal(hour),
            sql.Literal(hour + HOUR),
        )
    )


async def agent(conn: AsyncConnection[Any], number: int = 1, host: str = "host-1") -> None:
    """Make an agent, where it is not there."""
    await conn.execute(
        "insert into agents (id, host, token_hash) values (%s, %s, %s) on conflict do nothing",
        (number, host, number.to_bytes(32, "big")),
    )


async def born(
    conn: AsyncConnection[Any], stream: Source, watermark: datetime | None = None
) -> None:
    """Make a stream, where it is not there; set how far it is known."""
    await agent(conn, stream.agent, stream.host)
    await conn.execute(
        "insert into stream_info (id, agent, team, service, worker, host, source, path,"
        " start_offset, born_at) values (%s, %s, 1, %s, %s, %s, %s, '/var/log/x.log', 0, %s)"
        " on conflict do nothing",
        (stream.id, stream.agent, stream.service, stream.worker, stream.host, stream.source,
         BASE - HOUR),
    )  # fmt: skip
    await conn.execute(
        "insert into streams (id, agent, committed, tail, watermark) values (%s, %s, 0, '', %s)"
        " on conflict (id) do update set watermark = excluded.watermark",
        (stream.id, stream.agent, watermark),
    )


async def commit(
    conn: AsyncConnection[Any], records: Sequence[Record], received_at: datetime | None = None
) -> int:
    """Store records as one commit: a block a service, and a row in the feed; return its number."""
    received = received_at or max((r.ts for r in records), default=BASE)
    await partition(conn, received)
    for stream in {r.stream for r in records}:
        await born(conn, stream)
    async with conn.transaction():
        row = await (await conn.execute("select nextval('commit_ids')")).fetchone()
        assert row is not None
        for service in sorted({r.stream.service for r in records}):
            block = [r for r in records if r.stream.service == service]
            await conn.execute(_INSERT, _block(block, received, row[0]))
        feed = await (
            await conn.execute(
                "insert into feed (number, nonce, kind, commit_id, committed_at)"
                " select coalesce(max(number), 0) + 1, '\\x00', 'ingest', %s, %s from feed"
                " returning number",
                (row[0], received),
            )
        ).fetchone()
    assert feed is not None
    number: int = feed[0]
    return number


_INSERT = """
    insert into blocks_fresh (received_at, commit_id, team, service, n, ts_min, ts_max,
        level_counts, stream_ids, events, error_codes, ts, observed_at, stream, stream_offset,
        severity, message, logger, event, error_code, trace_id, correlation_id, attributes)
    values (%(received)s, %(commit)s, 1, %(service)s, %(n)s, %(low)s, %(high)s, %(levels)s,
        %(streams)s, %(events)s, %(codes)s, %(ts)s, %(ts)s, %(stream)s, %(offset)s, %(severity)s,
        %(message)s, %(logger)s, %(event)s, %(error_code)s, %(trace_id)s, %(correlation_id)s,
        %(attributes)s)
    """


def _block(records: Sequence[Record], received: datetime, commit_id: int) -> dict[str, Any]:
    levels = [0] * 6
    for record in records:
        levels[(record.severity - 1) // 4] += 1
    texts = ("message", "logger", "event", "error_code", "correlation_id", "attributes", "trace_id")
    columns = {name: [getattr(r, name) for r in records] for name in texts}
    return {
        "received": received,
        "commit": commit_id,
        "service": records[0].stream.service,
        "n": len(records),
        "low": min(r.ts for r in records),
        "high": max(r.ts for r in records),
        "levels": levels,
        "streams": sorted({r.stream.id for r in records}),
        "events": sorted({r.event for r in records if r.event is not None}) or None,
        "codes": sorted({r.error_code for r in records if r.error_code is not None}) or None,
        "ts": [r.ts for r in records],
        "stream": [r.stream.id for r in records],
        "offset": [r.offset for r in records],
        "severity": [r.severity for r in records],
        **{
            name: values if any(v is not None for v in values) else None
            for name, values in columns.items()
        },
    }


def columns_of(stream: Source, records: Sequence[Record]) -> Columns:
    """Return records of one stream as the batch a predicate sees."""
    times = array("q", (to_us(r.ts) for r in records))
    return Columns(
        n=len(records),
        stream=stream.id,
        service=stream.service,
        worker=stream.worker,
        host=stream.host,
        source=stream.source,
        ts_us=times,
        observed_us=times,
        stream_offset=array("q", (r.offset for r in records)),
        severity=bytes(r.severity for r in records),
        message_raw=pack_text([_bytes(r.message) for r in records]),
        attributes_raw=pack_text([_bytes(r.attributes) for r in records]),
        trace_id_raw=pack_text([r.trace_id.bytes if r.trace_id else None for r in records]),
        correlation_id_raw=pack_text([_bytes(r.correlation_id) for r in records]),
        logger=pack_dictionary([r.logger for r in records]),
        event=pack_dictionary([r.event for r in records]),
        error_code=pack_dictionary([r.error_code for r in records]),
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
