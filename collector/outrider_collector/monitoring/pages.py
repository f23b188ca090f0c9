"""The three pages of a collector: ``/healthz``, ``/readyz``, ``/metrics``.

``/healthz`` answers while the event loop turns. ``/readyz`` says whether work can be done, in a
line. ``/metrics`` goes on while the database is away, with what this process knows by itself.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from outrider.errors import Fault
from outrider.exposition import CONTENT_TYPE, exposition
from outrider_collector.monitoring.http1 import Answer
from outrider_collector.monitoring.metrics import process_families, store_families
from outrider_collector.store.reading.tally import Tally, tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from outrider_collector.ingest.links import Links
    from outrider_collector.monitoring.readiness import Readiness

TALLY_KEPT_S = 10.0
"""However many scrape, the store is counted no more often."""
TALLY_WITHIN_S = 4.0


class Pages:
    """What each page says."""

    def __init__(
        self, links: Links, readiness: Readiness, status: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._links = links
        self._readiness = readiness
        self._status = status
        self._tally: Tally | None = None
        self._tallied_s = float("-inf")
        self._tallying = asyncio.Lock()

    def by_path(self) -> dict[str, Callable[[], Awaitable[Answer]]]:
        """Return the pages by their paths."""
        return {"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics}

    async def healthz(self) -> Answer:
        """Say that the process lives."""
        return Answer.text(HTTPStatus.OK, "ok")

    async def readyz(self) -> Answer:
        """Say whether it can do its work, and why not."""
        reason = " ".join(self._readiness.reason.split())
        if reason:
            return Answer.text(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}")
        return Answer.text(HTTPStatus.OK, "ready")

    async def metrics(self) -> Answer:
        """Return all figures; those of the store only while it answers."""
        families = process_families(self._status(), ready=not self._readiness.reason)
        if not self._readiness.reason:
            counted = await self._counted()
            families += store_families(counted) if counted else []
        return Answer(HTTPStatus.OK, exposition(families), CONTENT_TYPE)

    async def _counted(self) -> Tally | None:
        async with self._tallying:
            if time.monotonic() - self._tallied_s < TALLY_KEPT_S:
                return self._tally
            try:
                async with asyncio.timeout(TALLY_WITHIN_S), self._links.use() as connection:
                    self._tally = await tally(connection)
            except (Fault, TimeoutError):
                self._tally = None
            self._tallied_s = time.monotonic()
            return self._tally
