"""A compacted block's roll-up: how many records of each level every minute of it has.

Where a bucket's edge lies in a block, its minutes are shared out here: Postgres takes many times as
long to take an array apart. The roll-up has six counts for each minute, from the one of the block's
first record to the one of its last. Pure.

A roll-up is added as one number: ``array_send`` writes each count as its size (4 bytes: 2) and its
value (2 bytes), so it is an integer whose digits have 48 bits, and so are sums of them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

LEVELS: Final = 6
_MINUTE: Final = timedelta(minutes=1)
_HEADER_BYTES: Final = 20
"""Of an array of one dimension, as ``array_send`` writes it: before its elements."""
_COUNT_BYTES: Final = 6
_MINUTE_BYTES: Final = LEVELS * _COUNT_BYTES
_PART: Final = 16
"""Minutes: roll-ups that end in the same ones are summed as one number."""


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
        self._sums: defaultdict[int, int] = defaultdict(int)
        """By the number of the part that begins where the sum's last digits end."""

    def add(self, first: datetime, sent: bytes) -> None:
        """Add the roll-up of a block whose first record is of ``first``, as ``array_send`` has it.

        Thousands of blocks are added for one picture.
        """
        minutes = (len(sent) - _HEADER_BYTES) // _MINUTE_BYTES
        end = (first - self._origin) // _MINUTE + minutes
        part = -(-end // _PART)
        counts = int.from_bytes(sent[_HEADER_BYTES:]) - _sizes(minutes)
        self._sums[part] += counts << 8 * _MINUTE_BYTES * (part * _PART - end)

    def by_begin(self) -> dict[datetime, list[int]]:
        """Return six counts for each bucket that has a minute, by when it begins."""
        sums: defaultdict[int, int] = defaultdict(int)
        for part, counts in self._sums.items():
            minutes = -(-counts.bit_length() // (8 * _MINUTE_BYTES))
            digits = counts.to_bytes(minutes * _MINUTE_BYTES)
            for place in range(minutes):
                minute = part * _PART - minutes + place
                if self._low <= minute < self._high:
                    begin = place * _MINUTE_BYTES
                    of_minute = int.from_bytes(digits[begin : begin + _MINUTE_BYTES])
                    sums[minute // self._width] += of_minute
        width = self._width * _MINUTE
        return {self._origin + bucket * width: _counts(of) for bucket, of in sums.items()}


@cache
def _sizes(minutes: int) -> int:
    """Return what a roll-up of so many minutes without records is as a number."""
    return int.from_bytes(b"\x00\x00\x00\x02\x00\x00" * LEVELS * minutes)


def _counts(number: int) -> list[int]:
    """Return the digits of a sum."""
    digits = number.to_bytes(_MINUTE_BYTES)
    return [
        int.from_bytes(digits[place : place + _COUNT_BYTES])
        for place in range(0, _MINUTE_BYTES, _COUNT_BYTES)
    ]
