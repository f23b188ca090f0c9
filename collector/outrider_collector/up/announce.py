"""One line for each alert that fires or resolves, for the person who watches `outrider up`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outrider.errors import Fault
from outrider.visible import visible
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.reading import alerts

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

_POLL_S = 0.5


async def announce_alerts(url: str, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Follow the transitions until ``stop``; a database that is away for a while is no end."""
    last = -1
    while not stop.is_set():
        try:
            async with await connect(url, application_name="outrider up") as connection:
                with driver_errors(url):
                    if last < 0:
                        last = await alerts.newest_transition(connection)
                    while not stop.is_set():
                        last = await _tell(connection, last, say)
                        await _pause(stop)
        except Fault:
            await _pause(stop)


async def _tell(connection: AsyncConnection, last: int, say: Callable[[str], None]) -> int:
    for told in await alerts.transitions_after(connection, last):
        say(
            f"{told.concluded_at:%H:%M:%S} UTC  {told.to_state:<8}  A-{told.alert}"
            f"  {told.priority:<8}  {visible(told.summary)}"
        )
        last = told.transition
    return last


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_POLL_S):
            await stop.wait()
    except TimeoutError:
        return
