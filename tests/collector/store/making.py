"""Batches of a test agent, and a look at what became of them."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from outrider.columns import (
    Columns,
    pack_dictionary,
    pack_text,
)
from outrider.instants import from_unix_us
from outrider_collector.store import streams
from outrider_collector.store.claim import CommitResult, PendingBatch
from outrider_collector.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

LINE_BYTES = 10


def now_us() -> int:
    """This machine's clock, microseconds since 2000; the database runs on the same machine."""
    return from_unix_us(time.time_ns() // 1000)


def digest(offset: int) -> bytes:
    """The tail digest that test agents give for an offset."""
    return b"" if offset == 0 else b"digest" + offset.to_bytes(10)


def make_columns(
    messages: Sequence[bytes | None],
    *,
    stream: int = 1,
    begin: int = 0,
    service: str = "shop",
    **columns: Any,
) -> Columns:
    """Columns with one record for each message, LINE_BYTES apart; keywords override a column."""
    n = len(messages)
    now = now_us()
    values: dict[str, Any] = {
        "ts_us": array("q", range(now, now + n)),
        "observed_us": array("q", [now] * n),
        "stream_offset": array("q", range(begin, begin + LINE_BYTES * n, LINE_BYTES)),
        "severity": bytes([9]) * n,
        "message_raw": pack_text(messages),
        "event": pack_dictionary(["order.filled"] * n),
    }
    return Columns(
        n=n,
        stream=stream,
        service=service,
        worker="w1",
        host="web-1",
        source="file",
        **(values | columns),
    )


@dataclass(slots=True)
class Store:
    """One agent's view of the store, with a connection to look at it."""

    url: str
    connection: AsyncConnection
    agent: int
    session: int
    writers: list[Writer] = field(default_factory=list)

    def writer(self, **options: Any) -> Writer:
        """Make a writer that is closed after the test."""
        writer = Writer(self.url, application_name="outrider test", **options)
        self.writers.append(writer)
        return writer

    async def open(self, *ids: int, agent: int | None = None) -> streams.Opened:
        """Open streams of service shop."""
        wanted = [
            streams.Stream(
                stream_id=i,
                service="shop",
                worker="w1",
                host="web-1",
                source="file",
                path=f"/var/log/{i}.log",
            )
            for i in ids
        ]
        return await streams.open_streams(self.connection, agent or self.agent, 1, wanted)

    def batch(
        self,
        begin: int = 0,
        lines: Sequence[bytes | None] = (b"hello",),
        *,
        stream: int = 1,
        end: int | None = None,
        **changes: Any,
    ) -> PendingBatch:
        """A batch of ``lines`` from ``begin``; keywords override its fields."""
        end = begin + LINE_BYTES * len(lines) if end is None else end
        values: dict[str, Any] = {
            "agent": self.agent,
            "session": self.session,
            "team": 1,
            "stream": stream,
            "service": "shop",
            "worker": "w1",
            "host": "web-1",
            "begin": begin,
            "end": end,
            "previous_digest": digest(begin),
            "digest": digest(end),
            "columns": make_columns(lines, stream=stream, begin=begin) if lines else None,
        }
        return PendingBatch(**(values | changes))

    async def rows(self, query: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        cursor = await self.connection.execute(query, parameters or None)
        return await cursor.fetchall()

    async def value(self, query: Any, *parameters: Any) -> Any:
        """Run a query and return its one value."""
        ((value,),) = await self.rows(query, *parameters)
        return value

    async def committed(self, stream: int = 1) -> int:
        """Where a stream stands."""
        return int(await self.value("select committed from streams where id = %s", stream))

    async def messages(self) -> list[str]:
        """Every message in the store, by stream and offset."""
        rows = await self.rows("select message from logs order by stream, stream_offset")
        return [message for (message,) in rows]


async def commit(writer: Writer, *batches: PendingBatch) -> CommitResult:
    """Commit batches with no rules active."""
    return await writer.commit(batches, lambda _: [], None)
