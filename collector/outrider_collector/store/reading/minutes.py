"""A compacted block's roll-up: how many records of each level every minute of it has.

Where a bucket's edge lies in a block, its minutes are shared out here: Postgres takes four times as
long to take an array apart. The roll-up has six counts for each minute, from the one of the block's
first record to the one of its last. Pure.
"""

from __future__ import annotations

import sys
from array import array
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

LEVELS: Final = 6
_MINUTE: Final = timedelta(minutes=1)
_HEADER_BYTES: Final = 20
"""Of an array of one dimension, as ``array_send`` writes it: before its elements."""


def counts(sent: bytes) -> array[int]:
    """Return the counts of a roll-up as ``array_send`` writes it: each after its length of 2."""
    words = array("H", sent[_HEADER_BYTES:])
    if sys.byteorder == "little":
        words.byteswap()
    return words[2::3]


def shares(
    first: datetime,
    minute_counts: array[int],
    *,
    low: datetime,
    high: datetime,
    origin: datetime,
    width: timedelta,
) -> Iterator[tuple[datetime, list[int]]]:
    """Yield the bucket's begin and six counts for each bucket that the minutes lie in.

    ``first`` is the block's first time. Buckets begin at ``origin`` and are ``width`` wide, in
    whole minutes, as are ``low`` and ``high``: minutes outside [low, high) are left out.
    """
    begin = first.astimezone(UTC).replace(second=0, microsecond=0)
    minutes = len(minute_counts) // LEVELS
    place = max(0, (low - begin) // _MINUTE)
    end = min(minutes, (high - begin) // _MINUTE)
    while place < end:
        bucket = origin + (begin + place * _MINUTE - origin) // width * width
        next_place = min(end, (bucket + width - begin) // _MINUTE)
        part = minute_counts[LEVELS * place : LEVELS * next_place]
        yield bucket, [sum(part[level::LEVELS]) for level in range(LEVELS)]
        place = next_place
