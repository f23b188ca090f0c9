"""A filter's tree compiled to a predicate over a batch of columns.

A predicate answers in two steps. ``decide`` looks only at what is the same for the whole batch
(service, worker, host, source, stream) and answers all, none or "look closer": a filter for
another service costs a comparison. ``rows`` narrows a rising list of row indexes; the terms of an
AND run from the cheapest to the dearest, so that text is sought only in what severity and
dictionary columns have left, and JSON is parsed last. What terms of several filters have in common
(the lowered text, the rows of a severity, parsed attributes) is kept in ``Columns.cache``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.filter.attributes import AttributePredicate
from outrider.filter.expressions import expression_test
from outrider.filter.leaves import (
    Constant,
    Dictionary,
    Identifier,
    Message,
    Predicate,
    Severity,
    Text,
    value_test,
)
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.columns import Columns


def compile_predicate(node: Node) -> Predicate:
    """Compile a tree."""
    if isinstance(node, And):
        return _And([compile_predicate(term) for term in node.terms])
    if isinstance(node, Or):
        return _Or([compile_predicate(term) for term in node.terms])
    if isinstance(node, Not):
        return _Not(compile_predicate(node.term))
    if isinstance(node, (Word, Phrase)):
        return Text(node.text, prefix=isinstance(node, Word) and node.prefix)
    if isinstance(node, Regex):
        return Message(expression_test(node.pattern))
    if isinstance(node, Field):
        return _compile_field(node)
    raise TypeError(f"not a node of a filter: {node!r}")


def _compile_field(node: Field) -> Predicate:
    if node.name == "severity":
        return Severity(*((1, 24) if node.prefix else severity_range(node.op, node.value)))
    if node.name.startswith(ATTRIBUTES):
        return AttributePredicate(node)
    accepts = value_test(node)
    if node.name in CONSTANT_FIELDS:
        return Constant(node, accepts)
    if node.name in {"logger", "event", "error_code"}:
        return Dictionary(node.name, accepts)
    return Identifier(node, accepts)


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
