"""Lengths of time: ``250ms``, ``5m``, ``1h30m`` in configuration, ``1 h 30 min`` to people.

People are told as much as decides: seconds, then minutes and seconds, then hours and minutes, then
days.
"""

from __future__ import annotations

import re
from typing import Final

UNITS_US: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}
"""Microseconds of each unit, the largest first."""

_TERM = re.compile(r"(\d{1,9})(ms|d|h|m|s)")


def microseconds(text: str) -> int:
    """Return the length in microseconds.

    Raises ValueError for anything but whole numbers with the units d, h, m, s, ms, largest first.
    """
    us, position, smallest = 0, 0, UNITS_US["d"] + 1
    for term in _TERM.finditer(text):
        unit_us = UNITS_US[term[2]]
        if term.start() != position or unit_us >= smallest:
            break
        us, position, smallest = us + int(term[1]) * unit_us, term.end(), unit_us
    if position != len(text) or not text:
        raise ValueError(f"`{text}` is not a duration, write it like 30s, 5m or 1h30m")
    return us


def said(seconds: float) -> str:
    """Say a length: ``33 s``, ``5 min``, ``22 min 17 s``, ``1 h``, ``3 h 05 min``, ``2 days``.

    What is left of the smaller unit is dropped; less than nothing is ``0 s``.
    """
    minutes, rest_s = divmod(max(0, int(seconds)), 60)
    if not minutes:
        return f"{rest_s} s"
    hours, rest_min = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    days = hours // 24
    if not days:
        return f"{hours} h {rest_min:02} min" if rest_min else f"{hours} h"
    return "1 day" if days == 1 else f"{days:,} days"
