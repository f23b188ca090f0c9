"""Clock skew: a dot on a line of half a second to either side, with the band that is tolerated."""

from __future__ import annotations

WIDTH, HEIGHT = 88, 12
REACH_MS = 500
"""What lies beyond is drawn at the end of the line; the number beside it says how far."""


def place(skew_ms: float) -> float:
    """Return where an offset stands on the line, from its left end."""
    share = (min(REACH_MS, max(-REACH_MS, skew_ms)) + REACH_MS) / (2 * REACH_MS)
    return round(4 + share * (WIDTH - 8), 2)
