"""A compacted block's roll-up: how many records of each level every minute of it has.

Where a bucket's edge lies in a block, its minutes are shared out here: Postgres takes four times as
long to take an array apart. The roll-up has six counts for each minute, from the one of the block's
first record to the one of its last. Pure.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

LEVELS: Final = 6
_MINUTE: Final = timedelta(minutes=1)
_HEADER_BYTES: Final = 20
"""Of an array of one dimension, as ``array_send`` writes it: before its elements."""


class Shares:
    """Sums roll-ups by bucket; minutes outside [low, high) are left out.

    Buckets begin at ``origin`` and are ``width`` wide, in whole minutes, as are ``low`` and
    ``high``.
    """

    def __init__(self, low: datetime, high: datetime, origin: datetime, width: timedelta) -> None:
        self._origin = origin
        self._low = (low - origin) // _MINUTE
        self._high = (high - origin) // _MINUTE
        self._width = width // _MINUTE
        self._sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * LEVELS)

    def add(self, first: datetime, sent: bytes) -> None:
        """Add the roll-up of a block whose first record is of ``first``, as ``array_send`` has it.

        Thousands of blocks are added for one picture, so minutes are numbers here.
        """
        counts = counts_of(sent)
        begin = (first - self._origin) // _MINUTE
        place = max(self._low, begin)
        end = min(self._high, begin + len(counts) // LEVELS)
        while place < end:
            bucket = place // self._width
            next_place = min(end, (bucket + 1) * self._width)
            part = counts[LEVELS * (place - begin) : LEVELS * (next_place - begin)]
            sums = self._sums[bucket]
            for level in range(LEVELS):
                sums[level] += sum(part[level::LEVELS])
            place = next_place

    def by_begin(self) -> dict[datetime, list[int]]:
        """Return six counts for each bucket that has a minute, by when it begins."""
        width = self._width * _MINUTE
        return {self._origin + bucket * width: sums for bucket, sums in self._sums.items()}


def counts_of(sent: bytes) -> array[int]:
    """Return the elements of a smallint array as ``array_send`` writes it: each after its size."""
    words = array("H", sent[_HEADER_BYTES:])
    if sys.byteorder == "little":
        words.byteswap()
    return words[2::3]
