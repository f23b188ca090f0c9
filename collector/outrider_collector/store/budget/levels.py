"""What other collectors measured: their levels, from their status rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_collector.store.budget.limits import Level
from outrider_collector.store.reading.health import COLLECTOR_SILENT_S

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_LEVELS: Final = """
select distinct status ->> 'disk_level' from collectors
where name <> %s and stopped_at is null
    and seen_at > clock_timestamp() - make_interval(secs => %s)
"""


async def others_level(connection: AsyncConnection, name: str) -> Level:
    """Return the highest level that a living collector other than ``name`` measured itself."""
    cursor = await connection.execute(_LEVELS, (name, COLLECTOR_SILENT_S))
    found = [Level.of_word(word) for (word,) in await cursor.fetchall()]
    return max(found, default=Level.WELL)
