"""The yardstick: the same records as rows, by binary COPY, with the two indexes a log table needs.

Rows are encoded before the clock starts, so what is timed is the server and the socket. One
connection, 32,000 rows a transaction.
"""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from outrider.instants import to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
TABLE = """
create table bench_rows (ts timestamptz not null, service text not null, worker text not null,
    severity smallint not null, logger text, event text, message text, attributes text);
create index on bench_rows (service, ts);
create index on bench_rows using brin (ts);
"""


@dataclass(frozen=True, slots=True)
class RowCopy:
    """What one run of the yardstick took."""

    records_per_s: float
    bytes_per_record: float


def measure(url: str, lines: Iterable[bytes], *, commit_rows: int) -> RowCopy:
    """Copy the records of ``lines`` and measure; the table is dropped again."""
    payloads = list(_payloads(lines, commit_rows))
    rows = sum(count for count, _ in payloads)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        started = time.perf_counter()
        for _, payload in payloads:
            with (
                connection.cursor() as cursor,
                cursor.copy("copy bench_rows from stdin (format binary)") as copy,
            ):
                copy.write(payload)
        elapsed = time.perf_counter() - started
        row = connection.execute("select pg_total_relation_size('bench_rows')").fetchone()
        size = row[0] if row else 0
        connection.execute("drop table bench_rows")
    return RowCopy(rows / elapsed, size / rows)


def _payloads(lines: Iterable[bytes], commit_rows: int) -> Iterator[tuple[int, bytes]]:
    parts: list[bytes] = []
    for line in lines:
        parts.append(_row(json.loads(line)))
        if len(parts) == commit_rows:
            yield len(parts), b"".join([_HEADER, *parts, _TRAILER])
            parts = []
    if parts:
        yield len(parts), b"".join([_HEADER, *parts, _TRAILER])


def _row(record: dict[str, object]) -> bytes:
    ts = datetime.fromisoformat(str(record["ts"]))
    micros = to_us(ts)
    texts = [
        str(record["logger"]), str(record["event"]), str(record["message"]),
        json.dumps(record["attributes"], separators=(",", ":")),
    ]  # fmt: skip
    return b"".join(
        [
            struct.pack(">hiq", 8, 8, micros),
            _text("trading"),
            _text("w1"),
            struct.pack(">ih", 2, int(str(record["severity"]))),
            *map(_text, texts),
        ]
    )


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">i", len(raw)) + raw
