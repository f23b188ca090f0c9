"""How fast files that are behind may be read, so that an old backlog does not take the host.

Pure.
"""

from __future__ import annotations


class Backfill:
    """The rate at which files that are behind are read, all together. Times are monotonic."""

    def __init__(self, bytes_per_s: int = 0) -> None:
        self.bytes_per_s = bytes_per_s
        """0: as fast as it goes. May be replaced."""
        self._free_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long the next read must wait; 0 where it may be made now."""
        return max(0.0, self._free_at_s - now_s) if self.bytes_per_s else 0.0

    def took(self, size_bytes: int, now_s: float) -> None:
        """Count what was read."""
        if self.bytes_per_s:
            self._free_at_s = max(self._free_at_s, now_s) + size_bytes / self.bytes_per_s
