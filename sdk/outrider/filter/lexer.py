"""From a filter's text to tokens with their places.

:func:`tokens` never fails, so that an editor can colour what is being typed; a token of kind
``ERROR`` carries what :func:`outrider.filter.parser.parse` will raise.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from outrider.filter.errors import FilterError
from outrider.filter.syntax import COMPARISONS, KEYWORDS


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    PHRASE = "phrase"
    REGEX = "regex"
    FIELD = "field"
    COMPARISON = "comparison"
    VALUE = "value"
    KEYWORD = "keyword"
    MINUS = "minus"
    PARENTHESIS = "parenthesis"
    ERROR = "error"


class Token(NamedTuple):
    """A token: where it stands, what it is, what it says without quotes and marks."""

    start: int
    end: int
    kind: Kind
    text: str = ""
    prefix: bool = False
    """A ``*`` follows the text."""
    quoted: bool = False
    """The text stood in quotes."""
    error: FilterError | None = None


_SPACE = re.compile(r"\s+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(\*?)', re.DOTALL)
EXPRESSION = re.compile(r"/((?:[^/\\\n]|\\.)+)/(?=[\s)]|$)")
"""A regular expression where a term or a value begins; group 1 is its pattern."""
_NAME = re.compile(r'(?:[^\s()":<>=!]|!(?!=))+')
_COMPARISON = re.compile(r"(?:[:<>=]|!=)+")
_BARE = re.compile(r'[^\s()"]+')
_ESCAPE = re.compile(r'\\(["\\])')

# What people type for a comparison that exists.
_MEANT = {"=>": ">=", "=<": "<=", "=": ":", "==": ":", ":=": ":", "::": ":", ">>": ">", "<<": "<",
          ":>": ">", ":<": "<", ":>=": ">=", ":<=": "<="}  # fmt: skip


def tokens(text: str) -> list[Token]:
    """Return the tokens of a filter's text, in order, without white space."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        space = _SPACE.match(text, position)
        if space:
            position = space.end()
            continue
        # In `name:(a OR b)` every word in the parentheses is a value; the parser knows that.
        found.extend(_term(text, position))
        position = found[-1].end
    return found


def _term(text: str, position: int) -> list[Token]:
    character = text[position]
    if character in "()":
        return [Token(position, position + 1, Kind.PARENTHESIS, character)]
    if character == "-":
        return [_minus(text, position)]
    if character == '"':
        return [_quoted(text, position, Kind.PHRASE)]
    regex = EXPRESSION.match(text, position)
    if regex:
        return [Token(position, regex.end(), Kind.REGEX, regex[1])]
    name = _NAME.match(text, position)
    start = name.end() if name else position
    comparison = _COMPARISON.match(text, start)
    if comparison and name:
        return _field(text, name, comparison)
    if comparison:
        return [_error(position, comparison.end(), f"a field is missing before `{comparison[0]}`")]
    assert name is not None  # noqa: S101  the character is neither space, bracket, quote nor sign
    if name[0] in KEYWORDS:
        return [Token(position, start, Kind.KEYWORD, name[0])]
    return [_bare(position, name[0], Kind.WORD)]


def _field(text: str, name: re.Match[str], comparison: re.Match[str]) -> list[Token]:
    field = Token(name.start(), name.end(), Kind.FIELD, name[0])
    start, end = comparison.span()
    if comparison[0] not in COMPARISONS:
        return [field, _not_a_comparison(field, comparison)]
    sign = Token(start, end, Kind.COMPARISON, comparison[0])
    if end == len(text) or text[end] in ") \t\r\n":
        return [field, _error(start, end, f"a value is missing after `{name[0]}{sign.text}`")]
    if text[end] == "(":
        return [field, sign]
    return [field, sign, _value(text, end)]


def _not_a_comparison(field: Token, comparison: re.Match[str]) -> Token:
    said = comparison[0]
    if said == "!=":
        return _error(
            comparison.start(), comparison.end(),
            f"`!=` is not a comparison; write `-{field.text}:value`",
        )  # fmt: skip
    return _error(
        comparison.start(), comparison.end(), f"`{said}` is not a comparison", _MEANT.get(said)
    )


def _value(text: str, position: int) -> Token:
    if text[position] == '"':
        return _quoted(text, position, Kind.VALUE)
    regex = EXPRESSION.match(text, position)
    if regex:
        return Token(position, regex.end(), Kind.REGEX, regex[1])
    bare = _BARE.match(text, position)
    # Not None: the caller has seen that it is no space or bracket, and quotes were tried.
    return _bare(position, bare[0] if bare else "", Kind.VALUE)


def _bare(position: int, said: str, kind: Kind) -> Token:
    end = position + len(said)
    body = said.removesuffix("*")
    if "*" in body:
        star = position + body.index("*")
        return _error(
            position, end, "`*` may only stand at the end; quote the text to mean the sign itself",
            at=star,
        )  # fmt: skip
    if not body and kind is Kind.WORD:
        return _error(position, end, "`*` alone says nothing; an empty filter matches everything")
    return Token(position, end, kind, body, prefix=said != body)


def _quoted(text: str, position: int, kind: Kind) -> Token:
    match = _QUOTED.match(text, position)
    if match is None:
        return _error(position, len(text), "the quote is never closed", at=position)
    body = _ESCAPE.sub(r"\1", match[1])
    if kind is Kind.PHRASE and match[2]:
        return _error(position, match.end(), "`*` may not follow a phrase", at=match.end() - 1)
    if kind is Kind.PHRASE and not body:
        return _error(position, match.end(), "an empty phrase says nothing")
    return Token(position, match.end(), kind, body, prefix=bool(match[2]), quoted=True)


def _minus(text: str, position: int) -> Token:
    if position + 1 == len(text) or text[position + 1] in " \t\r\n)":
        return _error(position, position + 1, "`-` must stand directly before what it excludes")
    return Token(position, position + 1, Kind.MINUS, "-")


def _error(
    start: int, end: int, message: str, suggestion: str | None = None, *, at: int | None = None
) -> Token:
    place = start if at is None else at
    length = 1 if at is not None else end - start
    error = FilterError(message, place, length, suggestion)
    return Token(start, end, Kind.ERROR, error=error)
