"""What one look at something gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["up", "degraded", "down", "maintenance", "unknown"]
"""``unknown``: it could not be looked at, which says nothing about it."""

Fact = str | int | float

WELL: Final = frozenset({"up", "maintenance"})
"""Announced maintenance is nobody's fault."""

MAX_TEXT_BYTES = 200
"""Of a reason, of a fact's name and of its value: what a heartbeat carries."""


@dataclass(frozen=True, slots=True)
class Result:
    """One look: the state it found and why, how long it took, and what was measured."""

    state: State
    reason: str
    """In a person's words, e.g. ``HTTP 503, expected 200``; of an ``up`` too."""
    took_ms: float = 0.0
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    """Names in snake_case with their unit (``tls_expires_us``); at most 32."""
