"""What the looks of one minute come to: one record for each component, for history and charts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outrider.probes.result import Result

EVERY_S = 60.0
MEASURED = ("skew_ms", "skew_used_pct", "tls_days", "free_pct")
"""Facts that the record has too, for gauge rules and charts."""
_GOOD = frozenset(("up", "degraded", "maintenance"))
_MOST = 600


@dataclass(slots=True)
class Minute:
    """The looks since the last record."""

    n: int = 0
    failed: int = 0
    took_ms: list[float] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    """The latest of each of :data:`MEASURED`."""

    def add(self, result: Result) -> None:
        """Count a look in."""
        self.n += 1
        self.failed += result.state not in _GOOD
        if result.took_ms and len(self.took_ms) < _MOST:
            self.took_ms.append(result.took_ms)
        for name in MEASURED:
            value = result.facts.get(name)
            if isinstance(value, (int, float)):
                self.measured[name] = float(value)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the record; what was not measured is left out."""
        found: dict[str, Any] = {"n": self.n, "failed": self.failed}
        if self.took_ms:
            ordered = sorted(self.took_ms)
            found |= {
                "p50_ms": round(_at(ordered, 0.50), 2),
                "p95_ms": round(_at(ordered, 0.95), 2),
                "max_ms": round(ordered[-1], 2),
            }
        return found | {name: round(value, 2) for name, value in self.measured.items()}


def _at(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]
