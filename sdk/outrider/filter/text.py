"""Finding a word in a text column of a batch without decoding the column.

The raw column is lowered as ASCII once per batch and kept in ``Columns.cache``, shared by all
filters. In it the longest ASCII part of the word is sought as bytes; only the records it is found
in are decoded, folded and looked at closely. A word without any ASCII is sought in every record.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from outrider.columns import ColumnError
from outrider.filter.folding import fold, is_word_character, word_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.columns import Columns

# What a byte beside a hit says: no word character, a word character, or a part of some character
# that must be decoded to know.
_OTHER, _WORD, _UNKNOWN = 0, 1, 2
_KINDS = bytes(
    _UNKNOWN if i >= 0x80 else _WORD if chr(i).isalnum() or i == ord("_") else _OTHER
    for i in range(256)
)

_LENGTH = struct.Struct(">i")
_ASCII_RUN = re.compile(r"[\x00-\x7f]+")

# With fewer candidates than this share of the batch it is cheaper to look at each of them than to
# search the whole column.
_FEW = 16


class RawText:
    """A raw text column of one batch: lowered, with the place of each value."""

    __slots__ = ("_folded", "_lowered", "_starts", "n", "raw")

    def __init__(self, raw: bytes, n: int) -> None:
        self.raw = raw
        self.n = n
        self._lowered: bytes | None = None
        self._starts: list[int] | None = None
        self._folded: dict[int, str] = {}

    @property
    def lowered(self) -> bytes:
        """The column in lower case (ASCII), its length bytes too: read lengths from ``raw``."""
        if self._lowered is None:
            self._lowered = self.raw.lower()
        return self._lowered

    def places(self) -> list[int]:
        """Return where each record's value begins (after its length), and the end of the column."""
        if self._starts is None:
            self._starts = _places(self.raw, self.n)
        return self._starts

    def value(self, row: int) -> bytes:
        """Return the bytes of a record; b"" where it is null."""
        places = self.places()
        return self.raw[places[row] : places[row + 1] - 4]

    def folded(self, row: int) -> str:
        """Return the folded text of a record; "" where it is null."""
        text = self._folded.get(row)
        if text is None:
            text = self._folded[row] = fold(self.value(row).decode("utf-8", "replace"))
        return text


def _places(raw: bytes, n: int) -> list[int]:
    places: list[int] = []
    append, length_at = places.append, _LENGTH.unpack_from
    position, end = 4, len(raw) + 4
    try:
        # One turn for each record, so every operation in it counts.
        while position < end:
            append(position)
            (length,) = length_at(raw, position - 4)
            # A null (length -1) has no bytes, like an empty text.
            position += length + 4 if length > 0 else 4
    except struct.error as error:
        raise ColumnError(f"cut off at byte {position - 4} of {len(raw)}") from error
    if position != end or len(places) != n:
        raise ColumnError(f"{len(places)} values in {len(raw)} bytes where {n} were announced")
    places.append(end)
    return places


def raw_text(columns: Columns, name: str) -> RawText:
    """Return the column ``name`` (``message_raw``, ``attributes_raw``) prepared for searching."""
    key = ("raw_text", name)
    prepared: RawText | None = columns.cache.get(key)
    if prepared is None:
        prepared = columns.cache[key] = RawText(getattr(columns, name), columns.n)
    return prepared


class WordSearch:
    """One word or phrase, sought in a column; ``json`` when the column holds JSON objects."""

    __slots__ = (
        "_ends_free",
        "_json",
        "_needle",
        "_needle_text",
        "_search",
        "_starts_free",
        "_whole",
        "column",
    )

    def __init__(self, text: str, *, prefix: bool, column: str, json: bool) -> None:
        self.column = column
        self._json = json
        # An ASCII word is found by its bytes alone, mostly without decoding its record.
        self._whole = text.isascii()
        self._starts_free = not is_word_character(text[0])
        self._ends_free = prefix or not is_word_character(text[-1])
        self._search = word_pattern(text, prefix=prefix, json=json).search
        runs = _ASCII_RUN.findall(fold(text))
        self._needle_text = max(runs, key=len, default="")
        self._needle = self._needle_text.encode()

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return those of the rows ``among`` (rising) whose text has the word."""
        if not getattr(columns, self.column):
            return []
        column = raw_text(columns, self.column)
        if not self._needle:
            return [row for row in among if self._search(column.folded(row))]
        if len(among) * _FEW < columns.n:
            return self._look_at(column, among)
        rows = self._sweep(column)
        if len(among) == columns.n or not rows:
            return rows
        wanted = set(among)
        return [row for row in rows if row in wanted]

    def _look_at(self, column: RawText, among: Sequence[int]) -> list[int]:
        """Look into each of few records; other searches look into the same ones."""
        needle, folded, search = self._needle_text, column.folded, self._search
        return [row for row in among if needle in (text := folded(row)) and search(text)]

    def _sweep(self, column: RawText) -> list[int]:
        """Search the whole column once, from hit to hit."""
        find, needle = column.lowered.find, self._needle
        position = find(needle)
        if position < 0:
            return []
        rows: list[int] = []
        places, row = column.places(), 0
        while position >= 0:
            row = max(0, bisect_right(places, position, row) - 1)
            start, stop = places[row], places[row + 1] - 4
            # A hit may lie in length bytes or reach into them: then it is none.
            inside = start <= position and position + len(needle) <= stop
            found = self._is_word_at(column, position, start, stop) if inside else False
            if found is None:
                found = bool(self._search(column.folded(row)))
                position = stop
            if found:
                rows.append(row)
                position = stop
            position = find(needle, position + 1)
        return rows

    def _is_word_at(self, column: RawText, hit: int, start: int, stop: int) -> bool | None:
        """Tell from the bytes around a hit whether it is the word; None where they do not tell."""
        if not self._whole:
            return None
        lowered, end = column.lowered, hit + len(self._needle)
        before = _OTHER if self._starts_free or hit == start else _KINDS[lowered[hit - 1]]
        after = _OTHER if self._ends_free or end == stop else _KINDS[lowered[end]]
        if before == _OTHER == after:
            return True
        if after == _WORD or (before == _WORD and not self._json):
            return False
        return None
