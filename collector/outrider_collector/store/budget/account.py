"""What a day's table holds, told as gaps before the table leaves, and exactly as it goes.

The table is marked by a random name in its comment, which goes with it and is in its dump too; its
gaps' names begin with it. So told twice they are stored once, and what was told of a table that has
stayed is taken back; no other table, of whatever name, number or database, ever takes it back.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Self

from psycopg import sql

from outrider import severity
from outrider.gap_reasons import SHED
from outrider_collector.store import feed
from outrider_collector.store.compaction.days import PARENT

if TYPE_CHECKING:
    from psycopg import AsyncConnection

MOST_STREAMS: Final = 5_000
"""Streams with a gap row of their own, for each day; the others of a service share one."""

_DETAIL: Final = "debug records went before their time: the store was nearly full"
_MARK_BYTES: Final = 8
_WORDS: Final = "gaps begin with "
_PATTERN: Final = f"^{_WORDS}([0-9a-f]{{{2 * _MARK_BYTES}}})$"
_MARK_OF: Final = "decode(substring(obj_description({table}, 'pg_class') from {pattern}), 'hex')"


def _mark_of(table: sql.Composable) -> sql.Composed:
    return sql.SQL(_MARK_OF).format(table=table, pattern=sql.Literal(_PATTERN))


# Names of gaps are 16 bytes; a range of them is an index scan.
_MARKED: Final = sql.SQL(
    "g.gap_id between {mark} and {mark} || decode(repeat('ff', {rest}), 'hex')"
)

# Changes with every block that comes, goes or is rewritten; reads no record.
_STATE: Final = sql.SQL(
    "select coalesce(sum(hashtextextended(b.ctid::text || ' ' || b.xmin::text, 0)::numeric), 0)"
    " || ' ' || count(*) from only {table} b"
)

_TELL: Final = sql.SQL("""
    with each as (
        select b.team, b.service, u.stream, count(*) as n, min(u.ts) as from_at,
               max(u.ts) as to_at, min(u.stream_offset) as low, max(u.stream_offset) as high
        from only {table} b
        cross join lateral unnest(b.stream, b.ts, b.stream_offset) as u(stream, ts, stream_offset)
        group by 1, 2, 3
    ), ranked as (
        select each.*, row_number() over (order by n desc) <= {most} as is_named from each
    ), told as (
        select team, service, case when is_named then stream end as stream,
               sum(n)::bigint as n, min(from_at) as from_at, max(to_at) as to_at,
               case when is_named then min(low) end as low,
               case when is_named then max(high) end as high
        from ranked group by team, service, is_named, case when is_named then stream end
    ), gone as (
        insert into gaps (commit_id, gap_id, team, agent, stream, service, worker, host,
            begin_offset, end_offset, records, at_least, bytes, reason, detail, from_at, to_at,
            severity_max)
        select {commit_id},
               {mark} || substr(decode(md5(concat_ws('/', t.team, t.service, t.stream)), 'hex'), 9),
               t.team, i.agent, t.stream,
               t.service, coalesce(i.worker, ''), coalesce(i.host, ''), t.low, t.high + 1, t.n,
               false, 0, {reason}, {detail}, t.from_at, t.to_at, {severity_max}
        from told t left join stream_info i on i.id = t.stream
        on conflict (gap_id) do update set
            commit_id = excluded.commit_id, records = excluded.records,
            begin_offset = excluded.begin_offset, end_offset = excluded.end_offset,
            from_at = excluded.from_at, to_at = excluded.to_at, detected_at = excluded.detected_at
        returning records
    )
    select coalesce(sum(records), 0)::bigint, count(*), ({state}) from gone
    """)
_FORGET: Final = sql.SQL("delete from gaps g where {marked} and g.commit_id <> {commit_id}")
_TAKE_BACK: Final = sql.SQL("""
    delete from gaps g using (
        select {mark_of} as mark from pg_inherits i
        where i.inhparent = {parent}::regclass and not i.inhdetachpending) m
    where g.reason = {reason} and {marked}
    """).format(
    mark_of=_mark_of(sql.SQL("i.inhrelid")),
    parent=sql.Literal(PARENT),
    reason=sql.Literal(SHED),
    marked=_MARKED.format(mark=sql.SQL("m.mark"), rest=sql.Literal(16 - _MARK_BYTES)),
)


class Account:
    """What is told of one table."""

    def __init__(self, table: str, mark: bytes, commit_id: int) -> None:
        self._table = table
        self._mark = mark
        self._commit_id = commit_id
        self._state = ""
        self._gaps = 0
        self.records = 0
        """How many it holds."""

    @classmethod
    async def open(cls, connection: AsyncConnection, table: str) -> Self:
        """Mark the table where it is not marked. Raises the driver's LockNotAvailable."""
        mark_of = _mark_of(sql.SQL("{}::regclass").format(sql.Literal(table)))
        cursor = await connection.execute(
            sql.SQL("select nextval('commit_ids'), {}").format(mark_of)
        )
        row = await cursor.fetchone()
        assert row is not None  # noqa: S101  a select without from returns one row
        commit_id, mark = row
        if mark is None:
            mark = secrets.token_bytes(_MARK_BYTES)
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '200ms'")
                await connection.execute(
                    sql.SQL("comment on table {} is {}").format(
                        sql.Identifier(table), sql.Literal(f"{_WORDS}{mark.hex()}")
                    )
                )
        return cls(table, bytes(mark), commit_id)

    async def tell(self, connection: AsyncConnection) -> None:
        """Store the gaps of what is in the table now."""
        mark, table = self._mark_sql, sql.Identifier(self._table)
        told = _TELL.format(
            table=table,
            state=_STATE.format(table=table),
            commit_id=sql.Literal(self._commit_id),
            mark=mark,
            most=sql.Literal(MOST_STREAMS),
            reason=sql.Literal(SHED),
            detail=sql.Literal(_DETAIL),
            # That is what makes a record one of debug.
            severity_max=sql.Literal(severity.INFO - 1),
        )
        row = await (await connection.execute(told)).fetchone()
        assert row is not None  # noqa: S101  an aggregate returns one row
        self.records, self._gaps, self._state = row
        # Of streams that an earlier round told of, and that are gone from the table since.
        marked = _MARKED.format(mark=mark, rest=sql.Literal(16 - _MARK_BYTES))
        forget = _FORGET.format(marked=marked, commit_id=sql.Literal(self._commit_id))
        await connection.execute(forget)

    async def correct(self, connection: AsyncConnection) -> None:
        """Tell it again where the table has changed since; its records are not read otherwise."""
        state = _STATE.format(table=sql.Identifier(self._table))
        row = await (await connection.execute(state)).fetchone()
        if row is None or row[0] != self._state:
            await self.tell(connection)

    async def commit(self, connection: AsyncConnection) -> None:
        """End the transaction of :func:`.feed.transaction`; the evaluator is told of the gaps."""
        if self._gaps:
            detail = {"records": 0, "gaps": self._gaps, "hits": 0}
            await feed.commit(connection, "ingest", commit_id=self._commit_id, detail=detail)

    @property
    def _mark_sql(self) -> sql.Composable:
        return sql.SQL("decode({}, 'hex')").format(sql.Literal(self._mark.hex()))


async def take_back(connection: AsyncConnection) -> None:
    """Delete what a round that was cut off told of tables that have stayed."""
    await connection.execute(_TAKE_BACK)
