"""Shedding: what a source gives up, and counts, when more of it waits than may.

A source can say how much of its files may wait to be read (``backlog_bytes``). Beyond that they are
sifted, the oldest file first, each from where it is read on, so far that half of the limit is left.
Sifting is reading as ever, only that records less severe than ``keep_severity`` are not sent (with
``drop_oldest``: none is). Records that name an event are kept: they tell of jobs, orders and audit.

The batch that moves the offset past what was dropped tells it, as a gap with the exact number by
severity. Both are in one transaction, so no crash loses a count or counts anything twice, and
nothing of it has to be remembered here.

Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from outrider import severity as severities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.records import Records

ALL = severities.MAXIMUM + 1
"""Every record is less severe than this."""


class Waiting(NamedTuple):
    """What of a file waits to be read."""

    mtime_ns: int
    position: int
    size: int


class Sieve(NamedTuple):
    """What is dropped of one file: records that begin before ``to`` and are below ``below``."""

    to: int = 0
    below: int = 0


@dataclass(slots=True)
class Shed:
    """What was dropped of one stream and is in no batch yet."""

    by_severity: Counter[int] = field(default_factory=Counter)
    size_bytes: int = 0
    """About so many of the bytes that were read belong to it."""
    from_us: int = 0
    to_us: int = 0
    """Earliest and latest of the dropped records' times."""

    @property
    def records(self) -> int:
        """How many records were dropped."""
        return self.by_severity.total()

    def add(self, severity: Sequence[int], ts_us: Sequence[int], size_bytes: int) -> None:
        """Count further records."""
        self.by_severity.update(severity)
        self.size_bytes += size_bytes
        first, last = min(ts_us), max(ts_us)
        self.from_us = min(self.from_us, first) if self.from_us else first
        self.to_us = max(self.to_us, last)

    def said(self) -> str:
        """Write the counts for people: ``1,204 INFO and 88,121 DEBUG``, the most severe first."""
        named: Counter[str] = Counter()
        for number in sorted(self.by_severity, reverse=True):
            named[severities.name(number)] += self.by_severity[number]
        return " and ".join(f"{count:,} {name}" for name, count in named.items())


def sieves(files: Sequence[Waiting], limit_bytes: int) -> list[int]:
    """Return up to which offset each file of a source is sifted; 0 for one that is not.

    Nothing is sifted while no more than ``limit_bytes`` wait in all.
    """
    waits = [max(0, file.size - file.position) for file in files]
    excess = sum(waits)
    offsets = [0] * len(files)
    if excess <= limit_bytes:
        return offsets
    excess -= limit_bytes // 2
    for index in sorted(range(len(files)), key=lambda index: files[index].mtime_ns):
        sifted = min(excess, waits[index])
        if sifted:
            offsets[index] = files[index].position + sifted
            excess -= sifted
    return offsets


class Sifter:
    """Sifts the records of one stream as they are read."""

    def __init__(self) -> None:
        self.sieve = Sieve()
        """May be replaced."""
        self.shed: Shed | None = None
        """What was dropped and is in no batch yet."""
        self.dropped = 0
        """Records dropped since this process follows the file, as far as that is stored."""
        self.gap_count = 0
        """Gaps that told of them."""
        self._told: deque[tuple[int, int]] = deque()
        """Ends of batches on their way, and how many records each passes over."""

    def sift(self, records: Records, end: int) -> Records:
        """Return the records that are kept; ``end`` is the offset after the last of them."""
        to, below = self.sieve
        keep = [
            start >= to or severity >= below or (event is not None and below < ALL)
            for start, severity, event in zip(
                records.stream_offset, records.severity, records.event, strict=True
            )
        ]
        dropped = keep.count(False)
        if not dropped:
            return records
        gone = records.chosen([not kept for kept in keep])
        if self.shed is None:
            self.shed = Shed()
        size_bytes = (end - records.stream_offset[0]) * dropped // len(keep)
        self.shed.add(gone.severity, gone.ts_us, size_bytes)
        return records.chosen(keep)

    def flush(self, end: int) -> Shed | None:
        """Take what was dropped, for the batch that ends at ``end``."""
        shed, self.shed = self.shed, None
        if shed is not None:
            self._told.append((end, shed.records))
        return shed

    def stored(self, committed: int) -> None:
        """Count what the batches up to ``committed`` told."""
        while self._told and self._told[0][0] <= committed:
            self.dropped += self._told.popleft()[1]
            self.gap_count += 1

    def go_back(self, committed: int) -> None:
        """Forget what is not stored: it is read, and may be kept, again."""
        self.stored(committed)
        self._told.clear()
        self.shed = None
