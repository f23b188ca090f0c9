"""How much room the store has, from what collectors last said of themselves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outrider_collector.store.budget.limits import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import Collector


class Room(NamedTuple):
    """The room as the collector said that saw most of it used."""

    said: str
    """In a line, for people."""
    level: str
    """"well"; "shed": debug records go before their time; "hold": agents keep most records."""
    full_in_s: float | None
    """None: not within a year, or nobody knows."""


def room(collectors: Sequence[Collector]) -> Room | None:
    """Return what is known; None where no living collector has measured yet."""
    known = [_room(one.status) for one in collectors if one.alive and one.status.get("disk_said")]
    return max(known, key=_urgency, default=None)


def _room(status: dict[str, Any]) -> Room:
    full_in_s = status.get("disk_full_in_s")
    return Room(
        str(status["disk_said"]),
        Level.of_word(status.get("disk_level")).word,
        float(full_in_s) if isinstance(full_in_s, (int, float)) else None,
    )


def _urgency(one: Room) -> tuple[int, float]:
    return Level.of_word(one.level), -(one.full_in_s if one.full_in_s is not None else 1e18)
