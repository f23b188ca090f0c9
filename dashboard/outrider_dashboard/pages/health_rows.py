"""What is looked at, a row each, however many hosts look at it: state, and ninety days. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from outrider_collector.store.reading.availability import seen_from_all, uptime
from outrider_collector.store.reading.verdicts import rank, verdicts
from outrider_dashboard.charts.uptime import Bars, bars
from outrider_dashboard.filter_text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import Component, Day, Uptime
    from outrider_collector.store.reading.verdicts import Verdict

_MOST_LINKED = 8

Key = tuple[str, str]
"""Kind and component, as ``system_health`` names it."""


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
        return rank(self.state)


def rows(found: Sequence[Component], uptimes: Mapping[Key, Uptime]) -> list[Row]:
    """Return a row for each kind and name, in the order of their names."""
    return [_row(one, uptimes) for one in verdicts(found)]


def _row(one: Verdict, uptimes: Mapping[Key, Uptime]) -> Row:
    measured = [u for m in one.members if (u := uptimes.get((one.kind, m.component))) is not None]
    return Row(
        kind=one.kind,
        name=one.name,
        state=one.state,
        since=one.since,
        reason=one.reason,
        href=_href(one.kind, one.name, one.members),
        members=one.members,
        uptime=_together(one.kind, one.name, measured),
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
