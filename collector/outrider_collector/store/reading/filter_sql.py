"""The second compiler of the filter language: to SQL over blocks.

It must agree with the predicate over columns record by record; a property test holds them equal.
Four results come from one tree (:class:`Conditions`). The record condition follows the tree
literally, with terms that are never null, so that NOT means "does not match". For streams, blocks
and pieces of them, of which only some properties are known, each term is bounded twice: what *may*
match (something in there could), and what *must* (everything in there does). NOT swaps the two: a
block may hold a record that is not an error unless all of its records must be errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

from psycopg import sql

from outrider.filter import (
    And,
    Field,
    Node,
    Not,
    Or,
    Phrase,
    Regex,
    Word,
    attribute_path,
    comparisons,
    severity_range,
)
from outrider.filter.attributes import look_up, parse_attributes
from outrider.filter.expressions import expression_test, required_texts
from outrider.filter.folding import fold
from outrider.filter.syntax import ATTRIBUTES
from outrider_collector.store.compaction.tokens import (
    WHOLE_COLUMNS,
    tokens_inside,
    tokens_sought,
    whole_token,
)
from outrider_collector.store.reading.attribute_sql import attribute_condition, attribute_held
from outrider_collector.store.reading.blocks import texts_of
from outrider_collector.store.reading.conditions import Conditions, Expression, stream_condition
from outrider_collector.store.reading.level_sets import least_severity, levels_of
from outrider_collector.store.reading.logic import FALSE, TRUE, all_of, any_of, none_of
from outrider_collector.store.reading.sheets import not_left_out
from outrider_collector.store.reading.sieve import compile_sieve
from outrider_collector.store.reading.token_sql import has_all
from outrider_collector.store.reading.word_sql import word_condition, word_held

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
    """Compile a filter for the store."""
    compiler = _Compiler()
    node = filter.node
    record = compiler.record(node)
    named = any(field.name in _STREAM_FIELDS for field in comparisons(node))
    streams = compiler.bounds(node, compiler.stream_bounds).may if named else None
    block = compiler.bounds(node, compiler.block_bounds).may
    filtered = bool(compiler.sought) and block != TRUE
    sheets = compiler.bounds(node, compiler.sheet_bounds).may if filtered else TRUE
    columns = frozenset(compiler.columns)
    text, text_columns = compiler.text(node)
    candidate, candidate_columns = compiler.candidate(node)
    return Conditions(
        streams=streams,
        block=block,
        text=text,
        filtered=filtered,
        sought=tuple(compiler.sought),
        sheets=sheets,
        sieve=compile_sieve(node, _TEXT_COLUMNS),
        text_columns=text_columns,
        record=record,
        columns=columns,
        levels=levels_of(node),
        severity_least=least_severity(node),
        parameters=compiler.parameters,
        expressions=tuple(compiler.expressions.values()),
        candidate=candidate,
        candidate_columns=candidate_columns,
    )


class _Compiler:
    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}
        self.columns: set[str] = set()
        self.expressions: dict[Node, Expression] = {}
        self.sought: dict[tuple[bytes, ...], int] = {}

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
        if _is_of_records(node):
            return self._found(node)
        if isinstance(node, Field):
            return self._field(node)
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
        if node.op == "~":
            accepted = sql.Placeholder(self._expression(node).name)
            return sql.SQL("coalesce({} = any({}::text[]), false)").format(text, accepted)
        if node.prefix:
            return sql.SQL("coalesce(starts_with({}, {}), false)").format(
                text, self.parameter(node.value)
            )
        return sql.SQL("coalesce({} = {}, false)").format(text, self.parameter(node.value))

    def _severity(self, node: Field) -> Composable:
        self.columns.add("severity")
        low, high = (1, 24) if node.prefix else severity_range(node.op, node.value)
        return sql.SQL("u.severity between {} and {}").format(sql.Literal(low), sql.Literal(high))

    # ------------------------------------------------------------------ regular expressions

    def _expression(self, node: Regex | Field) -> Expression:
        if node not in self.expressions:
            self.expressions[node] = Expression(
                f"f{len(self.expressions)}e", _column(node), not _is_of_records(node), _test(node)
            )
        return self.expressions[node]

    def _found(self, node: Regex | Field) -> Composable:
        """Return the condition that the record is one in which the expression was found."""
        name = self._expression(node).name
        self.columns.update({"stream", "stream_offset"})
        return sql.SQL(
            "(((u.stream, u.stream_offset) in (select stream, stream_offset from"
            " unnest({}::bigint[], {}::bigint[]) found(stream, stream_offset))) is true)"
        ).format(*map(sql.Placeholder, found_names(name)))

    def candidate(self, node: Node) -> tuple[Composable, frozenset[str]]:
        """Return the condition for records that can match, and the columns to look into."""
        if all(expression.of_streams for expression in self.expressions.values()):
            return TRUE, frozenset()
        self.columns = {"ts", "stream", "stream_offset"}
        condition = self.bounds(node, self._candidate_bounds).may
        return condition, frozenset(self.columns)

    def _candidate_bounds(self, node: Node) -> Bounds:
        """Bound an expression over records by what every match holds; anything else is exact."""
        if not _is_of_records(node):
            exact = self.record(node)
            return Bounds(exact, exact)
        column = _column(node)
        self.columns.add(column)
        if column == "attributes":
            assert isinstance(node, Field)  # noqa: S101  words are sought in the message
            return Bounds(attribute_condition(node, self.parameter), FALSE)
        text = sql.Identifier("u", column)
        held = (
            sql.SQL('strpos({} collate "C", {}) > 0').format(text, self.parameter(one))
            for one in required_texts(_pattern(node))
        )
        return Bounds(all_of([sql.SQL("{} is not null").format(text), *held]), FALSE)

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
        if tokens := _tokens(node):
            self.sought.setdefault(tokens, len(self.sought))
            return Bounds(has_all(tokens), FALSE)
        if not isinstance(node, Field) or _is_of_records(node):
            return UNKNOWN
        if node.name == "service":
            exact = self._text(node, sql.SQL("b.service"))
            return Bounds(exact, exact)
        if node.name == "severity":
            return _severity_bounds(node)
        if node.name in {"event", "error_code"}:
            return Bounds(self._summary(node), FALSE)
        return UNKNOWN

    def sheet_bounds(self, node: Node) -> Bounds:
        """Bound a term by what sheets say of ``blocks b``; what they do not is left to others."""
        tokens = _tokens(node)
        return Bounds(not_left_out(self.sought[tokens]), FALSE) if tokens else UNKNOWN

    def text(self, node: Node) -> tuple[Composable, frozenset[str]]:
        """Return the condition for pieces of blocks, and the columns that it looks into."""
        self.columns = set()
        condition = self.bounds(node, self._text_bounds).may
        return condition, frozenset(self.columns)

    def _text_bounds(self, node: Node) -> Bounds:
        """Bound a term by what the texts of a piece hold somewhere."""
        if isinstance(node, (Word, Phrase)):
            self.columns.update(_TEXT_COLUMNS)
            held = (word_held(node.text, texts_of(name), self.parameter) for name in _TEXT_COLUMNS)
            return Bounds(any_of(held), FALSE)
        if isinstance(node, Field) and node.name.startswith(ATTRIBUTES):
            self.columns.add("attributes")
            texts = texts_of("attributes")
            return Bounds(attribute_held(node, texts, self.parameter), FALSE)
        if not _is_of_records(node):
            return UNKNOWN
        self.columns.add(_column(node))
        texts = texts_of(_column(node))
        held = (
            sql.SQL("strpos({}, {}) > 0").format(texts, self.parameter(one))
            for one in required_texts(_pattern(node))
        )
        return Bounds(all_of(held), FALSE)

    def _summary(self, node: Field) -> Composable:
        values = sql.Identifier("b", "events" if node.name == "event" else "error_codes")
        if not node.prefix:
            return sql.SQL("coalesce({} = any({}), false)").format(
                self.parameter(node.value), values
            )
        return sql.SQL(
            "exists (select from unnest({}) summary(value) where starts_with(value, {}))"
        ).format(values, self.parameter(node.value))


def _tokens(node: Node) -> tuple[bytes, ...]:
    """Return tokens that every block with a match of a term has; none: filters say nothing."""
    if isinstance(node, (Word, Phrase)):
        prefix = isinstance(node, Word) and node.prefix
        return tuple(tokens_sought(fold(node.text), prefix=prefix))
    if isinstance(node, Regex):
        return tuple(tokens_inside(required_texts(node.pattern)))
    if not isinstance(node, Field) or _is_of_records(node):
        return ()
    if node.name in WHOLE_COLUMNS and not node.prefix:
        return (whole_token(node.name, node.value),)
    return ()


def found_names(name: str) -> tuple[str, str]:
    """Return the parameters for the streams and offsets of records an expression was found in."""
    return f"{name}_streams", f"{name}_offsets"


def _is_of_records(node: Node) -> TypeGuard[Regex | Field]:
    """Tell whether a node is an expression that must be looked for in each record."""
    if isinstance(node, Field):
        return node.op == "~" and node.name not in _STREAM_FIELDS
    return isinstance(node, Regex)


def _column(node: Regex | Field) -> str:
    if isinstance(node, Regex):
        return "message"
    return "attributes" if node.name.startswith(ATTRIBUTES) else node.name


def _pattern(node: Regex | Field) -> str:
    return node.pattern if isinstance(node, Regex) else node.value


def _test(node: Regex | Field) -> Callable[[str], bool]:
    found = expression_test(_pattern(node))
    if isinstance(node, Regex) or not node.name.startswith(ATTRIBUTES):
        return found
    path = attribute_path(node.name)

    def found_inside(text: str) -> bool:
        value = look_up(parse_attributes(text), path)
        return value is not None and found(value)

    return found_inside


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
