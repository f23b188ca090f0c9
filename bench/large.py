"""A store of a hundred million records to search in, kept in a directory.

Making so many by compaction would take half an hour, so most are copies: ten hours of records, all
different and really compacted, are copied by the server with their times moved back by ten hours
and of other streams, again and again; sheets are made of them all. A copy has the texts, the filter
and the counts of its original, in pages of its own, so it costs a search what its original costs.
What copies cannot show is a word that only some hours have: for that 19 blocks, evenly over all
days, are packed anew with the word NEEDLE in one record. One more is in the newest hour, which
stays as it was committed: in blocks of 200 records without a filter.

A directory that was filled is used as it is.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bench import servers
from bench.compaction import BLOCK_RECORDS, COMPACTED_SIZE, fill, one
from bench.corpus import NEEDLE, SERVICES, STEP_US, batches
from outrider.instants import from_us, to_us
from outrider_collector.store import binary, schema
from outrider_collector.store.compaction import days, move
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.merge import DAY_US, Records, packed
from outrider_collector.store.compaction.raw import load_raw
from outrider_collector.store.connect import connect
from outrider_collector.store.record_columns import NUMBERS, RECORD_COLUMNS, TEXTS
from outrider_collector.up.postgres import Binaries, Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import AsyncConnection

DATABASE: Final = "bench_large"
_NEEDLES: Final = 19
_HOUR_US: Final = 3_600_000_000
_SPAN_US: Final = 10 * _HOUR_US

_KEPT: Final = sql.SQL(", ").join(
    map(
        sql.Identifier,
        ("class", "team", "service", "replayed", "n", "level_counts", "minute_counts", "events",
         "error_codes", "bloom", "stream_offset", "severity", *TEXTS),
    )
)  # fmt: skip
# A table of the day is made before; every stream of a copy is 16 further.
_COPY: Final = sql.SQL("""
    insert into blocks_compacted (day, ts_min, ts_max, received_min, received_max, ts, observed_at,
        received_at, stream, stream_ids, {kept})
    select date_trunc('day', ts_max - back, 'UTC'), ts_min - back, ts_max - back,
           received_min - back, received_max - back, array(select t - back from unnest(ts) t),
           array(select t - back from unnest(observed_at) t),
           array(select t - back from unnest(received_at) t),
           array(select s + further from unnest(stream) s),
           array(select s + further from unnest(stream_ids) s), {kept}
    from blocks_compacted, (select %(back)s::interval as back, %(further)s::bigint as further) moved
    where ts_max >= %(since)s
    """).format(kept=_KEPT)
_STREAMS: Final = """
    insert into stream_info (id, agent, team, service, worker, host, source, path, start_offset)
    select id + 16 * copy, agent, team, service, 'w' || copy, host, source, '', 0
    from stream_info, generate_series(1, %s) copy
    """
_TAKE: Final = sql.SQL("""
    delete from blocks_compacted where (tableoid, ctid) = (
        select tableoid, ctid from blocks_compacted where class = {app} and service = %s
            and ts_max >= %s order by ts_max limit 1)
    returning team, service, day, received_at, {columns}
    """).format(
    app=sql.Literal(int(RecordClass.APP)),
    columns=sql.SQL(", ").join(map(sql.Identifier, RECORD_COLUMNS)),
)


@dataclass(frozen=True, slots=True)
class Large:
    """What a directory holds."""

    records: int
    distinct: int
    newest_us: int
    """Event time of the newest record; those of the hour before it are not compacted."""
    compacted_bytes_per_record: float


@contextmanager
def serving(directory: Path) -> Iterator[Postgres]:
    """Run a server on a directory, one with lz4 where the machine has it; the data stays."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    bin_dir = servers.lz4_bin_dir()
    binaries = None if bin_dir is None else Binaries(bin_dir, "the machine's")
    server = Postgres(directory / "postgres", directory / "run", dict(servers.SETTINGS), binaries)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def url_of(server: Postgres) -> str:
    """The database with the records."""
    return make_conninfo(server.url("postgres"), dbname=DATABASE)


def filled(server: Postgres, directory: Path, records: int) -> Large:
    """Return what the directory holds, filled first where it is not."""
    told = directory / "filled.json"
    if not told.exists():
        with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
            admin.execute(f"drop database if exists {DATABASE} with (force)".encode())
            admin.execute(f"create database {DATABASE}".encode())
        large = asyncio.run(_fill(url_of(server), records))
        told.write_text(json.dumps(asdict(large)))
    return Large(**json.loads(told.read_text()))


async def _fill(url: str, records: int) -> Large:
    await schema.migrate(url, hours_ahead=2)
    newest_us = to_us(datetime.now(UTC).replace(second=0, microsecond=0))
    edge_us = newest_us - _HOUR_US
    fresh, distinct = _HOUR_US // STEP_US, _SPAN_US // STEP_US
    await fill(url, batches(distinct, edge_us, batch_records=BLOCK_RECORDS, needles=0))
    print(f"{distinct:,} different records stored", flush=True)
    compactor = Compactor(url, Pace(timedelta(0), 1.0, everything=True), holder="bench")
    assert await compactor.once(asyncio.Event())
    assert compactor.totals.records == distinct
    copies = -(-(records - fresh) // distinct) - 1
    async with await connect(url, application_name="bench") as connection:
        await connection.execute(_STREAMS, (copies,))
        for copy in range(1, copies + 1):
            await _copy(connection, copy, edge_us)
            print(f"copy {copy} of {copies} stored", flush=True)
        binary.register(connection)
        for number in range(_NEEDLES):
            back_us = (copies + 1) * _SPAN_US * number // _NEEDLES + _HOUR_US
            await _put_needle(connection, SERVICES[number % 16], edge_us - back_us)
    # What the copies and the blocks with the word are in, too.
    assert await compactor.once(asyncio.Event())
    newest = batches(fresh, newest_us, batch_records=BLOCK_RECORDS, needles=1, seed=8)
    await fill(url, newest, streams=False)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("analyze")
        admin.execute("checkpoint")
        size = one(admin, COMPACTED_SIZE, "blocks_compacted")
    compacted = distinct * (copies + 1)
    return Large(compacted + fresh, distinct, newest_us, size / compacted)


async def _copy(connection: AsyncConnection, copy: int, edge_us: int) -> None:
    """Insert every original block once more, ``copy`` spans earlier and of other streams."""
    back_us = copy * _SPAN_US
    first, last = ((edge_us - back_us - before) // DAY_US for before in (_SPAN_US, 0))
    of_days = (from_us(day * DAY_US) for day in range(first, last + 1))
    await days.ensure(
        connection,
        [days.Day(day, each) for day in of_days for each in (RecordClass.DEBUG, RecordClass.APP)],
    )
    await connection.execute(
        _COPY,
        {
            "back": timedelta(microseconds=back_us),
            "further": 16 * copy,
            "since": from_us(edge_us - _SPAN_US),
        },
    )


async def _put_needle(connection: AsyncConnection, service: str, ts_us: int) -> None:
    """Put the word into one record of the block of a service at a time."""
    async with connection.transaction(), connection.cursor(binary=True) as cursor:
        load_raw(cursor)
        await cursor.execute(_TAKE, (service, from_us(ts_us)))
        row = await cursor.fetchone()
        assert row is not None
        team, _, day_us, received, *columns = row
        named = dict(zip(RECORD_COLUMNS, columns, strict=True))
        records = Records(
            received, {name: named[name] for name in NUMBERS}, {name: named[name] for name in TEXTS}
        )
        messages = records.texts["message"]
        assert messages is not None
        messages[len(messages) // 2] = f"{NEEDLE} is here once".encode()
        same = {"team": team, "service": service, "replayed": False}
        await move.insert(
            connection, packed(records, day_us=day_us, record_class=RecordClass.APP, **same)
        )
