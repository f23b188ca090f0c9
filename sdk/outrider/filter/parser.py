"""From a filter's text to its tree.

    filter  = [ or ]
    or      = and { "OR" and }
    and     = not { [ "AND" ] not }
    not     = { "-" | "NOT" } term
    term    = "(" or ")" | word | phrase | /regex/ | field
    field   = name comparison value | name ":" "(" or-of-values ")"

    value   = text | text "*" | quoted | quoted "*" | /regex/

Limits: 4,096 characters, 50 levels, 100 terms.
"""

from __future__ import annotations

import re

from outrider import severity
from outrider.configuration import suggest
from outrider.filter.errors import FilterError
from outrider.filter.expressions import ExpressionError, expression_test
from outrider.filter.lexer import Kind, Token, tokens
from outrider.filter.syntax import (
    ATTRIBUTES,
    ATTRIBUTES_SHORT,
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
    quoted,
)

MAX_LENGTH = 4096
MAX_DEPTH = 50
MAX_TERMS = 100

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
"""A number in a comparison: JSON's form."""

_LABEL = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_OTHER_NAMES = {"level": "severity", "trace": "trace_id", "code": "error_code",
                "error": "error_code", "name": "event"}  # fmt: skip
# Some logs have four letters for every level; whoever types them in a filter has mistyped.
_CLIPPED = {"eror", "debg"}
_TIMES = {"ts", "time", "timestamp", "date", "since", "until", "observed_at", "received_at"}


# What stands for bytes that are no UTF-8, or was written as such an escape: no text holds it.
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_tree(text: str, *, labels: bool = False) -> Node:
    """Parse a filter; with ``labels`` every name is a field. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"longer than {MAX_LENGTH} characters", MAX_LENGTH, len(text) - MAX_LENGTH
        )
    if "\0" in text:
        # No stored text holds one, and Postgres takes none.
        raise FilterError("a NUL character matches nothing: leave it out", text.index("\0"), 1)
    half = _SURROGATE.search(text)
    if half is not None:
        raise FilterError("not UTF-8: half a character matches nothing", half.start(), 1)
    found = tokens(text)
    for token in found:
        if token.error is not None:
            raise token.error
    parser = _Parser(found, labels=labels)
    return parser.parse()


class _Parser:
    def __init__(self, found: list[Token], *, labels: bool) -> None:
        self._tokens = found
        self._next = 0
        self._labels = labels
        self._depth = 0
        self._terms = 0

    def parse(self) -> Node:
        if not self._tokens:
            return And(())
        node = self._or(None)
        left = self._peek()
        if left is not None:  # only a closing parenthesis ends an expression early
            raise _at(left, "`)` closes nothing")
        return node

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _says(self, kind: Kind, text: str) -> bool:
        token = self._peek()
        return token is not None and token.kind is kind and token.text == text

    def _or(self, field: Token | None) -> Node:
        terms = [self._and(field)]
        while self._says(Kind.KEYWORD, "OR"):
            self._next += 1
            terms.append(self._and(field))
        return _joined(Or, terms)

    def _and(self, field: Token | None) -> Node:
        terms = [self._not(field)]
        while True:
            if self._says(Kind.KEYWORD, "AND"):
                self._next += 1
            elif self._ends():
                return _joined(And, terms)
            terms.append(self._not(field))

    def _ends(self) -> bool:
        done = self._peek() is None
        return done or self._says(Kind.KEYWORD, "OR") or self._says(Kind.PARENTHESIS, ")")

    def _not(self, field: Token | None) -> Node:
        if self._says(Kind.MINUS, "-") or self._says(Kind.KEYWORD, "NOT"):
            token = self._tokens[self._next]
            self._next += 1
            self._enter(token)
            node = Not(self._not(field))
            self._depth -= 1
            return node
        return self._term(field)

    def _term(self, field: Token | None) -> Node:
        token = self._peek()
        if token is None:
            before = self._tokens[self._next - 1]
            raise _at(before, f"something is missing after `{_said(before)}`")
        if token.kind is Kind.PARENTHESIS and token.text == "(":
            return self._group(field)
        if token.kind in {Kind.PARENTHESIS, Kind.KEYWORD}:
            raise _at(token, f"something is missing before `{token.text}`")
        self._next += 1
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise _at(token, f"more than {MAX_TERMS} terms")
        if field is not None:
            return self._field_value(field, ":", token)
        if token.kind is Kind.FIELD:
            return self._field(token)
        return self._text(token)

    def _group(self, field: Token | None) -> Node:
        opening = self._tokens[self._next]
        self._next += 1
        self._enter(opening)
        node = self._or(field)
        if not self._says(Kind.PARENTHESIS, ")"):
            raise _at(opening, "the parenthesis is never closed")
        self._next += 1
        self._depth -= 1
        return node

    def _enter(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _at(token, f"nested more than {MAX_DEPTH} levels deep")

    def _text(self, token: Token) -> Node:
        if token.kind is Kind.PHRASE:
            return Phrase(token.text)
        if token.kind is Kind.REGEX:
            _check_expression(token)
            return Regex(token.text)
        return Word(token.text, token.prefix)

    def _field(self, name: Token) -> Node:
        sign = self._tokens[self._next]
        self._next += 1
        if self._says(Kind.PARENTHESIS, "("):
            if sign.text != ":":
                raise _at(sign, f"only `:` may stand before a parenthesis, not `{sign.text}`")
            # The group's own terms are counted, not the field.
            self._terms -= 1
            return self._group(name)
        value = self._tokens[self._next]
        self._next += 1
        return self._field_value(name, sign.text, value)

    def _field_value(self, name: Token, op: str, value: Token) -> Node:
        field = self._field_name(name)
        if value.kind is Kind.REGEX:
            if op != ":" or field in {"severity", "stream", "trace_id"}:
                raise _at(value, f"`{field}{op}` takes no regular expression")
            _check_expression(value)
            return Field(field, "~", value.text)
        if value.kind is Kind.FIELD:
            raise _at(value, f"a field inside the values of `{name.text}`; quote the value")
        if value.prefix and op != ":":
            raise _at(value, f"`*` has no meaning after `{op}`")
        text = self._normal_value(field, op, value)
        ordered = op != ":" and field not in {"severity", "priority"}
        return Field(field, op, text, value.prefix, quoted=ordered and value.quoted)

    def _field_name(self, token: Token) -> str:
        name = token.text
        if name.startswith(ATTRIBUTES_SHORT):
            name = ATTRIBUTES + name[len(ATTRIBUTES_SHORT) :]
        if name.startswith(ATTRIBUTES):
            if "" in name.split("."):
                raise _at(token, f"`{token.text}` has an empty step")
            return name
        if name in FIELDS or (self._labels and _LABEL.fullmatch(name)):
            return name
        if name.lower() in _TIMES:
            raise _at(token, "a filter has no time: the range stands beside it (--since, --until)")
        if name.lower() in {"message", "msg"}:
            raise _at(token, "words are sought in the message by themselves; leave out the field")
        raise _at(token, f"no field `{name}`", _meant_field(name))

    def _normal_value(self, field: str, op: str, value: Token) -> str:
        text = value.text
        if field == "severity" and not (value.prefix and not text):
            return _severity(value)
        if field == "stream" and not _DIGITS.fullmatch(text) and not value.prefix:
            raise _at(value, f"a stream is a number, not `{text}`")
        if field == "trace_id":
            return _trace_id(value)
        if op == ":":
            return text
        if field == "priority" and self._labels:
            if text not in PRIORITIES:
                near = suggest(text.lower(), PRIORITIES)
                raise _at(value, f"`{text}` is no priority ({', '.join(PRIORITIES)})", near)
            return text
        if not field.startswith(ATTRIBUTES) and not self._labels:
            raise _at(value, f"`{field}` has no order; only `{field}:value` can be asked")
        if not value.quoted and not NUMBER.fullmatch(text):
            message = f"`{op}` compares numbers, and `{text}` is none; in quotes it compares texts"
            raise _at(value, message, quoted(text))
        return text


def _meant_field(name: str) -> str | None:
    """Return what an unknown name probably meant: a field, else the attribute of that name."""
    word = name.lower()
    head, _, rest = word.partition(".")
    if rest and head in {"attr", "attribute"}:
        return ATTRIBUTES_SHORT + name[len(head) + 1 :]
    near = _OTHER_NAMES.get(word) or suggest(word, FIELDS, closeness=0.75)
    if near is None and _LABEL.fullmatch(name):
        return ATTRIBUTES_SHORT + name
    return near


def _severity(value: Token) -> str:
    if value.prefix:
        raise _at(value, "a severity takes no `*`; write `severity>=name`")
    number = severity.parse(value.text)
    if number is None or value.text.lower() in _CLIPPED:
        names = [name.lower() for name in severity.NAMES]
        near = suggest(value.text.lower(), [*names, "warning", "critical"])
        raise _at(value, f"`{value.text}` is no severity ({', '.join(names)} or 1 to 24)", near)
    name = severity.name(number).lower()
    whole_group = severity.parse(name) == number and not value.text.strip().isdecimal()
    return name if whole_group else str(number)


def _trace_id(value: Token) -> str:
    text = value.text.lower().replace("-", "")
    if not value.prefix and not _TRACE_ID.fullmatch(text):
        raise _at(value, "a trace id has 32 hexadecimal digits; a `*` may stand after fewer")
    return text


def _check_expression(token: Token) -> None:
    """Let the engine read the expression. FilterError at the part that it refuses."""
    try:
        expression_test(token.text)
    except ExpressionError as error:
        # The token ends in the slash; a field's value begins with one too.
        place = token.text.rfind(error.part) if error.part else -1
        if place < 0:
            raise _at(token, error.message) from error
        start = token.end - 1 - len(token.text) + place
        raise FilterError(error.message, start, len(error.part)) from error


def _joined(kind: type[And | Or], terms: list[Node]) -> Node:
    """Return one node; ``a (b c)`` and ``a b c`` are the same tree."""
    if len(terms) == 1:
        return terms[0]
    flat: list[Node] = []
    for term in terms:
        flat.extend(term.terms if isinstance(term, kind) else (term,))
    return kind(tuple(flat))


def _said(token: Token) -> str:
    return token.text or "-"


def _at(token: Token, message: str, suggestion: str | None = None) -> FilterError:
    return FilterError(message, token.start, token.end - token.start, suggestion)
