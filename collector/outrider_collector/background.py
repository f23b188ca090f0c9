"""What a collector runs beside ingest: housekeeping, compaction, sealing, alerting.

Alerting is evaluation, delivery and buttons. Each is a loop of its own part over a connection of
its own; whichever collector holds a lease, or claims a row, does the work. Two events make them
quick: something was committed, something is to be delivered. Without them they would look a moment
later by themselves.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import TYPE_CHECKING, Any

from outrider_collector.alerts import delivery, evaluator
from outrider_collector.alerts.buttons import Buttons
from outrider_collector.alerts.outlets import Outlets
from outrider_collector.compacting import keep_compacting
from outrider_collector.store.audit.seals import Sealer
from outrider_collector.store.housekeeping import Housekeeper

if TYPE_CHECKING:
    from outrider_collector.config import Configuration

STOP_S = 5.0


class Background:
    """Starts the loops and ends them."""

    def __init__(self, config: Configuration, name: str) -> None:
        # A new one for each process: the claims of the one before are not ours.
        holder = f"{name} {os.getpid()} {secrets.token_hex(4)}"
        self.committed = asyncio.Event()
        """Set when the feed has grown."""
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.housekeeper = Housekeeper(
            config.database_url,
            config.retention.by_class(),
            holder=holder,
            budget=config.store.wanted(),
            name=name,
        )
        self.sealer = Sealer(config.database_url, holder=holder, channel=config.store.audit_channel)
        self._config = config
        self._holder = holder
        to_deliver = asyncio.Event()
        self._evaluator = evaluator.Evaluator(
            evaluator.Settings(config.database_url, holder), self.committed, to_deliver
        )
        self._deliverer = delivery.Deliverer(
            delivery.Settings(config.database_url, holder),
            Outlets(config.data_dir / "collector"),
            to_deliver,
        )

        self._buttons = Buttons(config.database_url, holder, config.data_dir / "collector")

    def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start every loop in the group."""
        self._tasks = [
            group.create_task(self.housekeeper.run(self._stop)),
            group.create_task(self.sealer.run(self._stop)),
            group.create_task(self._evaluator.run(self._stop)),
            group.create_task(self._deliverer.run(self._stop)),
            group.create_task(self._buttons.run(self._stop)),
        ]
        if self._config.store.compact:
            compacting = keep_compacting(
                self._config.database_url, self._config.store, self._holder, self._stop
            )
            self._tasks.append(group.create_task(compacting))
        return self._tasks

    def status(self) -> dict[str, Any]:
        """Return how evaluation and each channel are, for the collector's row."""
        return {
            "evaluator": self._evaluator.health(),
            "channels": self._deliverer.health(),
            "buttons": self._buttons.health(),
        }

    async def stop(self) -> None:
        """Ask the loops to end and give them their time."""
        self._stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
