"""What erasing a record leaves, and where else it is erased: within the same transaction.

A gap row for each stream and filter says how many records are gone and from when to when, however
many transactions or runs it took. Copies in alerts and in messages about them lose their text.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from outrider.gap_reasons import ERASED
from outrider.instants import from_us
from outrider_collector.store.erasing import copies
from outrider_collector.store.erasing.records import NAMELESS, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import AsyncConnection

    from outrider_collector.store.erasing.records import Erased


_SOURCES: Final = "select id, worker, host, source from stream_info"
_GAPS: Final = """
insert into gaps (commit_id, gap_id, team, agent, stream, service, worker, host, begin_offset,
    end_offset, records, at_least, bytes, reason, detail, from_at, to_at)
values (nextval('commit_ids'), %s, %s, (select agent from stream_info where id = %s), %s, %s, %s,
    %s, %s, %s, %s, false, %s, %s, %s, %s, %s)
on conflict (gap_id) do update set
    records = gaps.records + excluded.records, bytes = gaps.bytes + excluded.bytes,
    begin_offset = least(gaps.begin_offset, excluded.begin_offset),
    end_offset = greatest(gaps.end_offset, excluded.end_offset),
    from_at = least(gaps.from_at, excluded.from_at), to_at = greatest(gaps.to_at, excluded.to_at)
"""


class Holder(NamedTuple):
    """A table whose rows hold copies in a JSON column."""

    all: LiteralString
    """Id and document of every row that can hold one."""
    lock: LiteralString
    write: LiteralString


HOLDERS: Final = {
    "alerts": Holder(
        "select id, evidence from alerts where evidence <> '[]' order by id",
        "select evidence from alerts where id = %s for update",
        "update alerts set evidence = %s where id = %s",
    ),
    "notifications": Holder(
        # "strict", for lax paths meet what is in a list twice.
        """select id, content from notifications
           where jsonb_path_exists(content, 'strict $.**.stream_offset') order by id""",
        "select content from notifications where id = %s for update",
        "update notifications set content = %s where id = %s",
    ),
}


async def sources(connection: AsyncConnection) -> dict[int, Source]:
    """Return what describes each stream."""
    cursor = await connection.execute(_SOURCES)
    return {row[0]: Source(*row[1:]) for row in await cursor.fetchall()}


async def add_gaps(
    connection: AsyncConnection,
    team: int,
    service: str,
    gone: Iterable[Erased],
    known: Mapping[int, Source],
    digest: str,
) -> None:
    """Tell of records that this transaction erases."""
    by_stream: dict[int, list[Erased]] = {}
    for record in gone:
        by_stream.setdefault(record.stream, []).append(record)
    for stream, members in sorted(by_stream.items()):
        source = known.get(stream, NAMELESS)
        name = hashlib.blake2b(f"{ERASED} {digest} {stream}".encode(), digest_size=16).digest()
        offsets = [record.stream_offset for record in members]
        times = [record.ts_us for record in members]
        await connection.execute(
            _GAPS,
            (
                name, team, stream, stream, service, source.worker, source.host, min(offsets),
                max(offsets) + 1, len(members), sum(record.text_bytes for record in members),
                ERASED, f"by the filter with SHA-256 {digest[:16]}", from_us(min(times)),
                from_us(max(times)),
            ),
        )  # fmt: skip


class Copies:
    """Where copies of records are, by the records' names."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], set[tuple[str, int]]] = {}

    @classmethod
    async def read(cls, connection: AsyncConnection) -> Copies:
        """Look for copies in alerts and their messages."""
        found = cls()
        for table, holder in HOLDERS.items():
            cursor = await connection.execute(holder.all)
            async for number, document in cursor:
                for copy in copies.copies(document):
                    name = copies.name_of(copy)
                    if name is not None:
                        found._places.setdefault(name, set()).add((table, number))
        return found

    def of(self, names: Iterable[tuple[int, int]]) -> int:
        """Return how many copies there are of records."""
        return sum(len(self._places.get(name, ())) for name in names)

    def unseen(self, names: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return the names of copies that are not among these."""
        return self._places.keys() - names

    async def erase(self, connection: AsyncConnection, names: set[tuple[int, int]]) -> int:
        """Erase the copies of records in the open transaction; returns how many."""
        places = {place for name in names for place in self._places.get(name, ())}
        count = 0
        for table, number in sorted(places):
            cursor = await connection.execute(HOLDERS[table].lock, (number,))
            row = await cursor.fetchone()
            if row is None:
                continue
            count += copies.erase(row[0], lambda copy: copies.name_of(copy) in names)
            await connection.execute(HOLDERS[table].write, (Jsonb(row[0]), number))
        return count
