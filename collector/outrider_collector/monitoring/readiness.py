"""Whether this collector can do its work: one answer for ``/readyz`` and ``grpc.health.v1``.

One loop looks at the database, so that asking costs nothing, however many ask. Being alive is
another question: a collector without its database must not be started anew, for that helps nobody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import outrider
from outrider.errors import Fault
from outrider_collector.store import schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outrider_collector.ingest.links import Links

LOOK_S = 3.0

log = outrider.get_logger(__name__)


class Readiness:
    """Why this collector is not ready; empty: it is."""

    def __init__(
        self,
        links: Links,
        url: str,
        *,
        serving: Callable[[bool], Awaitable[object]],
        trouble: Callable[[], str],
    ) -> None:
        """Wire it.

        ``serving`` tells gRPC's health service whether to send agents here; ``trouble`` says what
        keeps batches from being committed, or health from being stored, although the database
        answers.
        """
        self._links = links
        self._url = url
        self._serving = serving
        self._trouble = trouble
        self.reason = "the collector starts"
        self._stopped = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once at the database: whether it answers, with the schema of this version."""
        try:
            async with self._links.use() as connection:
                (await schema.check(connection)).require(self._url)
        except Fault as fault:
            await self.tell(fault.text)
        else:
            await self.tell(self._trouble())

    async def tell(self, reason: str) -> None:
        """Take over a reason, and tell gRPC where that changes whether it serves."""
        if self._stopped:
            return
        turned = bool(reason) != bool(self.reason)
        self.reason = reason
        if not turned:
            return
        await self._serving(not reason)
        if reason:
            log.warning("not ready", reason=reason)
        else:
            log.info("ready")

    async def stop(self) -> None:
        """Say for good that it stops."""
        await self.tell("the collector stops")
        self._stopped = True
