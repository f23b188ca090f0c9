"""How something is that several hosts look at: one verdict out of what each of them says. Pure.

Hosts that have no result say nothing: only where nobody has one is that the verdict. Of the others,
all must agree that something is up, and all that it is down; in between it is degraded, and the
reason says from where it is not reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outrider.probes.result import WELL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import Component

WORST_FIRST: Final = (
    "dead", "down", "silent", "expired", "unknown", "lagging", "degraded", "maintenance", "up",
)  # fmt: skip

_DOWN: Final = frozenset({"down", "dead"})
_NO_RESULT: Final = frozenset({"expired", "unknown", "silent"})
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing, put together from those who look at it."""

    kind: str
    name: str
    state: str
    since: datetime
    reason: str
    members: tuple[Component, ...]
    """The same thing as each host sees it."""

    @property
    def rank(self) -> int:
        """How bad it is: 0 is the worst."""
        return rank(self.state)


def rank(state: str) -> int:
    """Return how bad a state is, 0 the worst; a state of a later version counts as unknown."""
    return WORST_FIRST.index(state if state in WORST_FIRST else "unknown")


def verdicts(found: Sequence[Component]) -> list[Verdict]:
    """Return one verdict for each kind and name, in their order."""
    by_name: dict[tuple[str, str], list[Component]] = {}
    for component in found:
        by_name.setdefault((component.kind, component.name), []).append(component)
    return [verdict(by_name[key]) for key in sorted(by_name)]


def verdict(members: Sequence[Component]) -> Verdict:
    """Put together what each host says of one thing; ``members`` is not empty."""
    voting = [m for m in members if m.state not in _NO_RESULT] or list(members)
    states = {m.state for m in voting}
    worst = min(voting, key=lambda m: (rank(m.state), m.since, m.host))

    def concluded(state: str, since: datetime, reason: str) -> Verdict:
        return Verdict(worst.kind, worst.name, state, since, reason, tuple(members))

    if len(states) == 1 or states <= _DOWN:
        # It is so since the last of them says so.
        return concluded(
            worst.state, max(m.since for m in voting), worst.reason + _missing(members, voting)
        )
    ill = [m for m in voting if m.state not in WELL]
    if not ill:
        return concluded("maintenance", worst.since, worst.reason)
    since = min(m.since for m in ill)
    unreached = [m.host for m in ill if m.state in _DOWN]
    if not unreached:
        return concluded(worst.state, since, worst.reason)
    reason = f"not reachable from {_listed(unreached)}"
    return concluded("degraded", since, f"{reason}: {worst.reason}" if worst.reason else reason)


def _missing(members: Sequence[Component], voting: Sequence[Component]) -> str:
    silent = [m.host for m in members if m not in voting]
    if not silent:
        return ""
    return f"; {_listed(silent)} {'does' if len(silent) == 1 else 'do'} not say"


def _listed(hosts: Sequence[str]) -> str:
    more = len(hosts) - _MOST_NAMED
    return ", ".join(hosts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
