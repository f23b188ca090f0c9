"""Leases: who alone evaluates, who alone keeps house.

A lease is a row with an epoch. Holding it by the clock is not enough: a process that was frozen
may wake and still think it holds. So every transaction that changes what the lease protects begins
with :func:`hold`, which locks the row ``where epoch = mine for share``: a taker's update waits for
such a transaction or makes the next one fail. (A plain read would let two write.) A taker also
terminates the old holder's backend, so that nothing of it is still under way.

A lease belongs to the connection that took it: do the protected work there. When that connection's
backend is gone, the lease is free at once, however long it would have run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_READ = """
select l.epoch, l.backend_pid, l.expires_at < clock_timestamp(),
    l.backend_pid is distinct from pg_backend_pid() and exists (
        select from pg_stat_activity a
        where a.pid = l.backend_pid
            and coalesce(a.backend_start = l.backend_start, true))
from leases l where l.name = %s
"""

_TAKE = """
update leases
set holder = %s, epoch = epoch + 1, backend_pid = pg_backend_pid(),
    backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid()),
    expires_at = clock_timestamp() + make_interval(secs => %s)
where name = %s and epoch = %s
returning epoch
"""


class LeaseLost(Exception):  # noqa: N818  what happened; the holder stops acting
    """Somebody else holds the lease now; what this transaction did must not be committed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken; its epoch tells it from every other taking."""

    name: str
    holder: str
    epoch: int


async def take(connection: AsyncConnection, name: str, holder: str, ttl_s: float) -> Lease | None:
    """Take the lease if it is free, expired, or its holder's backend is gone; else None.

    The connection is in autocommit mode and outside a transaction. ``holder`` is for people.
    """
    await connection.execute(
        "insert into leases (name) values (%s) on conflict (name) do nothing", (name,)
    )
    cursor = await connection.execute(_READ, (name,))
    row = await cursor.fetchone()
    if row is None:
        return None
    epoch, pid, expired, alive = row
    if alive:
        if not expired:
            return None
        await _terminate(connection, pid)
    cursor = await connection.execute(_TAKE, (holder, ttl_s, name, epoch))
    taken = await cursor.fetchone()
    return None if taken is None else Lease(name, holder, int(taken[0]))


async def renew(connection: AsyncConnection, lease: Lease, ttl_s: float) -> bool:
    """Hold the lease for ``ttl_s`` more seconds; False when it was lost."""
    cursor = await connection.execute(
        "update leases set expires_at = clock_timestamp() + make_interval(secs => %s)"
        " where name = %s and epoch = %s returning 1",
        (ttl_s, lease.name, lease.epoch),
    )
    return await cursor.fetchone() is not None


async def hold(connection: AsyncConnection, lease: Lease) -> None:
    """Keep the lease from being taken until this transaction ends. Raises LeaseLost.

    First statement of every transaction that changes protected state.
    """
    cursor = await connection.execute(
        "select 1 from leases where name = %s and epoch = %s for share",
        (lease.name, lease.epoch),
        prepare=True,
    )
    if await cursor.fetchone() is None:
        raise LeaseLost(f"{lease.name}: {lease.holder} lost epoch {lease.epoch}")


async def release(connection: AsyncConnection, lease: Lease) -> None:
    """Let others take the lease at once; nothing happens when it was lost."""
    await connection.execute(
        "update leases set holder = '', backend_pid = null, expires_at = '-infinity'"
        " where name = %s and epoch = %s",
        (lease.name, lease.epoch),
    )


async def _terminate(connection: AsyncConnection, pid: int) -> None:
    try:
        # Waits up to 2 s for its end, so that its locks are gone before the epoch moves.
        await connection.execute("select pg_terminate_backend(%s, 2000)", (pid,))
    except psycopg.errors.InsufficientPrivilege:
        # The epoch alone fences: an open transaction of it makes the update below wait.
        return
