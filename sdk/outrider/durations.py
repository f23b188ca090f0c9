"""Lengths of time as configuration and rules write them: ``250ms``, ``30s``, ``5m``, ``1h30m``."""

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
