"""Where the pages get their data: the store's reading side over a pool of the read role.

One method a question. Each takes a connection of its own, so that the panels of a page can be read
at the same time; the pool bounds how many questions all viewers together ask the database at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from outrider.errors import Fault
from outrider.filter import Filter, parse
from outrider_collector.store import schema
from outrider_collector.store.connect import driver_errors, read_pool
from outrider_collector.store.reading import (
    activity,
    alerts,
    audit,
    completeness,
    components,
    cost,
    feed,
    fleet,
    health,
    logs,
    uptime,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from outrider_collector.store.reading import types
    from outrider_collector.store.reading.availability import HealthConfig

POOL_SIZE = 8
"""Connections for all pages together."""

ALL = parse("")
"""The filter that lets every line through."""


class Source:
    """Answers the pages' questions."""

    def __init__(
        self, pool: AsyncConnectionPool, url: str, targets: HealthConfig | None = None
    ) -> None:
        self._pool = pool
        self._url = url
        self._targets = targets
        self._window = activity.ActivityWindow(minutes=60)
        self._window_lock = asyncio.Lock()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with driver_errors():
            async with self._pool.connection() as connection:
                yield connection

    # ------------------------------------------------------------- fleet

    async def overview(self) -> types.Overview:
        """Return what is wrong now, as of one snapshot."""
        async with self._connection() as c:
            return await fleet.overview(c)

    async def activity(self) -> activity.ActivityWindow:
        """Return lines per worker and minute of the last hour, brought up to now."""
        # One refresh at a time: the second viewer finds nothing left to read.
        async with self._window_lock, self._connection() as c:
            await self._window.refresh(c)
        return self._window

    async def workers(self) -> list[types.Worker]:
        """Return all workers, worst first."""
        async with self._connection() as c:
            return await fleet.workers(c)

    async def worker(self, service: str, worker: str, host: str) -> types.WorkerDetail:
        """Return everything about one worker. NOT_FOUND where there is none."""
        async with self._connection() as c:
            return await fleet.worker(c, service, worker, host)

    async def history(
        self, component: str, since: datetime, until: datetime
    ) -> list[types.StateChange]:
        """Return a worker's changes of state, newest first."""
        async with self._connection() as c:
            return await fleet.history(c, "worker", component, since, until)

    async def agents(self) -> list[types.Agent]:
        """Return all agents."""
        async with self._connection() as c:
            return await fleet.agents(c)

    # ------------------------------------------------------------- health

    async def components(self) -> list[types.Component]:
        """Return all that is looked at, as each host sees it."""
        async with self._connection() as c:
            return await components.components(c)

    async def uptimes(self) -> dict[tuple[str, str], types.Uptime]:
        """Return ninety days of all that is looked at."""
        async with self._connection() as c:
            return await uptime.uptimes(c, components.KINDS, self._targets)

    async def watching(self) -> types.Uptime:
        """Return ninety days of the collectors together."""
        async with self._connection() as c:
            return await uptime.watching(c, self._targets)

    async def samples(self, kind: str, since: datetime, until: datetime) -> list[types.Sample]:
        """Return what was sampled of a kind's components, newest first."""
        async with self._connection() as c:
            return await components.samples(c, kind, since, until)

    def connections(self) -> dict[str, int]:
        """Return how many connections there are by what they do, and how many wait for one."""
        known = self._pool.get_stats()
        free = known.get("pool_available", 0)
        return {
            "used": known.get("pool_size", 0) - free,
            "free": free,
            "waited_for": known.get("requests_waiting", 0),
        }

    async def ready(self) -> str:
        """Return why the pages cannot be served as they should be; empty: they can."""
        try:
            async with self._connection() as c:
                (await schema.check(c)).require(self._url)
        except Fault as fault:
            return fault.text
        return ""

    # ------------------------------------------------------------- audit

    async def audit_rows(
        self, asked: audit.Asked, limit: int, before_id: int | None = None
    ) -> list[audit.AuditRow]:
        """Return rows of the audit log, newest first."""
        async with self._connection() as c:
            return await audit.rows(c, asked, limit, before_id)

    async def audit_seals(self) -> audit.SealState:
        """Return how far the audit log is sealed."""
        async with self._connection() as c:
            return await audit.seals(c)

    # ------------------------------------------------------------- alerts

    async def open_alerts(self) -> list[types.Alert]:
        """Return open episodes, worst first."""
        async with self._connection() as c:
            return await alerts.open_alerts(c)

    async def recent_alerts(self, since: datetime) -> list[types.Alert]:
        """Return episodes that were open at some time since then."""
        async with self._connection() as c:
            return await alerts.recent(c, since)

    async def alert(self, alert_id: int) -> types.AlertDetail:
        """Return one episode with all that happened to it. NOT_FOUND where there is none."""
        async with self._connection() as c:
            return await alerts.alert(c, alert_id)

    async def notices(self, since: datetime, limit: int = 100) -> list[types.Notification]:
        """Return what the notification centre shows, newest first."""
        async with self._connection() as c:
            return await alerts.notices(c, since, limit)

    # ------------------------------------------------------------- health

    async def collectors(self) -> list[types.Collector]:
        """Return what each collector last said about itself."""
        async with self._connection() as c:
            return await health.collectors(c)

    async def store(self) -> types.StoreHealth:
        """Return the figures of the store."""
        async with self._connection() as c:
            return await health.store(c)

    async def now(self) -> datetime:
        """Return the database's clock."""
        async with self._connection() as c:
            return await health.now(c)

    # ------------------------------------------------------------- logs

    async def search(
        self,
        filter_: Filter,
        since: datetime,
        until: datetime,
        *,
        limit: int,
        after: types.Cursor | None = None,
        patience_s: float = math.inf,
    ) -> types.Page:
        """Return a page of lines, newest first; after ``patience_s`` what was found by then."""
        began = time.monotonic()
        async with self._connection() as c:
            return await logs.search(
                c, filter_, since, until, limit=limit, after=after,
                enough=lambda: time.monotonic() - began > patience_s,
            )  # fmt: skip

    async def count(self, filter_: Filter, since: datetime, until: datetime) -> int:
        """Return how many lines match."""
        async with self._connection() as c:
            return await logs.count(c, filter_, since, until)

    async def histogram(
        self, filter_: Filter, since: datetime, until: datetime, buckets: int = 120
    ) -> list[types.Bucket]:
        """Return counts by level over the range."""
        async with self._connection() as c:
            return await logs.histogram(c, filter_, since, until, buckets)

    async def facets(
        self, filter_: Filter, since: datetime, until: datetime, top: int = 10
    ) -> types.Facets:
        """Return the ``top`` values of each main field with counts."""
        async with self._connection() as c:
            return await logs.facets(c, filter_, since, until, top=top)

    async def cost(self, filter_: Filter, since: datetime, until: datetime) -> types.Cost:
        """Return what a search of the range would look through."""
        async with self._connection() as c:
            return await cost.cost(c, filter_, since, until)

    async def gaps(self, filter_: Filter, since: datetime, until: datetime) -> list[types.Gap]:
        """Return gaps that stand among the lines of the range."""
        async with self._connection() as c:
            return await logs.gaps(c, filter_, since, until)

    async def gap(self, gap_id: int) -> types.Gap:
        """Return one gap. NOT_FOUND where there is none."""
        async with self._connection() as c:
            return await logs.gap(c, gap_id)

    async def record(self, stream: int, offset: int) -> types.LogRow:
        """Return one line by its name. NOT_FOUND where there is none."""
        async with self._connection() as c:
            return await logs.record(c, stream, offset)

    async def context(self, stream: int, offset: int, around: int = 10) -> list[types.LogRow]:
        """Return the lines of a stream around one of them, in its order."""
        async with self._connection() as c:
            return await logs.context(c, stream, offset, around, around)

    async def completeness(
        self, filter_: Filter, since: datetime, until: datetime
    ) -> types.Completeness:
        """Return up to when the view holds every line, and what it lacks."""
        async with self._connection() as c:
            return await completeness.completeness(c, filter_, since, until)

    async def export(
        self, filter_: Filter, since: datetime, until: datetime
    ) -> AsyncIterator[list[types.LogRow]]:
        """Yield all matching lines in chunks, newest first, in constant memory."""
        async with self._connection() as c:
            async for chunk in logs.export(c, filter_, since, until):
                yield chunk

    async def tail(self, after: int, filter_: Filter, limit: int) -> types.TailPage:
        """Return lines committed after a feed number."""
        async with self._connection() as c:
            return await logs.tail(c, after, filter_, limit)

    # ------------------------------------------------------------- feed

    async def feed_last(self) -> int:
        """Return the newest feed number."""
        async with self._connection() as c:
            return await feed.last(c)

    async def feed_changes(self, after: int, limit: int) -> list[types.FeedRow]:
        """Return feed rows after a number, in order."""
        async with self._connection() as c:
            return await feed.changes(c, after, limit)


@asynccontextmanager
async def open_source(url: str, targets: HealthConfig | None = None) -> AsyncIterator[Source]:
    """Open the pool, also when the database is down: pages then say so."""
    async with read_pool(url, application_name="outrider dashboard", max_size=POOL_SIZE) as pool:
        yield Source(pool, url, targets)
