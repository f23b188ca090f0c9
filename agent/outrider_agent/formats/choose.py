"""Choosing a file's format by some of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_agent.formats.table import FORMATS, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.times import TimeReader

_FIRST_LINES = 32
_LAST_LINES = 16
# Among so many at either end plain lines are looked for: a run of JSON costs little.
_SEARCHED_LINES = 128


def sample(lines: Sequence[bytes]) -> list[str]:
    """Return the lines that decide: of many the first 32 and the last 16, and no JSON.

    The last ones, because a format often begins after a banner or a traceback.
    """
    if len(lines) > 2 * _SEARCHED_LINES:
        lines = [*lines[:_SEARCHED_LINES], *lines[-_SEARCHED_LINES:]]
    plain = [line for line in lines if not line.startswith(b"{")]
    if len(plain) > _FIRST_LINES + _LAST_LINES:
        plain[_FIRST_LINES:-_LAST_LINES] = []
    return [line.decode("utf-8", "replace") for line in plain]


def choose(lines: Sequence[str], times: TimeReader, observed_us: int) -> Format | None:
    """Return the format that fits most of ``lines``; None for none.

    The earlier, more particular entry is chosen where it fits at least three quarters of what the
    best does: a banner often fits a general format, and so do all lines of a particular one.

    A line with a time that can be read is seldom in its format by chance, so one is enough, and
    weighs as much as all that fit a format without times; such a format must fit a quarter of the
    lines (what follows the first line of a traceback is in no format).
    """
    weights: list[tuple[int, Format]] = []
    for entry in FORMATS.values():
        fits = [p for line in lines if (p := entry.parse(line, times, observed_us)) is not None]
        timed = sum(parsed.ts_us is not None for parsed in fits)
        if not timed and len(fits) * 4 < len(lines):
            continue
        if fits:
            weights.append((timed * len(lines) + len(fits), entry))
    best = max((weight for weight, _ in weights), default=0)
    return next((entry for weight, entry in weights if weight * 4 >= best * 3), None)
