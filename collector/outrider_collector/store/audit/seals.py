"""Sealing: rows of the audit log become leaves of a seal, soon after they are written.

One collector seals at a time, by the lease ``sealer``: every minute in which rows came, or as soon
as there are 1,000. The ids up to which nothing can come any more are known by taking the log's lock
exclusively for a moment (whoever writes rows holds it shared from before their ids until COMMIT);
it is asked for with a short time-out, because who waits for it makes writers wait behind.

Rows of two months are two seals of the same ids, so that a month's table can go without half of a
seal. Every collector looks for the newest head, which it publishes to its agents.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

import outrider
from outrider import severity
from outrider.errors import Fault
from outrider.instants import from_us, to_us
from outrider_collector.store import health, leases
from outrider_collector.store.audit import months, proof, publishing
from outrider_collector.store.audit.canonical import COLUMNS, NO_ROOT, Head, Seal, leaf_hash
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence

    from psycopg import AsyncConnection

    from outrider_collector.store.audit.canonical import Value
    from outrider_collector.store.leases import Lease

    Row = dict[str, Value]

LEASE: Final = "sealer"
LEASE_S: Final = 30.0
PERIOD_S: Final = 5.0
"""Between two looks at what there is to seal."""
AGE_S: Final = 60.0
"""A row is sealed when it is so old, or has MOST_ROWS - 1 others for company."""
MOST_ROWS: Final = 1_000
TELL_S: Final = 600.0
"""How often it is looked whether the channel has had its head today."""

_LOG = logging.getLogger(__name__)

_NEWEST: Final = "select number, root, up_to_id from audit_seals order by number desc limit 1"
_DUE: Final = """
select count(*) >= %s or min(received_at) < clock_timestamp() - make_interval(secs => %s)
from (select received_at from audit_log
      where id > %s and id <= (select last_value from audit_ids) order by id limit %s) r
"""
_HORIZON: Final = """
select pg_advisory_xact_lock(audit_lock_key());
select coalesce(max(id), 0) from audit_log where id <= (select last_value from audit_ids)
"""
# An id that was never given out would make later rows, with smaller ids, look like forged ones.
_BEYOND: Final = "select max(id) from audit_log where id > (select last_value from audit_ids)"
_NEWEST_GROUP: Final = """
select sum(cardinality(ids)) < %s, max(sealed_at) from audit_seals
where up_to_id = (select up_to_id from audit_seals order by number desc limit 1)
"""
_ROWS: Final = sql.SQL(
    "select {} from audit_log where id > %s and id <= %s order by id limit %s"
).format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
_INSERT: Final = """
insert into audit_seals (number, month, after_id, up_to_id, ids, leaves, tree, previous, sealed_at,
    root)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


async def newest(connection: AsyncConnection) -> tuple[Head, int]:
    """Return the newest head, and up to which id rows are sealed; number 0 before the first."""
    cursor = await connection.execute(_NEWEST)
    row = await cursor.fetchone()
    return (Head(0, NO_ROOT), 0) if row is None else (Head(row[0], bytes(row[1])), row[2])


async def seal_all(connection: AsyncConnection, lease: Lease) -> int:
    """Seal every row whose neighbours are final; returns how many. Raises LeaseLost.

    The connection is in autocommit mode. Raises the driver's LockNotAvailable beside a writer that
    holds its transaction open.
    """
    horizon = await _horizon(connection)
    before_us = await _end_of_newest(connection)
    sealed = 0
    while True:
        async with connection.transaction():
            await leases.hold(connection, lease)
            head, after = await newest(connection)
            found = await read_rows(connection, after, horizon, MOST_ROWS)
            if not found:
                return sealed
            up_to = int(found[-1]["id"] or 0) if len(found) == MOST_ROWS else horizon
            sealed_at_us = to_us(await health.clock(connection))
            for seal in seals_of(head, after, up_to, found, sealed_at_us):
                await _insert(connection, seal)
        for finding in proof.backdated(found, before_us, "row {}".format):
            _tell(finding)
        sealed += len(found)


def seals_of(
    head: Head, after_id: int, up_to_id: int, found: Sequence[Row], sealed_at: int
) -> Iterator[Seal]:
    """Yield the seals of rows in the order of their ids: one for each month. Pure."""
    by_month: dict[int, list[Row]] = {}
    for row in found:
        month = months.month_of(from_us(int(row["received_at"] or 0)))
        by_month.setdefault(to_us(month), []).append(row)
    for month_us, members in sorted(by_month.items()):
        seal = Seal(
            number=head.number + 1,
            month=month_us,
            after_id=after_id,
            up_to_id=up_to_id,
            ids=tuple(int(row["id"] or 0) for row in members),
            leaves=b"".join(map(leaf_hash, members)),
            previous=head.root,
            sealed_at=sealed_at,
        )
        yield seal
        head = Head(seal.number, seal.root)


async def read_rows(
    connection: AsyncConnection, after_id: int, up_to_id: int, limit: int
) -> list[Row]:
    """Return rows with after_id < id <= up_to_id, by id, as they are hashed."""
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        # Whatever a time is, it is a number: a row that was tampered with must not stop the proof.
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        cursor.adapters.register_loader("uuid", ByteaBinaryLoader)
        await cursor.execute(_ROWS, (after_id, up_to_id, limit))
        return [dict(zip(COLUMNS, row, strict=True)) for row in await cursor.fetchall()]


class Sealer:
    """The loop in every collector: one of them seals, all of them know the head."""

    def __init__(
        self, url: str, *, holder: str, channel: str = "", period_s: float = PERIOD_S
    ) -> None:
        """Prepare; ``channel`` is told the head once a day."""
        self._url = url
        self._channel = channel
        self._tell_at = 0.0
        self._beyond: int | None = None
        self._holder = holder
        self._period_s = period_s
        self.head = Head(0, NO_ROOT)
        """The newest this process has seen."""

    async def run(self, stop: asyncio.Event) -> None:
        """Seal until ``stop``; outages of the database are waited out."""
        while not stop.is_set():
            try:
                with driver_errors(self._url):
                    await self._run_connected(stop)
            except (Fault, leases.LeaseLost) as error:
                _LOG.warning("sealing waits: %s", error)
                await first_of(self._period_s, stop)

    async def _run_connected(self, stop: asyncio.Event) -> None:
        async with await connect(self._url, application_name="outrider sealer") as connection:
            lease: Lease | None = None
            while not stop.is_set():
                if lease is None or not await leases.renew(connection, lease, LEASE_S):
                    lease = await leases.take(connection, LEASE, self._holder, LEASE_S)
                if lease is not None:
                    await self._seal_due(connection, lease)
                self.head, _ = await newest(connection)
                if lease is not None:
                    await self._tell_channel(connection)
                await first_of(self._period_s, stop)
            if lease is not None:
                await leases.release(connection, lease)

    async def _seal_due(self, connection: AsyncConnection, lease: Lease) -> None:
        await self._tell_beyond(connection)
        _, after = await newest(connection)
        cursor = await connection.execute(_DUE, (MOST_ROWS, AGE_S, after, MOST_ROWS))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return
        try:
            sealed = await seal_all(connection, lease)
        except psycopg.errors.LockNotAvailable:
            return  # a writer is busy for longer than usual: the next look
        _LOG.info("sealed %d rows of the audit log", sealed)

    async def _tell_beyond(self, connection: AsyncConnection) -> None:
        row = await (await connection.execute(_BEYOND)).fetchone()
        before, self._beyond = self._beyond, row[0] if row else None
        if self._beyond is not None and self._beyond != before:
            _tell(proof.beyond(self._beyond))

    async def _tell_channel(self, connection: AsyncConnection) -> None:
        if self._channel and self.head.number and time.monotonic() >= self._tell_at:
            await publishing.publish(connection, self._channel, self.head)
            self._tell_at = time.monotonic() + TELL_S


async def _end_of_newest(connection: AsyncConnection) -> int | None:
    """Return when the newest seal was made, if nothing was left that waited."""
    row = await (await connection.execute(_NEWEST_GROUP, (MOST_ROWS,))).fetchone()
    return to_us(row[1]) if row and row[0] else None


def _tell(finding: proof.Finding) -> None:
    outrider.get_logger(__name__).event(
        "audit.verification_failed",
        f"{finding.what}: {finding.where}: {finding.detail}",
        severity=severity.ERROR,
    )


async def _horizon(connection: AsyncConnection) -> int:
    """Return the id up to which every row is there that ever will be."""
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '200ms'")
        # One message, so that the lock is not held while this process sleeps; two statements, for
        # the second must see what was committed while the first waited.
        cursor = await connection.execute(_HORIZON)
        cursor.nextset()
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _insert(connection: AsyncConnection, seal: Seal) -> None:
    values: tuple[Any, ...] = (
        seal.number,
        from_us(seal.month),
        seal.after_id,
        seal.up_to_id,
        list(seal.ids),
        seal.leaves,
        seal.tree,
        seal.previous,
        from_us(seal.sealed_at),
        seal.root,
    )
    await connection.execute(_INSERT, values)
