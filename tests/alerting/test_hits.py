"""Hits of a transaction: merged, limited in keys and names, all of them counted."""

from __future__ import annotations

from outrider_alerting.hits import MAX_NAMES, Hit, merge_hits


def test_a_transaction_has_a_limited_number_of_keys() -> None:
    """Beyond the limit hits are summed into one overflow hit a second; nothing is uncounted."""
    found = [
        Hit(hits_key=b"r", key=(f"k{n % 5}",), bucket_us=n % 2, n=1, names=((1, n),))
        for n in range(100)
    ]
    merged = merge_hits(found, limit=3)

    assert sum(hit.n for hit in merged) == 100
    assert {hit.key for hit in merged if not hit.overflow} == {("k0",), ("k1",), ("k2",)}
    over = [hit for hit in merged if hit.overflow]
    assert [(hit.key, hit.n) for hit in over] == [((), 20), ((), 20)]
    assert all(len(hit.names) <= MAX_NAMES for hit in merged)
