"""Figures in the text format 0.0.4 of Prometheus, which everything that scrapes can read. Pure.

    # HELP outrider_collector_commits_total Transactions that stored batches.
    # TYPE outrider_collector_commits_total counter
    outrider_collector_commits_total 184

Names follow that world's conventions: a prefix that says whose figure it is, base units (seconds,
bytes), ``_total`` at the end of what only grows. Values of labels may come from outside (the name
of a channel): they are escaped, and cut so that no scrape grows by them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABEL_CHARACTERS = 200
"""A longer value of a label is cut."""
SERIES_MAX = 1_000
"""Label sets of one family; further ones are left out, because each is stored for ever there."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

Kind = Literal["counter", "gauge", "summary"]


@dataclass(slots=True)
class Family:
    """All series of one name. Raises ValueError for a name that scrapers would refuse."""

    name: str
    kind: Kind
    help: str
    """What is counted and in which unit, in one sentence."""
    _lines: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a metric")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(f"{self.name}: `_total` ends the name of a counter and no other")

    def add(self, value: float, suffix: str = "", **labels: str) -> Family:
        """Add one series and return the family; the same labels again replace it.

        ``suffix`` is ``_sum`` or ``_count`` of a summary.
        """
        series = f"{self.name}{suffix}{_labels(labels)}"
        if series in self._lines or len(self._lines) < SERIES_MAX:
            self._lines[series] = value
        return self

    def lines(self) -> Iterable[str]:
        """Return the lines of the format; none for a family without series."""
        if not self._lines:
            return []
        head = [f"# HELP {self.name} {_escaped(self.help)}", f"# TYPE {self.name} {self.kind}"]
        return head + [f"{series} {_number(value)}" for series, value in self._lines.items()]


def exposition(families: Iterable[Family]) -> bytes:
    """Return the body of an answer to a scrape."""
    lines = [line for family in families for line in family.lines()]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _labels(labels: dict[str, str]) -> str:
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a label")
    pairs = [
        f'{name}="{_escaped(value[:LABEL_CHARACTERS]).replace(chr(34), chr(92) + chr(34))}"'
        for name, value in labels.items()
    ]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
