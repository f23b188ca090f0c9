"""The filters of some hundred blocks, turned round: what a search for a rare word reads.

A filter answers for one block, and each of its bits lies in another page: a word that is looked for
in 38,000 blocks costs two fetches a block, all of them random reads where nothing is in memory. A
*sheet* holds the filters of up to 512 blocks of one day, class and team as the columns of a matrix,
row by row. A row (a *slice*) is one place of the filters: a bit for each block, 64 bytes for 512. A
token's six places are six slices, and what is in all of them are the blocks that can have it. So
the same word costs six short reads for 512 blocks.

::

    filter of block 0   0 1 0 0 1 ..        slice of place 0   0 1 1 ..   one bit a block
    filter of block 1   1 1 0 1 0 ..  --->  slice of place 1   1 1 0 ..
    filter of block 2   1 0 0 1 1 ..        slice of place 2   0 0 0 ..

Filters of one sheet have one size, because a token's place depends on it (:mod:`.bloom`). Slices
follow one another in the order of places; bits begin with a byte's highest, as everywhere here; the
last byte of a slice is filled with zeros. The value is as large as its filters together, at most
16 MiB, and stored uncompressed, so that a slice alone is fetched by ``substr``. Changing any of it
needs a new table.

A sheet leaves out and never finds: a block is passed over only where a sheet names it (``ids``) and
lacks a bit for it. Any other block is asked by its own filter, which stays in its row and is the
truth: blocks that are newer than the newest sheet, those with a larger filter, those of before
there were ids. A block never changes; who rewrites one makes another, with another id, and the old
one matches nothing any more. So no sheet must ever be written again, and one that is missing costs
time only.

Pure.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_BLOCKS: Final = 512
MOST_FILTER_BYTES: Final = 32 * 1024
"""Larger filters are few, and are asked one by one: a sheet is held in memory when it is made."""


def slice_bytes(blocks: int) -> int:
    """Return the bytes of a slice of so many blocks."""
    return (blocks + 7) // 8


def in_all(slices: Sequence[bytes]) -> bytes:
    """Return the bits of the blocks that are in all of one or more slices."""
    both = reduce(int.__and__, (int.from_bytes(each) for each in slices))
    return both.to_bytes(len(slices[0]))


def has_every_block(bits: bytes, blocks: int) -> bool:
    """Tell whether a slice has all of its blocks: it leaves out none."""
    return int.from_bytes(bits).bit_count() == blocks


def pieces(count: int, least: int) -> Iterator[slice]:
    """Yield which of so many blocks go into each sheet: at least ``least`` into every one."""
    for first in range(0, count, MOST_BLOCKS):
        if count - first >= least:
            yield slice(first, min(first + MOST_BLOCKS, count))
