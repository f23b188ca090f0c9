"""Scales: round tops of axes, positions in time, labels of ticks. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime


def ceiling(value: float) -> float:
    """Return the least number of two significant digits that is not below ``value``.

    The top of an axis: close enough that the highest bar nearly touches it, round enough to read.
    """
    if value <= 1 or not math.isfinite(value):
        return 1.0
    exponent = math.floor(math.log10(value)) - 1
    unit = 10.0**exponent
    top = math.ceil(value / unit - 1e-9) * unit
    return round(top, max(0, -exponent))


def number(value: float) -> str:
    """Write a coordinate: at most two decimals, no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@dataclass(frozen=True)
class Tick:
    """A label on a time axis: where it stands (percent of the width) and how it is anchored."""

    percent: float
    label: str
    anchor: str


@dataclass(frozen=True)
class TimeScale:
    """Maps moments between ``start`` and ``end`` to 0 .. 100 percent, clamped."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """The length of the range; never zero, so that it can divide."""
        return max(1e-6, (self.end - self.start).total_seconds())

    def percent(self, moment: datetime) -> float:
        """Return the position of a moment, clamped to the range."""
        share = (moment - self.start).total_seconds() / self.seconds
        return round(min(1.0, max(0.0, share)) * 100, 3)

    def ticks(self, parts: int, write: Callable[[datetime], str]) -> tuple[Tick, ...]:
        """Return ``parts`` + 1 labels that divide the range evenly; the ends stay inside."""
        step = timedelta(seconds=self.seconds / parts)
        anchors = ["start", *["middle"] * (parts - 1), "end"]
        return tuple(
            Tick(round(100 * i / parts, 3), write(self.start + i * step), anchors[i])
            for i in range(parts + 1)
        )


def merged(values: Sequence[int], parts: int) -> list[int]:
    """Sum neighbours so that about ``parts`` values remain (narrow screens draw fewer bars)."""
    if parts <= 0 or len(values) <= parts:
        return list(values)
    size = math.ceil(len(values) / parts)
    return [sum(values[i : i + size]) for i in range(0, len(values), size)]
