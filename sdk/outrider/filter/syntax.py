"""The tree of a filter: what was asked, independent of how it is evaluated.

Nodes are frozen values. ``str(node)`` is text that parses to an equal node. ``And(())`` is the
empty filter, which everything matches. Evaluation is two-valued: a comparison with a value that a
record does not have is false, and its negation therefore true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider import severity
from outrider.filter.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYWORDS = frozenset({"AND", "OR", "NOT"})

CONSTANT_FIELDS = ("service", "worker", "host", "source", "stream")
"""The same for all records of a stream."""

FIELDS = (*CONSTANT_FIELDS, "logger", "event", "severity", "error_code", "trace_id",
          "correlation_id")  # fmt: skip
"""Every field of a record but ``attributes.PATH``."""

ATTRIBUTES = "attributes."
ATTRIBUTES_SHORT = "attrs."

COMPARISONS = (":", ">", ">=", "<", "<=")

PRIORITIES = ("info", "warning", "critical")
"""An alert's ladder, from the lowest; the label ``priority`` compares by it."""

_SAFE_VALUE = re.compile(r"[\w.@%+#,;$&!?~'|-][\w.@%+#,;$&!?~'|:/<>=-]*")


class Node:
    """A node of the tree."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class And(Node):
    """All terms hold; without any, everything matches."""

    terms: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return " ".join(_inside(term, Or) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Or(Node):
    """At least one of two or more terms holds."""

    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(_inside(term, Or) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The term does not hold."""

    term: Node

    def __str__(self) -> str:
        return f"-{_inside(self.term, And, Or)}"


@dataclass(frozen=True, slots=True)
class Word(Node):
    """A whole word (with ``prefix``: its beginning) in message, attributes, event or error code.

    Case-free. Where an end of ``text`` is not a letter, digit or underscore, that end is free.
    """

    text: str
    prefix: bool = False

    def __str__(self) -> str:
        return f"{self.text}{'*' if self.prefix else ''}"


@dataclass(frozen=True, slots=True)
class Phrase(Node):
    """Words in this order with exactly this between them; sought like a :class:`Word`."""

    text: str

    def __str__(self) -> str:
        return quoted(self.text)


@dataclass(frozen=True, slots=True)
class Regex(Node):
    """A regular expression found somewhere in the message."""

    pattern: str

    def __str__(self) -> str:
        return f"/{self.pattern}/"


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A comparison of one field.

    ``name`` is one of FIELDS, ``attributes.PATH`` or, on labels, any label. ``op`` is one of
    COMPARISONS, or ``~`` when ``value`` is a regular expression. ``:`` compares whole texts with
    their case; with ``prefix`` their beginning, so that ``prefix`` with an empty value asks whether
    there is a value at all. An order compares numbers or, where its bound was ``quoted``, texts by
    their characters.
    """

    name: str
    op: str
    value: str
    prefix: bool = False
    quoted: bool = False

    def __str__(self) -> str:
        name = self.name
        if name.startswith(ATTRIBUTES):
            name = ATTRIBUTES_SHORT + name[len(ATTRIBUTES) :]
        if self.op == "~":
            return f"{name}:/{self.value}/"
        value = self.value
        bare = _SAFE_VALUE.fullmatch(value) or (self.prefix and not value)
        if self.quoted or not bare:
            value = quoted(value)
        return f"{name}{self.op}{value}{'*' if self.prefix else ''}"


def quoted(text: str) -> str:
    """Return the text in double quotes, with backslashes before quotes and backslashes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _inside(node: Node, *looser: type[Node]) -> str:
    """Return the node's text, in parentheses where it binds no tighter than its surroundings."""
    nested = isinstance(node, (And, *looser))
    return f"({node})" if nested else str(node)


def canonical(node: Node) -> Node:
    """Return the one form of all trees that differ only in order, repetition or case of words."""
    if isinstance(node, Word):
        return Word(fold(node.text), node.prefix)
    if isinstance(node, Phrase):
        return Phrase(fold(node.text))
    if isinstance(node, Not):
        term = canonical(node.term)
        return term.term if isinstance(term, Not) else Not(term)
    if isinstance(node, (And, Or)):
        terms = {str(term): term for term in map(canonical, node.terms)}
        if len(terms) == 1:
            return next(iter(terms.values()))
        return type(node)(tuple(terms[key] for key in sorted(terms)))
    return node


def comparisons(node: Node) -> Iterator[Field]:
    """Yield every comparison in the tree, negated ones too."""
    if isinstance(node, Field):
        yield node
    elif isinstance(node, (And, Or)):
        for term in node.terms:
            yield from comparisons(term)
    elif isinstance(node, Not):
        yield from comparisons(node.term)


def severity_range(op: str, value: str) -> tuple[int, int]:
    """Return the lowest and highest severity number that ``severity<op><value>`` accepts.

    The name of a group stands for all four numbers: ``severity:error`` is 17 to 20 and
    ``severity>error`` begins at 21. An empty range has its lowest above its highest. ``value`` must
    be a severity.
    """
    number = severity.parse(int(value) if value.isdecimal() else value)
    if number is None:
        raise ValueError(f"not a severity: {value}")
    last = number + 3 if severity.name(number).lower() == value else number
    return {
        ":": (number, last),
        ">=": (number, severity.MAXIMUM),
        ">": (last + 1, severity.MAXIMUM),
        "<=": (severity.MINIMUM, last),
        "<": (severity.MINIMUM, number - 1),
    }[op]


def attribute_path(name: str) -> tuple[str, ...]:
    """Return the steps of ``attributes.a.b``: ``("a", "b")``.

    The value is the one at the nested path or, where that is absent or null, at the flat key
    ``a.b``. A step that is an integer is a place in an array.
    """
    return tuple(name[len(ATTRIBUTES) :].split("."))
