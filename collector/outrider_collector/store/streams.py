"""Streams: what each is, stored once at its birth, and how far it is committed.

An agent mints a stream's id; whoever stored it first owns it. Opening a stream again changes
nothing and returns where it stands, so an agent whose answer was lost just opens again. That holds
for a stream that has ended, too: it keeps its place for as long as it is described.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from outrider_collector.store.rows import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One file's life, as its agent describes it; evidence finds the file again."""

    stream_id: int
    service: str
    worker: str
    host: str
    source: str
    path: str
    uid: int = 0
    start_offset: int = 0
    """First byte of the file that belongs to the stream; offsets count from the file's start."""
    device: int = 0
    inode: int = 0
    head_digest: bytes = b""
    head_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream and where it stands."""

    stream: Stream
    committed: int
    digest: bytes
    framer_state: bytes
    watermark_us: int = 0
    """All its writer wrote up to then is committed, microseconds since 2000; 0: not known."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of streams that were to be opened."""

    states: Sequence[StreamState]
    refused: dict[int, str]
    """Stream -> why not: for people."""


_INSERT_INFO = """
with born as (
    insert into stream_info (id, agent, team, service, worker, host, source, path, uid,
        start_offset, device, inode, head_digest, head_bytes)
    values (%(stream_id)s, %(agent)s, %(team)s, %(service)s, %(worker)s, %(host)s, %(source)s,
        %(path)s, %(uid)s, %(start_offset)s, %(device)s, %(inode)s, %(head_digest)s,
        %(head_bytes)s)
    on conflict (id) do nothing
    returning id, agent, start_offset
)
insert into streams (id, agent, committed, tail) select id, agent, start_offset, '' from born
on conflict (id) do nothing
"""

_STATES = """
select i.id, i.service, i.worker, i.host, i.source, i.path, coalesce(i.uid, 0), i.start_offset,
    coalesce(i.device, 0)::text, coalesce(i.inode, 0)::text, coalesce(i.head_digest, ''),
    coalesce(i.head_bytes, 0), s.committed, s.tail, coalesce(s.framer_state, ''),
    coalesce((extract(epoch from s.watermark) * 1000000)::bigint - 946684800000000, 0)
from stream_info i join streams s using (id)
"""
_OF_AGENT = _STATES + "where i.agent = %s and i.closed_at is null order by i.id"
_BY_ID = _STATES + "where i.agent = %s and i.id = any(%s) order by i.id"

_FORGOTTEN = "select id from stream_info where agent = %s and id = any(%s)"
_NOT_OURS = "the id belongs to another agent"
_LONG_OVER = "the stream ended so long ago that where is not known any more"


async def open_streams(
    connection: AsyncConnection, agent: int, team: int, streams: Iterable[Stream]
) -> Opened:
    """Store the births of streams and return where each stands; nothing happens to known ones."""
    wanted = {stream.stream_id: stream for stream in streams}
    async with connection.transaction():
        if wanted:
            cursor = connection.cursor()
            await cursor.executemany(
                _INSERT_INFO,
                [_parameters(wanted[i], agent, team) for i in sorted(wanted)],
            )
        cursor = await connection.execute(_BY_ID, (agent, list(wanted)))
        states = [_state(row) for row in await cursor.fetchall()]
        ours = {state.stream.stream_id for state in states}
        refused = {i: _NOT_OURS for i in wanted if i not in ours}
        if refused:
            cursor = await connection.execute(_FORGOTTEN, (agent, list(refused)))
            refused |= {int(row[0]): _LONG_OVER for row in await cursor.fetchall()}
    return Opened(states, refused)


async def agent_streams(connection: AsyncConnection, agent: int) -> list[StreamState]:
    """Return every open stream of an agent, for its welcome."""
    cursor = await connection.execute(_OF_AGENT, (agent,))
    return [_state(row) for row in await cursor.fetchall()]


def _parameters(stream: Stream, agent: int, team: int) -> dict[str, object]:
    values: dict[str, object] = {"agent": agent, "team": team}
    for column in fields(stream):
        value = getattr(stream, column.name)
        values[column.name] = storable(value) if isinstance(value, str) else value
    return values


def _state(row: tuple[Any, ...]) -> StreamState:
    stream = Stream(
        stream_id=row[0],
        service=row[1],
        worker=row[2],
        host=row[3],
        source=row[4],
        path=row[5],
        uid=row[6],
        start_offset=row[7],
        device=int(row[8]),
        inode=int(row[9]),
        head_digest=bytes(row[10]),
        head_bytes=row[11],
    )
    return StreamState(stream, row[12], bytes(row[13]), bytes(row[14]), row[15])
