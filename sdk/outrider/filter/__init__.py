"""The one filter language: for search, tail, rules, routes, silences and shaping in the agent.

``parse("service:payments severity>=error -healthcheck").match(columns)`` gives the matching rows of
a batch. The same tree is compiled to SQL by the store. The grammar with examples is in
``sdk/FILTER.md``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from outrider.filter.doubts import doubts
from outrider.filter.errors import FilterError
from outrider.filter.labels import compile_labels
from outrider.filter.lexer import EXPRESSION, Kind, Token, tokens
from outrider.filter.parser import parse_tree
from outrider.filter.predicate import compile_predicate
from outrider.filter.syntax import (
    CONSTANT_FIELDS,
    FIELDS,
    PRIORITIES,
    And,
    Field,
    Node,
    Not,
    Or,
    Phrase,
    Regex,
    Word,
    attribute_path,
    canonical,
    comparisons,
    severity_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider.columns import Columns
    from outrider.filter.leaves import Predicate

__all__ = [
    "CONSTANT_FIELDS",
    "EXPRESSION",
    "FIELDS",
    "PRIORITIES",
    "And",
    "Field",
    "Filter",
    "FilterError",
    "Kind",
    "Node",
    "Not",
    "Or",
    "Phrase",
    "Regex",
    "Token",
    "Word",
    "attribute_path",
    "comparisons",
    "doubts",
    "parse",
    "severity_range",
    "tokens",
]


class Filter:
    """A parsed filter. Equal to another when their canonical texts are."""

    __slots__ = ("_labels", "_predicate", "key", "node", "text")

    def __init__(self, node: Node, text: str) -> None:
        self.node = node
        """The tree."""
        self.text = text
        """What the user wrote."""
        self.key = str(canonical(node))
        """The same for filters that differ only in order, repetition, spacing, case of words."""
        self._predicate: Predicate | None = None
        self._labels: Callable[[Mapping[str, str]], bool] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex: what is kept of a filter that may quote what is erased."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def match(self, columns: Columns) -> list[int]:
        """Return the indexes of the records that match, rising. The caller must not change it."""
        predicate = self._predicate
        if predicate is None:
            predicate = self._predicate = compile_predicate(self.node)
        verdict = predicate.decide(columns)
        if verdict is None:
            return predicate.rows(columns, range(columns.n))
        return list(range(columns.n)) if verdict else []

    def match_labels(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert's labels match."""
        if self._labels is None:
            self._labels = compile_labels(self.node)
        return self._labels(labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return str(self.node)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"


def parse(text: str, *, labels: bool = False) -> Filter:
    """Parse a filter over records or, with ``labels``, over an alert's labels (any name a field).

    Regular expressions need the package google-re2. Raises FilterError.
    """
    return Filter(parse_tree(text, labels=labels), text)
