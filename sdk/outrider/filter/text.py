"""Finding a word in a text column of a batch without decoding the column.

The raw column is lowered as ASCII once per batch and kept in ``Columns.cache``, shared by all
filters. In it the longest ASCII part of the word is sought as bytes; only the records it is found
in are decoded, folded and looked at closely. A word without any ASCII is sought in every record.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from outrider.columns import ColumnError
from outrider.filter.folding import fold, word_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.columns import Columns

_ASCII_RUN = re.compile(r"[\x00-\x7f]+")

# With fewer candidates than this share of the batch it is cheaper to look at each of them than to
# search the whole column.
_FEW = 16


class RawText:
    """A raw text column of one batch: lowered, with the place of each value."""

    __slots__ = ("_folded", "lowered", "n", "raw", "starts")

    def __init__(self, raw: bytes, n: int) -> None:
        self.raw = raw
        self.n = n
        # Lowering changes length bytes too; lengths are always read from `raw`.
        self.lowered = raw.lower()
        self.starts: list[int] | None = None
        self._folded: dict[int, str] = {}

    def places(self) -> list[int]:
        """Return where each record's value begins (after its length), and the end of the column."""
        if self.starts is None:
            self.starts = _places(self.raw, self.n)
        return self.starts

    def folded(self, row: int) -> str:
        """Return the folded text of a record; "" where it is null."""
        text = self._folded.get(row)
        if text is None:
            places = self.places()
            value = self.raw[places[row] : places[row + 1] - 4]
            text = self._folded[row] = fold(value.decode("utf-8", "replace"))
        return text


def _places(raw: bytes, n: int) -> list[int]:
    places: list[int] = []
    position, end = 4, len(raw) + 4
    from_bytes = int.from_bytes
    while position < end:
        places.append(position)
        # A null (length -1) has no bytes, like an empty text.
        position += 4 + max(0, from_bytes(raw[position - 4 : position], "big", signed=True))
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

    __slots__ = ("_needle", "_search", "column")

    def __init__(self, text: str, *, prefix: bool, column: str, json: bool) -> None:
        self.column = column
        self._search = word_pattern(text, prefix=prefix, json=json).search
        runs = _ASCII_RUN.findall(fold(text))
        self._needle = max(runs, key=len, default="").encode()

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
        find, needle, places = column.lowered.find, self._needle, column.places()
        return [
            row
            for row in among
            if find(needle, places[row], places[row + 1] - 4) >= 0
            and self._search(column.folded(row))
        ]

    def _sweep(self, column: RawText) -> list[int]:
        """Search the whole column once, from hit to hit."""
        find, needle = column.lowered.find, self._needle
        position = find(needle)
        if position < 0:
            return []
        rows: list[int] = []
        places = column.places()
        while position >= 0:
            row = bisect_right(places, position) - 1
            # A hit may lie in length bytes or reach into them: then it is none.
            if row < 0 or position + len(needle) > places[row + 1] - 4:
                position = find(needle, position + 1)
                continue
            if self._search(column.folded(row)):
                rows.append(row)
            position = find(needle, places[row + 1])
        return rows
