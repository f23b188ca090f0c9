"""The embedded server of `outrider up`, started again when it ends by itself.

Everybody else waits for it and loses nothing meanwhile: agents keep what they hold, the collector
and the dashboard connect again. It can end by a full disk (it stops rather than lose what it has
promised), by the kernel when memory is short, by somebody's kill.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outrider.retry import Backoff
from outrider_collector.up.children import STEADY_S, how_it_ended
from outrider_collector.up.postgres import PostgresError

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_collector.up.postgres import Postgres


@dataclass(slots=True)
class PostgresKeeper:
    """Starts the server, watches it, stops it."""

    server: Postgres
    warn: Callable[[str], object]
    _keeper: asyncio.Task[None] | None = None
    # Held while the server starts: a start is never left half done.
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.5, cap_s=15.0))

    async def start(self) -> None:
        """Start the server and keep it alive until stop(). Raises PostgresError."""
        await self._start()
        self._keeper = asyncio.create_task(self._keep(), name="keep postgres")

    async def stop(self) -> None:
        """Stop the server; everything committed is on disk."""
        if self._keeper is not None:
            async with self._starting:
                self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await asyncio.to_thread(self.server.stop)

    async def _start(self) -> None:
        async with self._starting:
            await asyncio.to_thread(self.server.start)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            assert self.server.process is not None  # noqa: S101  it was started
            code = await asyncio.to_thread(self.server.process.wait)
            if loop.time() - started > STEADY_S:
                self._backoff.reset()
            trouble = f"Postgres ended with {how_it_ended(code)}: {self.server.last_words()}"
            while trouble:
                trouble = await self._start_again(trouble)

    async def _start_again(self, trouble: str) -> str:
        """Say what happened, pause, start; return what is the matter, empty when it runs."""
        pause_s = self._backoff.next(floor_s=0.5)
        self.warn(f"{trouble}: starts again in {pause_s:.1f} s (log: {self.server.log})")
        await asyncio.sleep(pause_s)
        try:
            await self._start()
        except PostgresError as error:
            return error.text
        self.warn("Postgres runs again")
        return ""
