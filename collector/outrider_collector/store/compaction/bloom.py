"""A block's filter: which tokens it has for certain not.

Six bits a token, of 10 to 20 bits a token in all: about one block in 1,000 is opened in vain. The
size is a power of two, so that a search finds a bit's byte by masking, whatever the block's size,
and fetches that byte alone (``get_byte(substr(bloom, ..), 0)``; the column is stored uncompressed
for that).

The places of a token are part of what is stored: changing them needs a new column. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection

PROBES: Final = 6
LEAST_BITS_A_TOKEN: Final = 10
LEAST_BYTES: Final = 32
# The first place is the low bits of the checksum, the distance to the next its high bits.
_STEP_SHIFT: Final = 15


class Probe(NamedTuple):
    """A bit: ``byte`` is to be masked by the filter's size less one."""

    byte: int
    bit: int


def build(tokens: Collection[bytes]) -> bytes:
    """Return the filter that has exactly these tokens, and a few by accident."""
    size = LEAST_BYTES
    while 8 * size < LEAST_BITS_A_TOKEN * len(tokens):
        size *= 2
    # One digit a bit, unrolled, and one conversion at the end: a fourth of the time of setting bits
    # in bytes, and as fast as a compactor needs without a library for it.
    digits, mask = bytearray(b"0") * (8 * size), 8 * size - 1
    for crc in map(crc32, tokens):
        step = crc >> _STEP_SHIFT | 1
        place = crc & mask
        digits[place] = 49
        digits[place := place + step & mask] = 49
        digits[place := place + step & mask] = 49
        digits[place := place + step & mask] = 49
        digits[place := place + step & mask] = 49
        digits[place + step & mask] = 49
    return int(digits, 2).to_bytes(size)


def probes(token: bytes) -> list[Probe]:
    """Return the bits that a filter with this token has."""
    crc = crc32(token)
    step = crc >> _STEP_SHIFT | 1
    places = [crc + i * step for i in range(PROBES)]
    return [Probe(place >> 3, 128 >> (place & 7)) for place in places]


def has(bits: bytes, token: bytes) -> bool:
    """Tell whether the filter can have the token."""
    return all(bits[probe.byte & (len(bits) - 1)] & probe.bit for probe in probes(token))
