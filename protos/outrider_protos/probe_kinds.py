"""The kinds of probes that agents and collectors run alike, each loaded when one is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outrider.probes import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider.probes.spec import Kind


def _grpc() -> Kind[Any]:
    from outrider_protos.health_check import KIND  # noqa: PLC0415  loads gRPC

    return KIND


KINDS: Final[Mapping[str, Callable[[], Kind[Any]]]] = {**kinds.KINDS, "grpc": _grpc}
"""By name: those that need only Python, and gRPC's health service."""
