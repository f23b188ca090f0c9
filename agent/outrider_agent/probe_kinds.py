"""The kinds of probes that an agent runs, and what it says of those that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.probes import spec
from outrider_protos.probe_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.configuration import Source

_ELSEWHERE = {
    "postgres": "databases are looked at by a collector: put it under [[collector.probe]]",
}


def read(
    tables: Sequence[Mapping[str, Any]], allowed: Sequence[str], source: Source
) -> tuple[spec.Spec[Any], ...]:
    """Read ``[[agent.probe]]``. Raises ConfigError."""
    path = ("agent", "probe")
    return spec.read(tables, source, path, KINDS, allowed=allowed, elsewhere=_ELSEWHERE)
