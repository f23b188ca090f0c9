"""What one collector complains of: since when commits fail, why, and when to say so again. Pure.

A database that is full, read-only or away fails every commit, and each is tried again within two
seconds. So the first failure is told and then one after ``AGAIN_S``, twice that, four times that:
who reads the log next week finds the beginning, and is not buried. Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from outrider.errors import Fault

AGAIN_S: Final = 30.0
"""The second telling comes so long after the first; each further wait is twice the one before."""

_KNOWN: Final = {
    "25006": ("the database is read-only", "name its primary in [database], or make it writable"),
    "42501": ("the database refused for lack of a grant", "run 'outrider store migrate' as owner"),
    "53100": ("no space left on device", "free room on the database's disk"),
    "53200": ("the database is out of memory", "give its host more"),
    "53300": ("the database has no connection left", "raise its max_connections"),
}
"""By SQLSTATE, what helps; Postgres's own words name files that nobody has to look at."""


@dataclass(slots=True)
class Complaint:
    """Commits that failed one after another."""

    sqlstate: str = ""
    """Of the last failure; empty where the server named none, or nothing fails."""
    reason: str = ""
    """What is the matter and what to do: ``no space left on device: free room on ...``."""
    _since_s: float | None = None
    _say_at_s: float = 0.0
    _wait_s: float = AGAIN_S

    def failed(self, fault: Fault, now_s: float) -> str:
        """Note a failure; return what to tell about it, empty while it is too early to repeat."""
        self.sqlstate = str(fault.metadata.get("sqlstate", ""))
        known = _KNOWN.get(self.sqlstate)
        self.reason = ": ".join(known) if known else fault.text
        if self._since_s is None:
            self._since_s, self._wait_s = now_s, AGAIN_S
            self._say_at_s = now_s + AGAIN_S
            return f"commits fail: {self.reason}: agents keep what they hold"
        if now_s < self._say_at_s:
            return ""
        self._wait_s *= 2
        self._say_at_s = now_s + self._wait_s
        return f"commits fail for {self.failing_for_s(now_s):.0f} s: {self.reason}"

    def over(self, now_s: float) -> str:
        """Note that nothing fails any more; return what to tell, empty where nothing failed."""
        if self._since_s is None:
            return ""
        told = f"commits succeed again, after {self.failing_for_s(now_s):.0f} s"
        self._since_s, self.sqlstate, self.reason = None, "", ""
        return told

    def failing_for_s(self, now_s: float) -> float:
        """Return for how long every commit has failed; 0 where none does."""
        return 0.0 if self._since_s is None else now_s - self._since_s

    def status(self, now_s: float) -> dict[str, Any]:
        """Return it for the collector's row, where all who read the store find it."""
        return {
            "failing_for_s": round(self.failing_for_s(now_s), 1),
            "failing_reason": self.reason[:500],
            "failing_sqlstate": self.sqlstate,
        }
