"""The checksums of all tokens of a block, by arrays: what its filter is made of.

A token's places in a filter follow from its CRC-32 alone (:mod:`.bloom`), so nothing here makes an
object for a token: runs are found as edges in the joined text, and checksums are computed for all
runs at once, one byte of each at a time. What is a token is said in :mod:`.tokens`; a property test
holds both equal. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from outrider_collector.store.compaction import bloom
from outrider_collector.store.compaction.tokens import WHOLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Checksums = NDArray[np.uint32]
    Places = NDArray[np.int64]

_WORD: Final = b"0123456789abcdefghijklmnopqrstuvwxyz_"
# Upper case becomes lower; all but words and dots becomes a space.
_TABLE: Final = bytes(
    ord(chr(i).lower()) if i < 128 and chr(i).lower().encode() in _WORD + b"." and i != 0
    else ord(".") if i == ord(".") else ord(" ")
    for i in range(256)
)  # fmt: skip
_BEHIND_ESCAPE: Final = re.compile(rb"\\[nrtbf]([0-9a-z_.]+)")
# Of the bytes that _TABLE leaves, the space and the dot are least; digits lack one bit.
_FIRST_OF_WORDS, _OF_LETTERS, _DOT = ord("0"), 0x40, ord(".")

_SHORT: Final = 8
_LONGEST_BY_ARRAY: Final = 64
"""Runs are seldom longer; one by one they cost less than a step of all for each of their bytes."""
_PADDING: Final = b" " * _SHORT
# The first so many bytes of a little-endian word; of a run that is longer, none.
_FIRST_BYTES: Final = np.array([*((1 << 8 * n) - 1 for n in range(_SHORT + 1)), 0], dtype="<u8")


def _crc_table() -> Checksums:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0xEDB88320) ^ (table >> 1), table >> 1)
    return table


_CRC: Final = _crc_table()
_START: Final = np.uint32(0xFFFFFFFF)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_SLOT_BITS: Final = 14
"""A table of so many slots stays in a processor's own cache."""
_BYTE, _EIGHT = np.uint32(255), np.uint32(8)


def of_columns(texts: Mapping[str, Sequence[bytes | None] | None]) -> Checksums:
    """Return the checksum of every token of some records, each once."""
    plain = list(filter(None, texts["message"] or ()))
    plain += _different(texts["event"])
    plain += _different(texts["error_code"])
    found = [of_texts(plain, filter(None, texts["attributes"] or ()))]
    for name in WHOLE_COLUMNS:
        begin = crc32(f"{name}=".encode())
        whole = _different(texts[name])
        if name == "trace_id":
            whole = {value.hex().encode() for value in whole}
        found.append(_array(crc32(value, begin) for value in whole))
    return unique(np.concatenate(found))


def of_texts(texts: Iterable[bytes], json: Iterable[bytes] = ()) -> Checksums:
    """Return the checksums of the tokens of texts, and of some that are JSON, with its escapes."""
    escaped = b" ".join(json)
    behind = _BEHIND_ESCAPE.findall(escaped.lower()) if b"\\" in escaped else []
    # A space is no part of a word: the texts cannot grow together.
    text = b" ".join([b"", *texts, escaped, *behind, _PADDING]).translate(_TABLE)
    letters = np.frombuffer(text, np.uint8)
    of_word = letters >= _FIRST_OF_WORDS
    edges = np.flatnonzero(of_word[1:] != of_word[:-1]) + 1
    first, last = _pairs(letters, edges)
    return _of_runs(text, np.concatenate([edges[0::2], first]), np.concatenate([edges[1::2], last]))


def _pairs(letters: NDArray[np.uint8], edges: Places) -> tuple[Places, Places]:
    """Return where two numbers that are joined by one dot begin and end."""
    starts, ends = edges[0::2], edges[1::2]
    before_dot = np.flatnonzero(letters.take(ends[:-1], mode="clip") == _DOT)
    joined = before_dot[ends[before_dot] + 1 == starts[before_dot + 1]]
    if not joined.size:
        return joined, joined
    first, last = starts[joined], ends[joined + 1]
    # Of two numbers and the dot between them no byte has the bit that letters and _ have.
    every_second = np.column_stack((first, last)).ravel()
    numbers = np.bitwise_or.reduceat(letters, every_second)[0::2] & _OF_LETTERS == 0
    return first[numbers], last[numbers]


def _of_runs(text: bytes, starts: Places, ends: Places) -> Checksums:
    sizes = ends - starts
    longer = np.flatnonzero(sizes > _SHORT)
    by_array = longer[sizes[longer] <= _LONGEST_BY_ARRAY]
    rest = longer[sizes[longer] > _LONGEST_BY_ARRAY]
    one_by_one = (
        crc32(text[start:end])
        for start, end in zip(starts[rest].tolist(), ends[rest].tolist(), strict=True)
    )
    return np.concatenate([
        _of_short(text, starts, sizes),
        _stepwise(np.frombuffer(text, np.uint8), starts[by_array], sizes[by_array]),
        _array(one_by_one),
    ])  # fmt: skip


def _of_short(text: bytes, starts: Places, sizes: Places) -> Checksums:
    """Return the checksums of those runs that have at most 8 bytes.

    Such a run is an integer, and there are few of them that are often there: what is computed is
    the checksum of each that is different.
    """
    words: NDArray[Any] = np.ndarray(
        (max(len(text) - _SHORT + 1, 0),), dtype="<u8", buffer=text, strides=(1,)
    )
    different = _unique_but_zero(words[starts] & _FIRST_BYTES.take(sizes, mode="clip"))
    letters = different.view(np.uint8)
    # No run has a byte of zero, so what is left of the word is its size.
    sizes = np.searchsorted(_FIRST_BYTES[:_SHORT], different, side="right")
    return _stepwise(letters, np.arange(0, letters.size, _SHORT), sizes)


def _stepwise(letters: NDArray[np.uint8], starts: Places, sizes: Places) -> Checksums:
    """Return the checksums of runs, one byte of each a step."""
    # In one byte, because numpy sorts those by counting.
    longest_first = np.argsort((255 - sizes).astype(np.uint8), kind="stable")
    starts, sizes = starts[longest_first], sizes[longest_first]
    checksums = np.full(starts.size, _START)
    # How many runs are longer than each step has gone.
    longest = int(sizes[0]) if sizes.size else 0
    still = np.searchsorted(-sizes, -np.arange(longest), side="left").tolist()
    for step, count in enumerate(still):
        some = checksums[:count]
        byte = letters[starts[:count] + step]
        checksums[:count] = _CRC[(some ^ byte) & _BYTE] ^ (some >> _EIGHT)
    return checksums ^ _START


def filter_of(checksums: Checksums) -> bytes:
    """Return the filter that has exactly the tokens of these checksums, and a few by accident."""
    size = bloom.size_for(checksums.size)
    bits = np.zeros(8 * size, dtype=np.uint8)
    for places in _places(checksums, size):
        bits[places] = 1
    return np.packbits(bits).tobytes()


def missing_in(bloom_bytes: bytes, checksums: Checksums) -> int:
    """Return how many of the tokens of these checksums the filter has certainly not."""
    bits = np.unpackbits(np.frombuffer(bloom_bytes, np.uint8))
    there = np.ones(checksums.size, dtype=np.uint8)
    for places in _places(checksums, len(bloom_bytes)):
        there &= bits[places]
    return int(checksums.size - np.count_nonzero(there))


def _places(checksums: Checksums, size: int) -> Iterator[Checksums]:
    """Yield the first bit of all tokens, the second, and so on, as :func:`bloom.probes` does."""
    mask = np.uint32(8 * size - 1)
    step = checksums >> np.uint32(bloom.STEP_SHIFT) | np.uint32(1)
    places = checksums.copy()
    for _ in range(bloom.PROBES):
        yield places & mask
        places += step


def unique(values: NDArray[Any]) -> NDArray[Any]:
    """Return each value once."""
    different = _unique_but_zero(values)
    return different if values.all() else np.append(different, values.dtype.type(0))


def _unique_but_zero(values: NDArray[Any]) -> NDArray[Any]:
    """Return each value once, by a table: a third of what sorting or numpy's hashing costs."""
    bits = min(int(values.size).bit_length() + 1, _MOST_SLOT_BITS)
    slots = np.multiply(values, _GOLDEN, dtype=np.uint64)
    slots >>= np.uint64(64 - bits)
    places = slots.view(np.int64)
    table = np.zeros(1 << bits, dtype=values.dtype)
    table[places] = values
    # Of those with another value's slot, which are few, there may be several of one value.
    displaced = np.sort(values[table[places] != values])
    found = np.concatenate([table, displaced[_changes(displaced)]])
    return np.compress(found != 0, found)


def _changes(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where values that are in order change, the first included."""
    changes = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=changes[1:])
    return changes


def _different(column: Sequence[bytes | None] | None) -> set[bytes]:
    return {value for value in set(column or ()) if value is not None}


def _array(checksums: Iterable[int]) -> Checksums:
    return np.fromiter(checksums, dtype=np.uint32)
