"""One line of the doctor: how it is, the fact, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Level = Literal["ok", "note", "warn", "bad"]


class Finding(NamedTuple):
    """A fact and its judgement."""

    level: Level
    """ok; note: worth knowing, nothing is wrong; warn: it works, but not as it should or not for
    long; bad: something does not work."""
    part: str
    fact: str
    what_to_do: str = ""

    @property
    def line(self) -> str:
        """``bad   database: cannot be reached: start it``, as people read it."""
        said = ": ".join(part for part in (self.part, self.fact, self.what_to_do) if part)
        return f"{self.level:<4}  {said}"


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level of all."""
    levels = {finding.level for finding in findings}
    return "bad" if "bad" in levels else "warn" if "warn" in levels else "ok"
