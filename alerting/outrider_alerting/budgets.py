"""What a rule may cost, and when it has cost too much.

Time beyond what is allowed for the work is a debt. A tenth of the time that passes is taken off it,
so a rule may always take that much; who is more than ``LIMIT_S`` in debt has taken more for long
and is *overspent*. A burst that is over is forgiven, and so is a machine that is slow for a moment:
one entry counts for ``ENTRY_MAX_S`` at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

DRAIN: Final = 0.1
"""Of the time, what everybody may take beyond what is allowed for the work."""
LIMIT_S: Final = 3.0
ENTRY_MAX_S: Final = 1.0

_K = TypeVar("_K", bound="Hashable")


class Overspent(NamedTuple):
    """What was taken since the debt began."""

    spent_s: float
    within_s: float

    @property
    def share_pct(self) -> int:
        """Of the time that passed, at most 100."""
        return min(100, round(100 * self.spent_s / self._passed_s))

    @property
    def _passed_s(self) -> float:
        return max(self.within_s, self.spent_s)

    def words(self, what: str, whose: str) -> str:
        """Say what took so much of whose time: "its filter", "a collector's"."""
        return (
            f"{what} took {self.share_pct} % of {whose} time, "
            f"{self.spent_s:.1f} s of {self._passed_s:.1f} s"
        )


@dataclass(slots=True)
class _Debt:
    since_s: float
    at_s: float
    owed_s: float = 0.0
    spent_s: float = 0.0


class Budgets(Generic[_K]):
    """Debts by whatever costs. Only who is in debt takes room."""

    def __init__(self) -> None:
        self._debts: dict[_K, _Debt] = {}

    def __len__(self) -> int:
        """How many are in debt."""
        return len(self._debts)

    def spend(self, who: _K, cost_s: float, *, allowed_s: float, now_s: float) -> Overspent | None:
        """Enter what something cost up to ``now_s``; return what it took if that is too much."""
        debt = self._debts.get(who)
        if debt is None:
            if cost_s <= allowed_s:
                return None
            debt = self._debts[who] = _Debt(now_s - cost_s, now_s - cost_s)
        drained_s = debt.owed_s - DRAIN * (now_s - debt.at_s)
        debt.owed_s = max(0.0, drained_s) + min(cost_s, ENTRY_MAX_S) - allowed_s
        debt.spent_s += cost_s
        debt.at_s = now_s
        if debt.owed_s <= 0:
            del self._debts[who]
        elif debt.owed_s > LIMIT_S:
            return Overspent(debt.spent_s, now_s - debt.since_s)
        return None
