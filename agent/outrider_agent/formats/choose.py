"""Choosing a file's format by its first lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_agent.formats.table import FORMATS, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.times import TimeReader

SAMPLE_LINES = 32
"""So many first lines decide."""


def choose(lines: Sequence[str], times: TimeReader, observed_us: int) -> Format | None:
    """Return the format that fits most of ``lines``, the earlier entry at a tie; None for none.

    A line with a time that can be read is seldom in its format by chance, so one is enough, and
    weighs as much as all that fit a format without times; such a format must fit a quarter of the
    lines (what follows the first line of a traceback is in no format).
    """
    sample = lines[:SAMPLE_LINES]
    best: tuple[int, Format] | None = None
    for entry in FORMATS.values():
        fits = [p for line in sample if (p := entry.parse(line, times, observed_us)) is not None]
        timed = sum(parsed.ts_us is not None for parsed in fits)
        if not timed and len(fits) * 4 < len(sample):
            continue
        weight = timed * SAMPLE_LINES + len(fits)
        if fits and (best is None or weight > best[0]):
            best = (weight, entry)
    return None if best is None else best[1]
