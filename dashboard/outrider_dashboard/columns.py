"""Which columns the rows of the log page show: read from the address, kept in it. Pure.

Time, severity and message are always there. ``columns=`` names the others in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_collector.store.reading.types import Gap, LogRow

NAMES: dict[str, str] = {
    "service": "Service",
    "worker": "Worker",
    "host": "Host",
    "logger": "Logger",
    "event": "Event",
    "error_code": "Error code",
    "attributes": "Attributes",
}
DEFAULT = ("worker", "attributes")
NONE = "none"
"""What the address says where no column is chosen."""


def read(given: Iterable[str]) -> tuple[str, ...]:
    """Read the values of the parameter; unknown names are left out, nothing given: the default."""
    values = [name for value in given for name in value[:200].split(",") if name]
    if not values:
        return DEFAULT
    return tuple(name for name in NAMES if name in values)


def parameters(chosen: tuple[str, ...]) -> dict[str, str]:
    """Return what the address says; nothing for the default."""
    return {} if chosen == DEFAULT else {"columns": ",".join(chosen) or NONE}


def text(of: LogRow | Gap, name: str) -> str:
    """Return what a row or a gap has in a column; a gap has no event."""
    return getattr(of, name, None) or ""
