"""Hits: how often a filter matched, by key and second; stored with the records they count.

They are counted batch by batch (:mod:`.counting`) and merged for a transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting.episodes import Key  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_KEYS: Final = 1_000
"""Values of ``by`` of one filter in one batch, and again in one transaction; the records of all
further ones are one hit (a second)."""

MAX_NAMES: Final = 10
"""Records that a hit names."""

Numbers = tuple[float, float, float, float]
"""Sum, lowest, highest and last of the numbers that records carry."""


class Hit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many records of one batch matched one filter, for one key and one second."""

    hits_key: bytes
    key: Key
    """Values of the rule's ``by``, in its order (absent: ""); ``()`` for the overflow hit."""
    overflow: bool = False
    bucket_us: int
    """Start of the second, microseconds since 2000."""
    n: int
    time_replaced: bool = False
    """True: the event times were absurd and the observed times were taken."""
    names: tuple[tuple[int, int], ...] = ()
    """(stream, offset) of the first records, at most 10."""
    numbers: Numbers | None = None
    """Where they are asked."""


def merge_hits(found: Iterable[Hit], limit: int = MAX_KEYS) -> list[Hit]:
    """Return one hit for each (filter, key, second), at most ``limit`` keys of each filter.

    The hits of further keys are summed into one overflow hit for each filter and second.
    """
    keys: dict[bytes, set[Key]] = {}
    sums: dict[tuple[bytes, Key, bool, int, bool], Hit] = {}
    for hit in found:
        key, overflow = hit.key, hit.overflow
        if not overflow:
            seen = keys.setdefault(hit.hits_key, set())
            if key not in seen and len(seen) >= limit:
                key, overflow = (), True
            else:
                seen.add(key)
        place = (hit.hits_key, key, overflow, hit.bucket_us, hit.time_replaced)
        known = sums.get(place)
        sums[place] = msgspec.structs.replace(
            hit,
            key=key,
            overflow=overflow,
            n=hit.n + (known.n if known else 0),
            names=((known.names if known else ()) + hit.names)[:MAX_NAMES],
            numbers=_with_numbers(known.numbers if known else None, hit.numbers),
        )
    return list(sums.values())


def _with_numbers(known: Numbers | None, new: Numbers | None) -> Numbers | None:
    """Return sum, lowest, highest and last of both; the new ones come later."""
    if known is None or new is None:
        return known or new
    return known[0] + new[0], min(known[1], new[1]), max(known[2], new[2]), new[3]
