"""What the looks of one minute come to: one record for each component, for history and charts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outrider.probes.result import Result

EVERY_S = 60.0
_GOOD = frozenset(("up", "degraded", "maintenance"))
_MOST = 600


@dataclass(slots=True)
class Minute:
    """The looks since the last record."""

    n: int = 0
    failed: int = 0
    took_ms: list[float] = field(default_factory=list)
    skew_ms: float | None = None

    def add(self, result: Result) -> None:
        """Count a look in."""
        self.n += 1
        self.failed += result.state not in _GOOD
        if result.took_ms and len(self.took_ms) < _MOST:
            self.took_ms.append(result.took_ms)
        skew = result.facts.get("skew_ms")
        if isinstance(skew, (int, float)):
            self.skew_ms = float(skew)

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
        if self.skew_ms is not None:
            found["skew_ms"] = round(self.skew_ms, 2)
        return found


def _at(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
