"""The terms of a filter over a batch: what each looks at, and how cheaply it can say no."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Protocol

from outrider.filter.expressions import expression_test
from outrider.filter.folding import fold, word_pattern
from outrider.filter.text import WordSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider.columns import Columns
    from outrider.filter.syntax import Field


class Predicate(Protocol):
    """One compiled node."""

    cost: int
    """Rank among the terms of an AND; the cheapest first."""

    def decide(self, columns: Columns) -> bool | None:
        """Return True or False where that holds for every record of the batch, else None."""

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return those of the rows ``among`` (rising) that match, rising."""


def value_test(node: Field) -> Callable[[str], bool]:
    """Return the test that ``name:value``, ``name:value*`` or ``name:/re/`` makes of a text."""
    value = node.value
    if node.op == "~":
        return expression_test(value)
    if node.prefix:
        return lambda text: text.startswith(value)
    return lambda text: text == value


class Undecided:
    """A term of which a batch as a whole says nothing."""

    __slots__ = ()

    def decide(self, columns: Columns) -> bool | None:
        """Return None: look closer."""
        del columns
        return None


class Constant:
    """A field of the stream: the same for the whole batch."""

    __slots__ = ("_accepts", "_name", "cost")

    def __init__(self, node: Field, accepts: Callable[[str], bool]) -> None:
        self._name = node.name
        self._accepts = accepts
        self.cost = 0

    def decide(self, columns: Columns) -> bool | None:
        """Compare the one value."""
        value = getattr(columns, self._name)
        return self._accepts(value if self._name != "stream" else str(value))

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return all rows or none."""
        return list(among) if self.decide(columns) else []


class Severity(Undecided):
    """A range of severity numbers."""

    __slots__ = ("_high", "_low", "_mask", "_others", "cost")

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high
        self._mask = bytes(low <= i <= high for i in range(256))
        self._others = bytes(i for i in range(256) if not low <= i <= high)
        self.cost = 1

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows within the range; all rows of it are kept for the next filter."""
        return narrowed(self._all(columns), columns.n, among)

    def _all(self, columns: Columns) -> list[int]:
        key = ("severity", self._low, self._high)
        rows: list[int] | None = columns.cache.get(key)
        if rows is None:
            # Most batches have no error at all: that is seen at memory speed.
            some = columns.severity.translate(None, self._others)
            rows = masked(columns.severity.translate(self._mask), columns.n) if some else []
            columns.cache[key] = rows
        return rows


# Below one match in so many records it is quicker to go from match to match.
_SPARSE = 16


def masked(mask: bytes, n: int) -> list[int]:
    """Return the places of the bytes 1 in a mask of zeros and ones."""
    if mask.count(1) * _SPARSE > n:
        return list(compress(range(n), mask))
    rows: list[int] = []
    place = mask.find(1)
    while place >= 0:
        rows.append(place)
        place = mask.find(1, place + 1)
    return rows


def narrowed(rows: list[int], n: int, among: Sequence[int]) -> list[int]:
    """Return the common part of two rising lists; ``rows`` is not to be changed by anybody."""
    if len(among) == n or not rows:
        return rows
    if len(rows) == n:
        return list(among)
    wanted = set(rows)
    return [row for row in among if row in wanted]


class Dictionary(Undecided):
    """A column of repeated strings: each distinct value is tested once."""

    __slots__ = ("_accepts", "_name", "cost")

    def __init__(self, name: str, accepts: Callable[[str], bool]) -> None:
        self._name = name
        self._accepts = accepts
        self.cost = 2

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows whose value is accepted."""
        column = getattr(columns, self._name)
        accepted = {i for i, v in enumerate(column.values, start=1) if self._accepts(v)}
        if not accepted:
            return []
        index = column.indexes(columns.n)
        if isinstance(index, bytes):
            rows = masked(index.translate(bytes(i in accepted for i in range(256))), columns.n)
            return narrowed(rows, columns.n, among)
        return [row for row in among if index[row] in accepted]


class Identifier(Undecided):
    """``correlation_id`` or ``trace_id``: a column of texts that hardly repeat."""

    __slots__ = ("_accepts", "_name", "_needle", "cost")

    def __init__(self, node: Field, accepts: Callable[[str], bool]) -> None:
        self._name = node.name
        self._accepts = accepts
        self._needle = b"" if node.op == "~" else _identifier_bytes(node)
        self.cost = 3

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows whose value is accepted, decoding only where it can be."""
        raw = getattr(columns, f"{self._name}_raw")
        if not raw or self._needle not in raw:
            return []
        values = getattr(columns, self._name)
        accepts = self._accepts
        return [row for row in among if (v := values[row]) is not None and accepts(v)]


def _identifier_bytes(node: Field) -> bytes:
    """Return bytes that the raw column must have for the value to be in it."""
    if node.name == "correlation_id":
        return node.value.encode("utf-8", "replace")
    try:
        return bytes.fromhex(node.value[: len(node.value) // 2 * 2])
    except ValueError:  # a prefix that is not hexadecimal; the test will refuse every value
        return b""


class Message(Undecided):
    """A regular expression over the message."""

    __slots__ = ("_accepts", "cost")

    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts
        self.cost = 6

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows whose message is accepted."""
        values, accepts = columns.message, self._accepts
        return [row for row in among if (v := values[row]) is not None and accepts(v)]


class Text(Undecided):
    """A word or phrase in the message, the attributes, the event or the error code."""

    __slots__ = ("_searches", "cost")

    def __init__(self, text: str, *, prefix: bool) -> None:
        search = word_pattern(text, prefix=prefix).search
        found: Callable[[str], bool] = lambda value: bool(search(fold(value)))  # noqa: E731
        self._searches: tuple[Predicate | WordSearch, ...] = (
            Dictionary("event", found),
            Dictionary("error_code", found),
            WordSearch(text, prefix=prefix, column="message_raw", json=False),
            WordSearch(text, prefix=prefix, column="attributes_raw", json=True),
        )
        self.cost = 4

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows with the word, the cheapest column first."""
        found: set[int] = set()
        left: Sequence[int] = among
        for search in self._searches:
            more = search.rows(columns, left)
            if more:
                found.update(more)
                left = [row for row in left if row not in found]
                if not left:
                    break
        return sorted(found)
