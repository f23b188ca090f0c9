"""The second compiler of the filter language: to SQL over blocks.

It must agree with the predicate over columns record by record; a property test holds them equal.
Three results come from one tree (:class:`Conditions`). The record condition follows the tree
literally, with terms that are never null, so that NOT means "does not match". For streams and
blocks, of which only some properties are known, each term is bounded twice: what *may* match
(something in there could), and what *must* (everything in there does). NOT swaps the two: a block
may hold a record that is not an error unless all of its records must be errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider.filter import And, Field, Node, Not, Or, Phrase, Regex, Word, severity_range
from outrider.filter.folding import fold
from outrider.filter.syntax import ATTRIBUTES
from outrider_collector.store.compaction.tokens import (
    WHOLE_COLUMNS,
    tokens_sought,
    whole_token,
)
from outrider_collector.store.reading.attribute_sql import attribute_condition
from outrider_collector.store.reading.conditions import ALL_LEVELS, Conditions, stream_condition
from outrider_collector.store.reading.logic import FALSE, TRUE, all_of, any_of, none_of
from outrider_collector.store.reading.token_sql import has_all
from outrider_collector.store.reading.word_sql import word_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.sql import Composable

    from outrider.filter import Filter

_STREAM_FIELDS: Final = ("service", "worker", "host", "source", "stream")

_TEXT_COLUMNS: Final = ("message", "attributes", "event", "error_code")


class Bounds(NamedTuple):
    """What a term says of a whole (a stream, a block): may some of it match, must all of it."""

    may: Composable
    must: Composable


UNKNOWN: Final = Bounds(TRUE, FALSE)


def compile_filter(filter: Filter) -> Conditions:  # noqa: A002  the word users know
    """Compile a filter for the store. FILTER_INVALID for a regular expression."""
    compiler = _Compiler()
    node = filter.node
    record = compiler.record(node)
    named = any(field.name in _STREAM_FIELDS for field in _fields(node))
    return Conditions(
        streams=compiler.bounds(node, compiler.stream_bounds).may if named else None,
        block=compiler.bounds(node, compiler.block_bounds).may,
        record=record,
        columns=frozenset(compiler.columns),
        levels=_levels(node),
        parameters=compiler.parameters,
    )


def _fields(node: Node) -> list[Field]:
    if isinstance(node, (And, Or)):
        return [field for term in node.terms for field in _fields(term)]
    if isinstance(node, Not):
        return _fields(node.term)
    return [node] if isinstance(node, Field) else []


class _Compiler:
    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}
        self.columns: set[str] = set()

    def parameter(self, value: str) -> Composable:
        """Keep a value and return its placeholder."""
        name = f"f{len(self.parameters)}"
        self.parameters[name] = value
        return sql.SQL("{}::text").format(sql.Placeholder(name))

    # ------------------------------------------------------------------ records

    def record(self, node: Node) -> Composable:
        """Return the condition over ``u`` that holds exactly for the matches."""
        if isinstance(node, And):
            return all_of(map(self.record, node.terms))
        if isinstance(node, Or):
            return any_of(map(self.record, node.terms))
        if isinstance(node, Not):
            return none_of(self.record(node.term))
        if isinstance(node, (Word, Phrase)):
            return self._word(node.text, prefix=isinstance(node, Word) and node.prefix)
        if isinstance(node, Field) and node.op != "~":
            return self._field(node)
        if isinstance(node, (Regex, Field)):
            raise Fault(
                Reason.FILTER_INVALID,
                detail=f"regular expressions cannot be asked of the store: {node}",
            )
        raise TypeError(f"not a node of a filter: {node!r}")

    def _word(self, text: str, *, prefix: bool) -> Composable:
        self.columns.update(_TEXT_COLUMNS)
        return any_of(
            word_condition(
                text,
                sql.Identifier("u", column),
                self.parameter,
                prefix=prefix,
                json=column == "attributes",
            )
            for column in _TEXT_COLUMNS
        )

    def _field(self, node: Field) -> Composable:
        name = node.name
        if name == "severity":
            return self._severity(node)
        if name == "service":
            return self._text(node, sql.SQL("u.service"))
        if name == "stream":
            return self._text(node, sql.SQL("u.stream::text"))
        if name in _STREAM_FIELDS:
            accepted = self._text(node, sql.Identifier("i", name))
            return stream_condition(accepted)
        if name.startswith(ATTRIBUTES):
            self.columns.add("attributes")
            return attribute_condition(node, self.parameter)
        self.columns.add(name)
        if name == "trace_id":
            return self._text(node, sql.SQL("replace(u.trace_id::text, '-', '')"))
        return self._text(node, sql.Identifier("u", name))

    def _text(self, node: Field, text: Composable) -> Composable:
        """Return ``text`` compared as ``:`` does; false where it is null."""
        if node.prefix:
            return sql.SQL("coalesce(starts_with({}, {}), false)").format(
                text, self.parameter(node.value)
            )
        return sql.SQL("coalesce({} = {}, false)").format(text, self.parameter(node.value))

    def _severity(self, node: Field) -> Composable:
        self.columns.add("severity")
        low, high = (1, 24) if node.prefix else severity_range(node.op, node.value)
        return sql.SQL("u.severity between {} and {}").format(sql.Literal(low), sql.Literal(high))

    # ------------------------------------------------------------------ wholes

    def bounds(self, node: Node, leaf: Callable[[Node], Bounds]) -> Bounds:
        """Return what the tree says of a whole whose terms are bounded by ``leaf``."""
        if isinstance(node, (And, Or)):
            join = all_of if isinstance(node, And) else any_of
            parts = [self.bounds(term, leaf) for term in node.terms]
            return Bounds(join(part.may for part in parts), join(part.must for part in parts))
        if isinstance(node, Not):
            inner = self.bounds(node.term, leaf)
            return Bounds(none_of(inner.must), none_of(inner.may))
        return leaf(node)

    def stream_bounds(self, node: Node) -> Bounds:
        """Bound a term by what ``stream_info i`` says, which for its fields is all."""
        if not isinstance(node, Field) or node.name not in _STREAM_FIELDS:
            return UNKNOWN
        column = sql.SQL("i.id::text") if node.name == "stream" else sql.Identifier("i", node.name)
        exact = self._text(node, column)
        return Bounds(exact, exact)

    def block_bounds(self, node: Node) -> Bounds:
        """Bound a term by the summaries of ``blocks b``, and by its filter where it has one."""
        if isinstance(node, (Word, Phrase)):
            prefix = isinstance(node, Word) and node.prefix
            return Bounds(has_all(tokens_sought(fold(node.text), prefix=prefix)), FALSE)
        if not isinstance(node, Field) or node.op == "~":
            return UNKNOWN
        if node.name == "service":
            exact = self._text(node, sql.SQL("b.service"))
            return Bounds(exact, exact)
        if node.name == "severity":
            return _severity_bounds(node)
        if node.name in {"event", "error_code"}:
            return Bounds(self._summary(node), FALSE)
        if node.name in WHOLE_COLUMNS and not node.prefix:
            return Bounds(has_all([whole_token(node.name, node.value)]), FALSE)
        return UNKNOWN

    def _summary(self, node: Field) -> Composable:
        values = sql.Identifier("b", "events" if node.name == "event" else "error_codes")
        if not node.prefix:
            return sql.SQL("coalesce({} = any({}), false)").format(
                self.parameter(node.value), values
            )
        return sql.SQL(
            "exists (select from unnest({}) summary(value) where starts_with(value, {}))"
        ).format(values, self.parameter(node.value))


def _severity_bounds(node: Field) -> Bounds:
    low, high = (1, 24) if node.prefix else severity_range(node.op, node.value)
    touched = [i for i in range(6) if low <= 4 * i + 4 and high >= 4 * i + 1 and low <= high]
    covered = [i for i in touched if low <= 4 * i + 1 and high >= 4 * i + 4]
    return Bounds(
        any_of(_some_of(i) for i in touched),
        none_of(any_of(_some_of(i) for i in range(6) if i not in covered)),
    )


def _some_of(level: int) -> Composable:
    return sql.SQL("b.level_counts[{}] > 0").format(sql.Literal(level + 1))


# ------------------------------------------------------------------ what summaries decide


def _levels(node: Node) -> frozenset[int] | None:
    """Return the levels whose counts are the matches, where service and level decide alone."""
    if isinstance(node, And):
        levels = ALL_LEVELS
        for term in node.terms:
            part = _levels(term)
            if part is None:
                return None
            levels &= part
        return levels
    if _only(node, "service"):
        return ALL_LEVELS
    return _level_set(node) if _only(node, "severity") else None


def _only(node: Node, name: str) -> bool:
    if isinstance(node, (And, Or)):
        return all(_only(term, name) for term in node.terms)
    if isinstance(node, Not):
        return _only(node.term, name)
    return isinstance(node, Field) and node.name == name and node.op != "~"


def _level_set(node: Node) -> frozenset[int] | None:
    """Return the levels that match whole; None where a level matches in part."""
    matching = [n for n in range(1, 25) if _severity_matches(node, n)]
    levels = frozenset((n - 1) // 4 for n in matching)
    return levels if len(matching) == 4 * len(levels) else None


def _severity_matches(node: Node, number: int) -> bool:
    if isinstance(node, And):
        return all(_severity_matches(term, number) for term in node.terms)
    if isinstance(node, Or):
        return any(_severity_matches(term, number) for term in node.terms)
    if isinstance(node, Not):
        return not _severity_matches(node.term, number)
    assert isinstance(node, Field)  # noqa: S101  _only has looked at every leaf
    low, high = (1, 24) if node.prefix else severity_range(node.op, node.value)
    return low <= number <= high
