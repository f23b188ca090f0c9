"""Lanes: intervals on one time axis (states of a day, what an alert did). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_dashboard.charts.scale import TimeScale

_LEAST_PERCENT = 0.25
"""An interval is never narrower: what happened must be seen."""

_LETTER_PERCENT = 1.15
"""Room one letter takes on the narrowest of the wide pages; a word without room is left out."""


@dataclass(frozen=True)
class Interval:
    """One interval of a lane in percent of the width."""

    x: float
    width: float
    state: str
    labelled: bool


def intervals(
    changes: Sequence[tuple[datetime, str]], scale: TimeScale, before: str = "unknown"
) -> tuple[Interval, ...]:
    """Turn changes of state (ascending) into intervals that fill the range.

    ``before`` is the state at the left edge when the first change lies inside the range; an
    unknown is an interval too, so that the page can hatch it.
    """
    state, since = before, scale.start
    spans: list[tuple[datetime, datetime, str]] = []
    for at, new in changes:
        if at <= scale.start:
            state = new
            continue
        if at >= scale.end:
            break
        if new != state:
            spans.append((since, at, state))
            state, since = new, at
    spans.append((since, scale.end, state))
    return tuple(_interval(a, b, s, scale) for a, b, s in spans)


def _interval(start: datetime, end: datetime, state: str, scale: TimeScale) -> Interval:
    x = scale.percent(start)
    width = max(_LEAST_PERCENT, round(scale.percent(end) - x, 3))
    return Interval(min(x, 100 - width), width, state, width >= _LETTER_PERCENT * len(state) + 1)
