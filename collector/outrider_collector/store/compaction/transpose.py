"""Filters of blocks become the slices of a sheet, and slices become filters: bits turned round.

What a slice is says :mod:`.sheets`. Who makes a sheet or verifies one turns them; readers never do.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from outrider_collector.store.compaction.sheets import slice_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTES_AT_ONCE: Final = 2_048
"""Of each filter: their bits take eight times as much for a moment."""


def slices_of(filters: Sequence[bytes]) -> bytes:
    """Return the slices of filters that have one size, all in one."""
    rows = np.frombuffer(b"".join(filters), np.uint8).reshape(len(filters), -1)
    parts = []
    for first in range(0, rows.shape[1], _BYTES_AT_ONCE):
        bits = np.unpackbits(rows[:, first : first + _BYTES_AT_ONCE], axis=1)
        parts.append(np.packbits(bits, axis=0).T.tobytes())
    return b"".join(parts)


def filters_of(slices: bytes, blocks: int) -> list[bytes]:
    """Return the filters that these slices were made of."""
    rows = np.frombuffer(slices, np.uint8).reshape(-1, slice_bytes(blocks))
    parts = []
    for first in range(0, rows.shape[0], 8 * _BYTES_AT_ONCE):
        bits = np.unpackbits(rows[first : first + 8 * _BYTES_AT_ONCE], axis=1, count=blocks)
        parts.append(np.packbits(bits, axis=0).T)
    return [each.tobytes() for each in np.concatenate(parts, axis=1)]
