"""Collects figures and writes them to bench/results.json, a list of named measurements."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

PATH = Path(__file__).with_name("results.json")


@dataclass(slots=True)
class Results:
    """Name -> unit and the values of each run."""

    values: dict[str, tuple[str, list[float]]] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    """How many records are behind a figure, where its value depends on that."""

    def add(self, name: str, value: float, unit: str, records: int | None = None) -> None:
        """Record one run's value of a figure."""
        self.values.setdefault(name, (unit, []))[1].append(value)
        if records is not None:
            self.records[name] = records

    def median(self, name: str) -> float:
        """The median over the runs so far."""
        return statistics.median(self.values[name][1])

    def write(self) -> None:
        """Write all figures, medians as ``value``; those of shapes not run now stay."""
        before = json.loads(PATH.read_text()) if PATH.exists() else []
        rows = [row for row in before if row["name"] not in self.values]
        rows += [
            {
                "name": name,
                "value": round(statistics.median(values), 4),
                "unit": unit,
                "min": round(min(values), 4),
                "max": round(max(values), 4),
                "runs": len(values),
                **({"records": self.records[name]} if name in self.records else {}),
            }
            for name, (unit, values) in self.values.items()
        ]
        PATH.write_text(json.dumps(rows, indent=1) + "\n")

    def table(self) -> str:
        """The figures as aligned text."""
        width = max(map(len, self.values), default=0)
        return "\n".join(
            f"{name:<{width}}  {statistics.median(values):>14,.2f} {unit:<12}"
            f" min {min(values):,.2f}  max {max(values):,.2f}  runs {len(values)}"
            for name, (unit, values) in self.values.items()
        )
