"""What is looked at: exchanges, databases, whatever a probe asks, and the hosts of agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Component:
    """One component as one host sees it now."""

    kind: str
    """exchange, database, probe, pipeline or agent."""
    component: str
    """As ``system_health`` names it: ``name@host``; an agent's is its id."""
    name: str
    """As a person calls it; an agent's is its host."""
    host: str
    """Where it is looked at from."""
    state: str
    """up, degraded, lagging, down, maintenance, expired, silent, dead, unknown or retired."""
    since: datetime
    reason: str
    checked_at: datetime | None
    """When its last report came; the last look was up to a minute before."""
    took_ms: float | None
    """How long the other side took then."""
    facts: Mapping[str, str | float]
    """What it measured: mode, decided_by, announced, rest_ms, skew_ms, tls_expires_us, ..."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the looks of one minute at one component, from one host, came to."""

    at: datetime
    kind: str
    name: str
    host: str
    n: int
    failed: int
    p95_ms: float | None
    """None: not one answered."""
