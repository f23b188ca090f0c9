"""A filter's tree compiled to a predicate over a batch of columns.

A predicate answers in two steps. ``decide`` looks only at what is the same for the whole batch
(service, worker, host, source, stream) and answers all, none or "look closer": a filter for
another service costs a comparison. ``rows`` narrows a rising list of row indexes; the terms of an
AND run from the cheapest to the dearest, so that text is sought only in what severity and
dictionary columns have left, and JSON is parsed last. What terms of several filters have in common
(the lowered text, the rows of a severity, parsed attributes) is kept in ``Columns.cache``.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Protocol

from outrider.filter.attributes import AttributePredicate
from outrider.filter.folding import fold, word_pattern
from outrider.filter.syntax import (
    ATTRIBUTES,
    CONSTANT_FIELDS,
    And,
    Field,
    Node,
    Not,
    Or,
    Phrase,
    Regex,
    Word,
    severity_range,
)
from outrider.filter.text import WordSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider.columns import Columns


class Searcher(Protocol):
    """A compiled regular expression of whatever engine."""

    def search(self, text: str, /) -> object:
        """Return something true where the expression is found in the text."""


class Predicate(Protocol):
    """One compiled node."""

    cost: int
    """Rank among the terms of an AND; the cheapest first."""

    def decide(self, columns: Columns) -> bool | None:
        """Return True or False where that holds for every record of the batch, else None."""

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return those of the rows ``among`` (rising) that match, rising."""


def compile_predicate(node: Node, regex: Callable[[str], Searcher] | None = None) -> Predicate:
    """Compile a tree; ``regex`` compiles its regular expressions, if it has any."""
    if isinstance(node, And):
        return _And([compile_predicate(term, regex) for term in node.terms])
    if isinstance(node, Or):
        return _Or([compile_predicate(term, regex) for term in node.terms])
    if isinstance(node, Not):
        return _Not(compile_predicate(node.term, regex))
    if isinstance(node, (Word, Phrase)):
        return _Text(node.text, prefix=isinstance(node, Word) and node.prefix)
    if isinstance(node, Regex):
        return _Message(_searcher(node.pattern, regex))
    if isinstance(node, Field):
        return _compile_field(node, regex)
    raise TypeError(f"not a node of a filter: {node!r}")


def _searcher(pattern: str, regex: Callable[[str], Searcher] | None) -> Callable[[str], bool]:
    if regex is None:
        raise ValueError("a regular expression without an engine")
    search = regex(pattern).search
    return lambda text: bool(search(text))


def _compile_field(node: Field, regex: Callable[[str], Searcher] | None) -> Predicate:
    if node.name == "severity":
        return _Severity(*((1, 24) if node.prefix else severity_range(node.op, node.value)))
    if node.name.startswith(ATTRIBUTES):
        test = _searcher(node.value, regex) if node.op == "~" else None
        return AttributePredicate(node, test)
    accepts = value_test(node, regex)
    if node.name in CONSTANT_FIELDS:
        return _Constant(node, accepts)
    if node.name in {"logger", "event", "error_code"}:
        return _Dictionary(node.name, accepts)
    return _Identifier(node, accepts)


def value_test(node: Field, regex: Callable[[str], Searcher] | None) -> Callable[[str], bool]:
    """Return the test that ``name:value``, ``name:value*`` or ``name:/re/`` makes of a text."""
    value = node.value
    if node.op == "~":
        return _searcher(value, regex)
    if node.prefix:
        return lambda text: text.startswith(value)
    return lambda text: text == value


class _And:
    __slots__ = ("_terms", "cost")

    def __init__(self, terms: list[Predicate]) -> None:
        self._terms = sorted(terms, key=lambda term: term.cost)
        self.cost = max((term.cost for term in terms), default=0)

    def decide(self, columns: Columns) -> bool | None:
        verdict: bool | None = True
        for term in self._terms:
            one = term.decide(columns)
            if one is False:
                return False
            if one is None:
                verdict = None
        return verdict

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        left: Sequence[int] = among
        for term in self._terms:
            if term.decide(columns) is not True:
                left = term.rows(columns, left)
                if not left:
                    break
        return list(left)


class _Or:
    __slots__ = ("_terms", "cost")

    def __init__(self, terms: list[Predicate]) -> None:
        self._terms = sorted(terms, key=lambda term: term.cost)
        self.cost = max(term.cost for term in terms)

    def decide(self, columns: Columns) -> bool | None:
        verdict: bool | None = False
        for term in self._terms:
            one = term.decide(columns)
            if one is True:
                return True
            if one is None:
                verdict = None
        return verdict

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        found: set[int] = set()
        left: Sequence[int] = among
        for term in self._terms:
            if term.decide(columns) is False:
                continue
            more = term.rows(columns, left)
            if more:
                found.update(more)
                left = [row for row in left if row not in found]
                if not left:
                    break
        return sorted(found)


class _Not:
    __slots__ = ("_term", "cost")

    def __init__(self, term: Predicate) -> None:
        self._term = term
        self.cost = term.cost

    def decide(self, columns: Columns) -> bool | None:
        verdict = self._term.decide(columns)
        return None if verdict is None else not verdict

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        excluded = set(self._term.rows(columns, among))
        return [row for row in among if row not in excluded]


class _Constant:
    """A field of the stream: the same for the whole batch."""

    __slots__ = ("_accepts", "_name", "cost")

    def __init__(self, node: Field, accepts: Callable[[str], bool]) -> None:
        self._name = node.name
        self._accepts = accepts
        self.cost = 0

    def decide(self, columns: Columns) -> bool | None:
        value = getattr(columns, self._name)
        return self._accepts(value if self._name != "stream" else str(value))

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        return list(among) if self.decide(columns) else []


class _Severity:
    __slots__ = ("_high", "_low", "_mask", "_others", "cost")

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high
        self._mask = bytes(low <= i <= high for i in range(256))
        self._others = bytes(i for i in range(256) if not low <= i <= high)
        self.cost = 1

    def decide(self, columns: Columns) -> bool | None:
        del columns
        return None

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
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


def masked(mask: bytes, n: int) -> list[int]:
    """Return the places of the non-zero bytes."""
    return list(compress(range(n), mask))


def narrowed(rows: list[int], n: int, among: Sequence[int]) -> list[int]:
    """Return the common part of two rising lists; ``rows`` is not to be changed by anybody."""
    if len(among) == n or not rows:
        return rows
    if len(rows) == n:
        return list(among)
    wanted = set(rows)
    return [row for row in among if row in wanted]


class _Dictionary:
    """A column of repeated strings: each distinct value is tested once."""

    __slots__ = ("_accepts", "_name", "cost")

    def __init__(self, name: str, accepts: Callable[[str], bool]) -> None:
        self._name = name
        self._accepts = accepts
        self.cost = 2

    def decide(self, columns: Columns) -> bool | None:
        del columns
        return None

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        column = getattr(columns, self._name)
        accepted = {i for i, v in enumerate(column.values, start=1) if self._accepts(v)}
        if not accepted:
            return []
        index = column.indexes(columns.n)
        if isinstance(index, bytes):
            rows = masked(index.translate(bytes(i in accepted for i in range(256))), columns.n)
            return narrowed(rows, columns.n, among)
        return [row for row in among if index[row] in accepted]


class _Identifier:
    """``correlation_id`` or ``trace_id``: a column of texts that hardly repeat."""

    __slots__ = ("_accepts", "_name", "_needle", "cost")

    def __init__(self, node: Field, accepts: Callable[[str], bool]) -> None:
        self._name = node.name
        self._accepts = accepts
        self._needle = b"" if node.op == "~" else _identifier_bytes(node)
        self.cost = 3

    def decide(self, columns: Columns) -> bool | None:
        del columns
        return None

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
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


class _Message:
    """A regular expression over the message."""

    __slots__ = ("_accepts", "cost")

    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts
        self.cost = 6

    def decide(self, columns: Columns) -> bool | None:
        del columns
        return None

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        values, accepts = columns.message, self._accepts
        return [row for row in among if (v := values[row]) is not None and accepts(v)]


class _Text:
    """A word or phrase in the message, the attributes, the event or the error code."""

    __slots__ = ("_searches", "cost")

    def __init__(self, text: str, *, prefix: bool) -> None:
        search = word_pattern(text, prefix=prefix).search
        found: Callable[[str], bool] = lambda value: bool(search(fold(value)))  # noqa: E731
        self._searches: tuple[Predicate | WordSearch, ...] = (
            _Dictionary("event", found),
            _Dictionary("error_code", found),
            WordSearch(text, prefix=prefix, column="message_raw", json=False),
            WordSearch(text, prefix=prefix, column="attributes_raw", json=True),
        )
        self.cost = 4

    def decide(self, columns: Columns) -> bool | None:
        del columns
        return None

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
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
