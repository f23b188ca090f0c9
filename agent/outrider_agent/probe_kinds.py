"""The kinds of probes that an agent runs, and what it says of those that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.probes import spec
from outrider.probes.kinds import KINDS

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
    kinds = {**KINDS, "grpc": grpc}
    path = ("agent", "probe")
    return spec.read(tables, source, path, kinds, allowed=allowed, elsewhere=_ELSEWHERE)


def grpc() -> spec.Kind[Any]:
    """Return the kind that asks the standard health service."""
    from outrider_protos.health_check import KIND  # noqa: PLC0415  loads gRPC

    return KIND
