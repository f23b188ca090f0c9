"""A block's filter: which tokens it has for certain not.

Six bits a token, of 10 to 20 bits a token in all: about one block in 1,000 is opened in vain. The
size is a power of two, so that a search finds a bit's byte by masking, whatever the block's size,
and fetches that byte alone (``get_byte(substr(bloom, ..), 0)``; the column is stored uncompressed
for that).

The places of a token are part of what is stored: changing them needs a new column. A filter is made
in :mod:`.checksums`, by arrays; here is what a search asks it. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

PROBES: Final = 6
LEAST_BITS_A_TOKEN: Final = 10
LEAST_BYTES: Final = 32
# The first place is the low bits of the checksum, the distance to the next its high bits.
STEP_SHIFT: Final = 15


def size_for(tokens: int) -> int:
    """Return the bytes of a filter of so many tokens."""
    size = LEAST_BYTES
    while 8 * size < LEAST_BITS_A_TOKEN * tokens:
        size *= 2
    return size


class Probe(NamedTuple):
    """A bit: ``byte`` is to be masked by the filter's size less one."""

    byte: int
    bit: int


def probes(token: bytes) -> list[Probe]:
    """Return the bits that a filter with this token has."""
    return [Probe(place >> 3, 128 >> (place & 7)) for place in places(token)]


def places(token: bytes) -> list[int]:
    """Return the same bits as places, to be masked by the bits of a filter less one."""
    crc = crc32(token)
    step = crc >> STEP_SHIFT | 1
    return [crc + i * step for i in range(PROBES)]
