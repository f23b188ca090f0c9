"""The kinds of probes that a collector runs, each loaded when one is configured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from outrider.probes import spec
from outrider_protos.probe_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outrider.configuration import Source


def read(
    tables: Sequence[Mapping[str, Any]], allowed: Sequence[str], source: Source, own_url: str
) -> tuple[spec.Spec[Any], ...]:
    """Read ``[[collector.probe]]``; a canary is among them unasked. Raises ConfigError."""
    kinds: dict[str, Callable[[], spec.Kind[Any]]] = {
        **KINDS,
        "postgres": partial(_postgres, own_url),
        "canary": partial(_canary, own_url),
    }
    if not any(table.get("kind") == "canary" for table in tables):
        tables = [*tables, {"kind": "canary"}]
    return spec.read(tables, source, ("collector", "probe"), kinds, allowed=allowed)


def _postgres(own_url: str) -> spec.Kind[Any]:
    from outrider_collector.store import database_probe  # noqa: PLC0415

    return database_probe.kind(own_url)


def _canary(own_url: str) -> spec.Kind[Any]:
    from outrider_collector import canary_probe  # noqa: PLC0415

    return canary_probe.kind(own_url)
