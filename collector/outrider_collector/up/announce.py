"""One line for each alert that fires or resolves, for the person who watches `outrider up`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outrider.errors import Fault
from outrider.visible import visible
from outrider_collector.store.connect import connect, driver_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

_POLL_S = 0.5
_TRANSITIONS = """
select t.id, t.to_state, t.concluded_at, a.id, a.priority, a.summary
from alert_transitions t join alerts a on a.id = t.alert
where t.id > %s and t.to_state in ('firing', 'resolved')
order by t.id limit 100
"""


async def announce_alerts(url: str, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Follow the transitions until ``stop``; a database that is away for a while is no end."""
    last = -1
    while not stop.is_set():
        try:
            async with await connect(url, application_name="outrider up") as connection:
                with driver_errors(url):
                    if last < 0:
                        last = await _newest(connection)
                    while not stop.is_set():
                        last = await _tell(connection, last, say)
                        await _pause(stop)
        except Fault:
            await _pause(stop)


async def _newest(connection: AsyncConnection) -> int:
    cursor = await connection.execute("select coalesce(max(id), 0) from alert_transitions")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _tell(connection: AsyncConnection, last: int, say: Callable[[str], None]) -> int:
    cursor = await connection.execute(_TRANSITIONS, (last,))
    for number, state, at, alert, priority, summary in await cursor.fetchall():
        say(f"{at:%H:%M:%S} UTC  {state:<8}  A-{alert}  {priority:<8}  {visible(summary)}")
        last = number
    return last


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_POLL_S):
            await stop.wait()
    except TimeoutError:
        return
