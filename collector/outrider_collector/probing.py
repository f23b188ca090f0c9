"""Probes of the collector: the view from outside, and databases.

They report as an agent's do, into the same book of heartbeats, under this collector's host. Changes
and samples are records of the collector's own log.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import outrider
from outrider.errors import Fault
from outrider.probes.runner import Runner
from outrider_collector.ingest.components import Observer
from outrider_collector.store import health
from outrider_protos.components import component_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.probes.spec import Spec
    from outrider_collector.ingest.clock import DatabaseClock
    from outrider_collector.ingest.heartbeats import HeartbeatBook
    from outrider_collector.ingest.links import Links

REPORT_S = 10.0
"""Everything is reported this often; what changed, at once."""
_TEAM = 1
_AGAIN_S = 5.0

log = outrider.get_logger(__name__)


class Probing:
    """Runs the probes and enters what they find into the book."""

    def __init__(
        self,
        specs: Sequence[Spec[Any]],
        name: str,
        links: Links,
        book: HeartbeatBook,
        clock: DatabaseClock,
    ) -> None:
        host = socket.gethostname()
        self._observer = Observer(None, _TEAM, host)
        self._name = name
        self._links = links
        self._book = book
        self._clock = clock
        self._changed = asyncio.Event()
        self._runner = Runner(specs, host, tell=_tell, hurry=self._changed.set)

    @property
    def held(self) -> int:
        """How many threads are in a look."""
        return self._runner.held

    async def run(self) -> None:
        """Run until cancelled; what this collector looked at before, and does not now, retires."""
        self._book.expect(None, await self._known())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._runner.run())
            group.create_task(self._report())

    async def _known(self) -> list[health.Component]:
        while True:
            try:
                async with self._links.use() as connection:
                    return await health.looked_at_by(connection, self._name)
            except Fault:
                await asyncio.sleep(_AGAIN_S)

    async def _report(self) -> None:
        while True:
            now_us = self._clock.now_us()
            reports = [
                component_report(report, now_us, int(REPORT_S * 1_000))
                for report in self._runner.reports(everything=True)
            ]
            self._book.probed(self._observer, reports, now_us, are_all=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPORT_S)
            self._changed.clear()


def _tell(event: str, severity: int, message: str, attributes: dict[str, Any]) -> None:
    log.event(event, message, severity=severity, **attributes)
