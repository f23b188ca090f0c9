"""What is looked at, a row each, however many hosts look at it. Pure.

Hosts that have no result say nothing: only where nobody has one is that the row's state. Of the
others, all must agree that something is up, and all that it is down; in between it is degraded,
and the row says from where it is not reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from outrider_collector.store.reading.availability import seen_from_all, uptime
from outrider_dashboard.charts.uptime import Bars, bars
from outrider_dashboard.filter_text import quoted
from outrider_dashboard.sentences import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import Component, Day, Uptime

WORST_FIRST = (
    "dead", "down", "silent", "expired", "unknown", "lagging", "degraded", "maintenance", "up",
)  # fmt: skip
WELL = frozenset({"up", "maintenance"})
"""Announced maintenance is nobody's fault."""

_MOST_LINKED = 8

_DOWN = frozenset({"down", "dead"})
_NO_RESULT = frozenset({"expired", "unknown", "silent"})

Key = tuple[str, str]
"""Kind and component, as ``system_health`` names it."""


@dataclass(frozen=True)
class Verdict:
    """How something is, put together from those who look at it."""

    state: str
    since: datetime
    reason: str


@dataclass(frozen=True)
class Row:
    """One thing that is looked at."""

    kind: str
    name: str
    state: str
    since: datetime | None
    """None: since when is not known."""
    reason: str
    href: str = ""
    members: tuple[Component, ...] = ()
    """The same thing as each host sees it."""
    uptime: Uptime | None = None
    """None: nobody ever measured it."""

    @property
    def bars(self) -> Bars | None:
        """Its ninety days, drawn."""
        return bars(self.uptime.days) if self.uptime else None

    @property
    def incidents(self) -> list[Day]:
        """Days on which it was not only up, newest first."""
        days = self.uptime.days if self.uptime else ()
        return [d for d in reversed(days) if d.degraded_ms or d.down_ms or d.maintenance_ms]

    @property
    def rank(self) -> int:
        """How bad it is: 0 is the worst."""
        return WORST_FIRST.index(self.state) if self.state in WORST_FIRST else 4


def rows(found: Sequence[Component], uptimes: Mapping[Key, Uptime]) -> list[Row]:
    """Return a row for each kind and name, in the order of their names."""
    by_name: dict[Key, list[Component]] = {}
    for component in found:
        by_name.setdefault((component.kind, component.name), []).append(component)
    return [_row(kind, name, same, uptimes) for (kind, name), same in sorted(by_name.items())]


def _row(kind: str, name: str, members: Sequence[Component], uptimes: Mapping[Key, Uptime]) -> Row:
    # Two agents of one host are two hosts of one name: their states are merged all the same.
    verdict = merged(members)
    measured = [u for m in members if (u := uptimes.get((kind, m.component))) is not None]
    return Row(
        kind=kind,
        name=name,
        state=verdict.state,
        since=verdict.since,
        reason=verdict.reason,
        href=_href(kind, name, members),
        members=tuple(members),
        uptime=_together(kind, name, measured),
    )


def _href(kind: str, name: str, members: Sequence[Component]) -> str:
    """Return where more is to be seen: a host's workers, a probe's changes of state."""
    if kind == "agent":
        return "/workers?" + urlencode({"host": name})
    seen = " OR ".join(quoted(m.component) for m in members[:_MOST_LINKED])
    query = f"event:health.changed attributes.component:({seen})"
    return "/logs?" + urlencode({"q": query, "range": "7d"})


def _together(kind: str, name: str, measured: Sequence[Uptime]) -> Uptime | None:
    if len(measured) < 2:
        return measured[0] if measured else None
    days = seen_from_all([one.days for one in measured])
    return uptime(kind, name, days, measured[0].target)


def merged(members: Sequence[Component]) -> Verdict:
    """Put together what each host says of one thing."""
    voting = [m for m in members if m.state not in _NO_RESULT] or list(members)
    states = {m.state for m in voting}
    worst = min(voting, key=lambda m: (_rank(m.state), m.since, m.host))
    if len(states) == 1 or states <= _DOWN:
        # It is so since the last of them says so.
        since = max(m.since for m in voting)
        return Verdict(worst.state, since, worst.reason + _missing(members, voting))
    ill = [m for m in voting if m.state not in WELL]
    if not ill:
        return Verdict("maintenance", worst.since, worst.reason)
    since = min(m.since for m in ill)
    unreached = [m.host for m in ill if m.state in _DOWN]
    if not unreached:
        return Verdict(worst.state, since, worst.reason)
    reason = f"not reachable from {listed(unreached[:4])}"
    return Verdict("degraded", since, f"{reason}: {worst.reason}" if worst.reason else reason)


def _missing(members: Sequence[Component], voting: Sequence[Component]) -> str:
    silent = [m.host for m in members if m not in voting]
    return f"; {listed(silent[:4])} does not say" if len(silent) == 1 else ""


def _rank(state: str) -> int:
    return WORST_FIRST.index(state) if state in WORST_FIRST else 4
