"""The feed: one row for each transaction that others must notice, in commit order, without holes.

A reader that asks for ``number > last`` misses nothing, because a number is taken under a
transaction-scoped advisory lock that is released only after the commit is visible: whoever gets
number n + 1 saw n committed. That makes three demands on a writer.

* The feed row is the last thing before COMMIT: the lock is held for one flush of the log.
* The lock and the insert are two statements: the second needs a snapshot taken after the lock.
* A client that freezes while it holds the lock would stop everybody until the server ends its
  transaction. :func:`commit`, the one way to add a row, therefore sends lock, insert and COMMIT as
  *one message* of the simple query protocol, which the server reads whole before it begins: there
  is no moment at which it holds the lock and waits for the client. (A pipeline of extended-protocol
  messages would not do: cut in the middle, it is not even subject to
  idle_in_transaction_session_timeout.)

What a row says, by kind; ``detail`` is small and for readers that need not look further:

========== ==================================== ================================================
kind       written with                         detail
========== ==================================== ================================================
ingest     records, gaps, hits of one commit    records, gaps, hits (counts)
health     changed states of components         changes: kind, component, to, at, reason, ...
rules      a rule set that became active        version, actor, what changed
silences   a silence added or ended             act, silence, actor, alerts it touches
alerts     moved alerts, new fates              alerts (ids); step, look
admin      an act on alerts or their messages   act, actor; alerts or notification
canary     nothing: it is to become a message   none
========== ==================================== ================================================

Each row has a random nonce. After a failover to a lagging standby the same number can name another
transaction; number and nonce together cannot.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import AsyncClientCursor
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from outrider.failpoint import failpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

APPEND_AND_COMMIT = """
select pg_advisory_xact_lock(feed_lock_key());
insert into feed (number, nonce, kind, commit_id, detail)
select coalesce(max(number), 0) + 1, uuid_send(gen_random_uuid()), %s, %s::bigint, %s::jsonb
from feed
returning number, nonce;
commit
"""
"""Adds a row of (kind, commit_id, detail); for a client-side cursor, which sends one message."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the feed; the nonce (16 bytes) tells two histories with the same numbers apart."""

    number: int
    nonce: bytes


@asynccontextmanager
async def transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """Run the block as one transaction that may end itself with :func:`commit`.

    A block that has not committed when it is left is committed, or rolled back if it raised.
    """
    # Not connection.transaction(): the feed's row is sent together with the COMMIT.
    await connection.execute("begin")
    try:
        yield
        if connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.execute("commit")
    except BaseException:
        if not connection.closed:
            await connection.rollback()
        raise


async def commit(
    connection: AsyncConnection,
    kind: str,
    *,
    commit_id: int | None = None,
    detail: dict[str, Any] | None = None,
) -> Position:
    """Add the row and COMMIT the open transaction, in one message to the server.

    ``kind`` is one of the table's kinds. When the connection is lost before the answer, the outcome
    is unknown. Inside :func:`transaction`, as the last thing; not inside
    ``connection.transaction()``, which would commit a second time.
    """
    cursor = AsyncClientCursor(connection)
    # The task's first step hands the message to the kernel; the second would read the answer.
    sent = asyncio.ensure_future(
        cursor.execute(APPEND_AND_COMMIT, (kind, commit_id, _json(detail)))
    )
    await asyncio.sleep(0)
    failpoint("COMMIT sent/answer")
    await sent
    return await _position(cursor)


async def newest(connection: AsyncConnection) -> Position | None:
    """Return the newest row's position; None while the feed is empty."""
    cursor = await connection.execute(
        "select number, nonce from feed order by number desc limit 1", prepare=True
    )
    row = await cursor.fetchone()
    return None if row is None else Position(row[0], bytes(row[1]))


async def knows(connection: AsyncConnection, position: Position) -> bool:
    """Return False when this database's history does not contain ``position``.

    True also for a position older than the feed's memory (a day): then the committed offsets of the
    streams, which are never forgotten, decide what is wanted again.
    """
    cursor = await connection.execute(
        "select (select nonce from feed where number = %s), (select min(number) from feed)",
        (position.number,),
        prepare=True,
    )
    row = await cursor.fetchone()
    nonce, oldest = row or (None, None)
    if nonce is not None:
        return bytes(nonce) == position.nonce
    return oldest is not None and position.number < oldest


def _json(detail: dict[str, Any] | None) -> Jsonb | None:
    return None if detail is None else Jsonb(detail)


async def _position(cursor: AsyncClientCursor[Any]) -> Position:
    cursor.nextset()  # past the answer to the lock
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  an insert from an aggregate returns one row
    return Position(row[0], bytes(row[1]))
