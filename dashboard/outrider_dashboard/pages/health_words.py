"""What the health page says in words: its headline, and a state with its age. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.instants import from_us
from outrider.probes.result import WELL
from outrider_collector.store.reading.components import is_number
from outrider_collector.store.reading.verdicts import WORST_FIRST
from outrider_dashboard import numbers
from outrider_dashboard.sentences import Headline, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_dashboard.pages.health_rows import Row
    from outrider_dashboard.timing import Clock

_MOST_NAMED = 3
"""More of one state are counted, not named."""
_MOST_CLAUSES = 3

STATE_NAMES = {"expired": "without result"}
"""States that have another name where people read."""
_SAID = {"expired": ("gives no result", "give no result")}
"""States that a sentence says in other words than ``is`` and their name."""

_NOUNS = {
    "exchange": "exchange",
    "database": "database",
    "agent": "host",
    "collector": "collector",
    "channel": "channel",
}


def headline(found: Sequence[Row], clock: Clock) -> Headline:
    """Say what is not up, worst first; hosts are counted, everything else is named."""
    wrong = [row for row in found if row.state not in WELL]
    up = sum(row.state == "up" for row in found)
    closed = [row for row in found if row.state == "maintenance"]
    support = " ".join([*_rest(up, others=bool(wrong)), *(_closed(row, clock) for row in closed)])
    if not found:
        return Headline("Nothing is looked at yet", "No host and no probe has reported.")
    if not wrong:
        return Headline("Nothing is wrong", support)
    clauses = _clauses(wrong)
    if len(clauses) > _MOST_CLAUSES:
        count = numbers.word(len(wrong))
        return Headline(f"{count.capitalize()} components are not up", support)
    return Headline(listed(clauses), support)


def _clauses(wrong: Sequence[Row]) -> list[str]:
    clauses: list[str] = []
    for hosts in (False, True):
        for state in WORST_FIRST:
            same = [r for r in wrong if r.state == state and (r.kind == "agent") == hosts]
            if same:
                subject = _subject(same, named=not hosts, first=not clauses)
                clauses.append(f"{subject} {_verb(state, len(same))}")
    return clauses


def _subject(same: Sequence[Row], *, named: bool, first: bool) -> str:
    """Name or count; a name is written as it is, also at the beginning."""
    if named and len(same) <= _MOST_NAMED:
        return listed([row.name for row in same])
    kinds = {row.kind for row in same}
    noun = _NOUNS.get(same[0].kind, "component") if len(kinds) == 1 else "component"
    count = numbers.word(len(same))
    return f"{count.capitalize() if first else count} {noun}{'' if len(same) == 1 else 's'}"


def _verb(state: str, count: int) -> str:
    one, several = _SAID.get(state, (f"is {state}", f"are {state}"))
    return one if count == 1 else several


def _rest(up: int, *, others: bool) -> list[str]:
    if not up:
        return []
    if not others:
        return [f"{numbers.plural(up, 'component')} {'is' if up == 1 else 'are'} up."]
    return ["The other one is up." if up == 1 else f"The other {up:,} components are up."]


def _closed(row: Row, clock: Clock) -> str:
    until = closed_until(row)
    end = f" until {clock.minute(until)} {clock.zone_name}" if until else ""
    return f"{row.name} is closed for announced maintenance{end}."


def closed_until(row: Row) -> datetime | None:
    """Return the end that was announced, where one was."""
    said = [m.facts.get("announced_until_us") for m in row.members]
    ends = [int(value) for value in said if is_number(value)]
    return from_us(max(ends)) if ends else None


def word(row: Row, clock: Clock) -> str:
    """Write a row's state, with what decides: since when, or until when."""
    if row.state == "maintenance":
        until = closed_until(row)
        return f"closed to {clock.minute(until)}" if until else "maintenance"
    name = STATE_NAMES.get(row.state, row.state)
    if row.state == "up" or row.since is None:
        return name
    return f"{name} {clock.short_age(row.since)}"
