"""Housekeeping: hours made ahead, old hours dropped, days of health rolled up, tables kept small.

One collector does it, by the lease ``housekeeper``; the others wait for the lease. Everything is a
short statement that can be cut off anywhere and done again. When a writer finds no partition for
the present hour it wakes the housekeeper, and then every collector makes partitions, lease or not:
that is safe for many at once, and ingest stands still meanwhile.

What is removed, and when:

* hours of fresh blocks: once they are over and the compactor has emptied them;
* days of compacted blocks, by class: when their newest record arrived longer ago than the class is
  kept (arrival counts, so it means "at least");
* days of compacted debug records before their time, where the disk budget is nearly used up
  (:mod:`.budget.shed`);
* months of the audit log: when they are sealed, and older than both the security and the audit
  class are kept; that is recorded in the log (:mod:`.audit.months`);
* gaps and quarantined records: after the longest of these retentions, and so does an hour that
  nobody compacts;
* feed: after a day, except what the evaluator has not read (a week at most) and the newest row;
* evaluation steps: after a day, as the feed that a replay of them reads, except the newest;
* hits: when they are a day old by arrival and two days by their own time;
* streams: 30 days after their end and once their records are gone, whichever is later; until then
  an agent that missed the end of one is told where it ended;
* resolved alerts, with their transitions and their ledger: 400 days after their last change, or as
  long as records are kept where that is longer; not while a message of theirs still waits;
* heartbeats, states, their history and collectors not heard of for 30 days; history only once its
  day is rolled up (:mod:`.uptime`), and the days themselves after 400.

Silences and rule sets stay: people made them, they are few, and they say who was told what and why.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from outrider.errors import Fault
from outrider_collector.store import health, leases, partitions, uptime
from outrider_collector.store.audit import months
from outrider_collector.store.budget import shed
from outrider_collector.store.budget.limits import OFF
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.budget.limits import Wanted
    from outrider_collector.store.compaction.classes import Retention

LEASE = "housekeeper"
PERIOD_S = 60.0
"""Between two rounds, and between two renewals in a long one; the lease lasts three times as
long."""

_LOG = logging.getLogger(__name__)
_CHUNK = 10_000
# Each deletes at most _CHUNK rows and is repeated until it finds fewer.
_TRIM: tuple[tuple[str, LiteralString], ...] = (
    (
        "feed",
        """
        delete from feed where number in (
            select number from feed
            where committed_at < now() - interval '1 day'
                and (number < (select feed_number from evaluator_state)
                    or committed_at < now() - interval '7 days')
                and number < (select max(number) from feed)
                -- Spares a scan of the whole day while nothing is old enough.
                and (select committed_at from feed order by number limit 1)
                    < now() - interval '1 day'
            order by number limit %(chunk)s)
        """,
    ),
    (
        "evaluation_steps",
        """
        delete from evaluation_steps where step in (
            select s.step from evaluation_steps s
            where s.now < now() - interval '1 day'
                and s.step < (select max(step) from evaluation_steps)
                -- Spares a scan of the whole day while nothing is old enough.
                and (select o.now from evaluation_steps o order by o.step limit 1)
                    < now() - interval '1 day'
            order by s.step limit %(chunk)s)
        """,
    ),
    (
        "hits",
        """
        delete from hits where ctid = any(array(
            with recursive filters as (
                -- One probe of the index for each filter, instead of a scan of two days of hits.
                (select hits_key from hits order by hits_key limit 1)
                union all
                select (select h.hits_key from hits h where h.hits_key > f.hits_key
                        order by h.hits_key limit 1)
                from filters f where f.hits_key is not null
            )
            select old.ctid from filters f cross join lateral (
                select h.ctid from hits h
                where h.hits_key = f.hits_key and h.bucket < now() - interval '2 days'
                    and h.commit_id < (select min(commit_id) from feed)
                limit %(chunk)s) old
            limit %(chunk)s))
        """,
    ),
    (
        "stream_info",
        # Together: a stream that is described can be opened, so it must say where it ended.
        """
        with old as (
            select id from stream_info
            where closed_at < least(%(cutoff)s::timestamptz - interval '1 hour',
                                    now() - interval '30 days')
            order by closed_at limit %(chunk)s
        ), gone as (delete from streams s using old where s.id = old.id)
        delete from stream_info i using old where i.id = old.id
        """,
    ),
    (
        "gaps",
        """
        delete from gaps where id in (
            select id from gaps where detected_at < %(cutoff)s
            order by detected_at limit %(chunk)s)
        """,
    ),
    (
        "quarantine",
        """
        delete from quarantine where id in (
            select id from quarantine where received_at < %(cutoff)s
            order by received_at limit %(chunk)s)
        """,
    ),
    (
        "alerts",
        """
        with old as (
            select a.id from alerts a
            where a.state = 'resolved'
                and a.updated_at < least(%(cutoff)s::timestamptz, now() - interval '400 days')
                and not exists (select from notifications n
                    where n.alert = a.id and n.fate in ('waiting', 'claimed'))
            order by a.updated_at limit %(chunk)s
        ), told as (
            select n.id from notifications n join old on n.alert = old.id
        ), attempts as (
            delete from notification_attempts t using told where t.notification = told.id
        ), notices as (
            delete from notifications n using told where n.id = told.id
        ), transitions as (
            delete from alert_transitions t using old where t.alert = old.id
        )
        delete from alerts a using old where a.id = old.id
        """,
    ),
    (
        "system_health_history",
        """
        delete from system_health_history where id in (
            select id from system_health_history
            where at < least(now() - interval '30 days',
                             (select before::timestamp at time zone 'UTC' from health_rolled))
            order by at limit %(chunk)s)
        """,
    ),
    (
        "health_days",
        "delete from health_days where day < (now() at time zone 'UTC')::date - 400",
    ),
    (
        "health_watches",
        "delete from health_watches where ended_at < now() - interval '400 days'",
    ),
    ("heartbeats", "delete from heartbeats where due_at < now() - interval '30 days'"),
    (
        "system_health",
        """
        delete from system_health h
        where h.since < now() - interval '30 days' and not exists (
            select from heartbeats b
            where b.component_kind = h.component_kind and b.component = h.component)
        """,
    ),
    ("collectors", "delete from collectors where seen_at < now() - interval '30 days'"),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of housekeeping did."""

    made: Sequence[str]
    dropped: Sequence[str]
    deleted: dict[str, int]
    """Rows by table, where there were any."""
    shed: Sequence[str] = ()
    """Days that went before their time."""


async def keep_house(
    connection: AsyncConnection,
    retention: Retention,
    budget: Wanted = OFF,
    *,
    name: str = "",
    tell: Callable[[str], object] = lambda _: None,
) -> Round:
    """Do one round, ``tell``ing what is looked at. The connection is in autocommit mode.

    ``name`` is the collector that does it: what the others measured counts as its own.
    """
    now = await health.clock(connection)
    made = await ensure_ahead(connection)
    cutoff = now - max(retention.values())
    tell("hours of fresh blocks")
    dropped = await partitions.drop_old(connection, now, cutoff)
    tell("days of compacted blocks")
    dropped += await days.drop_old(connection, now, retention)
    gone = await shed.shed(connection, budget, name=name)
    audited = max(retention[RecordClass.SECURITY], retention[RecordClass.AUDIT])
    tell("months of the audit log")
    dropped += await months.drop_old(connection, now, audited)
    await uptime.roll_up(connection)
    deleted = {}
    for table, statement in _TRIM:
        tell(f"rows of {table}")
        if count := await _trim(connection, statement, cutoff):
            deleted[table] = count
    return Round(made, dropped, deleted, [one.table for one in gone])


async def ensure_ahead(
    connection: AsyncConnection, hours: int = partitions.HOURS_AHEAD
) -> list[str]:
    """Make the tables that commits of the coming hours go into; return the names made.

    The connection is in autocommit mode. Safe to call by many at once.
    """
    made = await months.ensure_ahead(connection, await health.clock(connection))
    return made + await partitions.ensure_ahead(connection, hours)


class Housekeeper:
    """The loop that keeps house, in every collector; one of them acts."""

    def __init__(
        self,
        url: str,
        retention: Retention,
        *,
        holder: str,
        period_s: float = PERIOD_S,
        budget: Wanted = OFF,
        name: str = "",
    ) -> None:
        """``name`` is the collector's; ``holder`` names the process, for people."""
        self._url = url
        self._retention = retention
        self._budget = budget
        self._name = name
        self._holder = holder
        self._period_s = period_s
        self._ttl_s = 3 * period_s
        self._woken = asyncio.Event()
        self.last: Round | None = None
        """The newest round of this process."""

    def wake(self) -> None:
        """Make partitions at once: a writer found none. Callable from the loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep house until ``stop``; outages of the database are waited out."""
        while not stop.is_set():
            try:
                with driver_errors(self._url):
                    await self._run_connected(stop)
            except Fault as fault:
                _LOG.warning("housekeeping waits: %s", fault.text)
                await first_of(min(self._period_s, 5.0), stop, self._woken)
                self._woken.clear()

    async def _run_connected(self, stop: asyncio.Event) -> None:
        async with await connect(self._url, application_name="outrider housekeeper") as connection:
            lease: leases.Lease | None = None
            while not stop.is_set():
                if self._woken.is_set():
                    self._woken.clear()
                    _log_made(await ensure_ahead(connection))
                lease = await self._keep_lease(connection, lease)
                if lease is not None:
                    async with self._keeping(lease):
                        self.last = await keep_house(
                            connection, self._retention, self._budget, name=self._name
                        )
                    _log_round(self.last)
                await first_of(self._period_s, stop, self._woken)
            if lease is not None:
                await leases.release(connection, lease)

    async def _keep_lease(
        self, connection: AsyncConnection, lease: leases.Lease | None
    ) -> leases.Lease | None:
        if lease is not None and await leases.renew(connection, lease, self._ttl_s):
            return lease
        return await leases.take(connection, LEASE, self._holder, self._ttl_s)

    @asynccontextmanager
    async def _keeping(self, lease: leases.Lease) -> AsyncIterator[None]:
        renewing = asyncio.create_task(self._renew(lease))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _renew(self, lease: leases.Lease) -> None:
        """Renew until cancelled, from beside: one statement of a round may outlast the lease.

        Whoever takes it meanwhile would end that statement, and fail at it just the same.
        """
        is_mine = True
        while is_mine:
            await asyncio.sleep(self._period_s)
            with suppress(Fault), driver_errors(self._url):
                async with await connect(
                    self._url, application_name="outrider housekeeper lease"
                ) as beside:
                    is_mine = await leases.renew(beside, lease, self._ttl_s)


async def _trim(connection: AsyncConnection, statement: LiteralString, cutoff: datetime) -> int:
    deleted = 0
    while True:
        cursor = await connection.execute(statement, {"chunk": _CHUNK, "cutoff": cutoff})
        deleted += cursor.rowcount
        if cursor.rowcount < _CHUNK:
            return deleted


def _log_made(made: Sequence[str]) -> None:
    if made:
        _LOG.info("made %d partition(s), up to %s", len(made), made[-1])


def _log_round(done: Round) -> None:
    _log_made(done.made)
    for name in done.dropped:
        _LOG.info("dropped %s: emptied, or older than the retention", name)
