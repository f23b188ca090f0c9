"""The roll-up of a compacted block, shared out to buckets."""

from __future__ import annotations

import struct
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.store.reading.minutes import LEVELS, Shares

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sent(values: list[int]) -> bytes:
    """What Postgres sends of a smallint array of one dimension."""
    header = struct.pack(">iiiii", 1, 0, 21, len(values), 1)
    return header + b"".join(struct.pack(">ih", 2, value) for value in values)


def test_the_largest_counts_are_summed_over_many_blocks() -> None:
    """Each count stays its own, however large the sums become."""
    shares = Shares(NOON, NOON + MINUTE, NOON, MINUTE)
    for _ in range(1_000):
        shares.add(NOON, sent([0, 1, 255, 256, 4_000, 32_767]))
    assert shares.by_begin() == {NOON: [0, 1_000, 255_000, 256_000, 4_000_000, 32_767_000]}


@given(
    st.lists(st.lists(st.integers(0, 4_000), min_size=6, max_size=6), min_size=1, max_size=70),
    st.integers(-90, 90),
    st.integers(0, 59),
    st.integers(-100, 100),
    st.integers(0, 200),
    st.integers(1, 90),
)
def test_each_minute_counts_in_its_bucket_once(
    rows: list[list[int]], begin: int, second: int, low: int, length: int, width: int
) -> None:
    """Whatever the buckets, the shares are what counting minute by minute gives."""
    first = NOON + begin * MINUTE + timedelta(seconds=second)
    since, until = NOON + low * MINUTE, NOON + (low + length) * MINUTE
    wanted: Counter[tuple[datetime, int]] = Counter()
    for place, row in enumerate(rows):
        at = NOON + (begin + place) * MINUTE
        if since <= at < until:
            bucket = since + (at - since) // (width * MINUTE) * (width * MINUTE)
            for level in range(LEVELS):
                wanted[bucket, level] += row[level]

    shares = Shares(since, until, since, width * MINUTE)
    shares.add(first, sent([n for row in rows for n in row]))
    found = Counter(
        {
            (bucket, level): count
            for bucket, counts in shares.by_begin().items()
            for level, count in enumerate(counts)
        }
    )
    assert +found == +wanted
