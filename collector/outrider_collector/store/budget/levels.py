"""What other collectors measured, from their status rows: how full it is, and by which budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from outrider_collector.store.budget.limits import Budget, Level, Room
from outrider_collector.store.reading.health import COLLECTOR_SILENT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from outrider_collector.store.budget.limits import Measured

KEPT_S: Final = 300.0
"""What a collector measured that is gone holds so long: nobody else may see the file system."""

_OTHERS: Final = """
select status, stopped_at is null
    and seen_at > clock_timestamp() - make_interval(secs => %(silent)s)
from collectors
where name <> %(name)s and seen_at > clock_timestamp() - make_interval(secs => %(kept)s)
"""


class Other(NamedTuple):
    """What another collector said last."""

    is_alive: bool
    level: Level
    """By what it measured itself."""
    room: Room | None
    """None: it has no budget."""


def status_of(room: Room) -> dict[str, Any]:
    """Return what of a room stands in a status row, for others to read."""
    return {
        "disk_budget_bytes": room.budget.limit_bytes,
        "disk_budget_is_disk": room.budget.is_disk,
        "disk_wal_bytes": room.wal_bytes,
    }


async def others(connection: AsyncConnection, name: str) -> list[Other]:
    """Return what collectors other than ``name`` said within KEPT_S."""
    cursor = await connection.execute(
        _OTHERS, {"name": name, "silent": COLLECTOR_SILENT_S, "kept": KEPT_S}
    )
    return [
        Other(is_alive, Level.of_word(status.get("disk_level")), _room(status))
        for status, is_alive in await cursor.fetchall()
    ]


def _room(status: dict[str, Any]) -> Room | None:
    limit, wal = status.get("disk_budget_bytes"), status.get("disk_wal_bytes")
    is_disk = status.get("disk_budget_is_disk")
    # One of an older version says no more than its level.
    if not (isinstance(limit, int) and isinstance(wal, int) and isinstance(is_disk, bool)):
        return None
    return Room(Budget(limit, is_disk), wal)


def rooms(own: Budget | None, measured: Measured, found: Sequence[Other] = ()) -> list[Room]:
    """Return the room as who asks sees it, then as others do that are there. Pure."""
    seen = [Room(own, measured.wal_bytes)] if own is not None else []
    return seen + [one.room for one in found if one.is_alive and one.room is not None]


def others_level(found: Sequence[Other], own: Budget | None) -> Level:
    """Return the highest level that others measured; ``own`` is the budget of who asks. Pure.

    What one said that is gone counts while nobody that is left measures what it measured: the file
    system, or what the configuration gives.
    """
    left = [one.room.budget for one in found if one.is_alive and one.room is not None]
    measured = {budget.is_disk for budget in (*left, *([own] if own is not None else []))}
    counted = [
        one.level
        for one in found
        if one.is_alive or (one.room is not None and one.room.budget.is_disk not in measured)
    ]
    return max(counted, default=Level.WELL)
