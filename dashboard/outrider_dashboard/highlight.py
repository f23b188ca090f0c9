"""The layer of light behind the filter's input: which characters are which term. Pure.

The input stays plain text; a layer of the same text lies behind it and paints grounds and colours.
So it must repeat the text to the letter, spaces included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.filter import FilterError, Kind, parse, tokens

if TYPE_CHECKING:
    from outrider.filter import Filter, Token

_ALONE = {Kind.KEYWORD, Kind.PARENTHESIS}


@dataclass(frozen=True)
class Letters:
    """A run of characters of one kind (a class of the style sheet)."""

    text: str
    kind: str


@dataclass(frozen=True)
class Run:
    """A term (``in``: included, ``out``: excluded) or what lies between terms (empty)."""

    letters: tuple[Letters, ...]
    term: str = ""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with the text: where, what, and the repaired text where one is known."""

    column: int
    message: tuple[Letters, ...]
    suggestion: str | None
    repaired: str | None
    length: int = 1

    @property
    def start(self) -> int:
        """Where it begins, from 0."""
        return self.column - 1

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + max(1, self.length)


def runs(text: str, mistake: Mistake | None = None) -> list[Run]:
    """Divide a filter's text into terms and what lies between; joined, they are the text.

    The characters of a mistake are of the kind ``error``.
    """
    found = _runs(text)
    return found if mistake is None else _marked(found, mistake.start, mistake.end)


def _marked(found: list[Run], start: int, end: int) -> list[Run]:
    """Cut letters at the edges of [start, end) and make those inside errors."""
    out, position = [], 0
    for run in found:
        letters: list[Letters] = []
        for one in run.letters:
            first, last = max(0, start - position), min(len(one.text), end - position)
            if first < last:
                parts = ((0, first, one.kind), (first, last, "error"), (last, None, one.kind))
                letters += [Letters(one.text[a:b], kind) for a, b, kind in parts if one.text[a:b]]
            else:
                letters.append(one)
            position += len(one.text)
        out.append(Run(tuple(letters), run.term))
    return out


def _runs(text: str) -> list[Run]:
    out: list[Run] = []
    position = 0
    open_term: list[Letters] = []
    last_end = -1

    def close() -> None:
        if open_term:
            excluded = open_term[0].kind == Kind.MINUS
            out.append(Run(tuple(open_term), "out" if excluded else "in"))
            open_term.clear()

    for token in tokens(text):
        if token.start > position or token.start != last_end or token.kind in _ALONE:
            close()
        if token.start > position:
            out.append(Run((Letters(text[position : token.start], "space"),)))
        if token.end <= position:
            # A token about characters that another one has claimed: what is wrong with them.
            open_term[-1:] = [Letters(letters.text, _kind(token)) for letters in open_term[-1:]]
            continue
        letters = Letters(text[max(token.start, position) : token.end], _kind(token))
        if token.kind in _ALONE:
            out.append(Run((letters,)))
        else:
            open_term.append(letters)
        position = last_end = token.end
    close()
    if position < len(text):
        out.append(Run((Letters(text[position:], "space"),)))
    return out


def _kind(token: Token) -> str:
    return str(token.kind.value)


def read(text: str) -> tuple[Filter | None, Mistake | None]:
    """Parse a filter; else say what is wrong and how it could be repaired."""
    try:
        return parse(text), None
    except FilterError as error:
        repaired = None
        if error.suggestion:
            end = error.position + error.length
            repaired = text[: error.position] + error.suggestion + text[end:]
            if not _reads(repaired):
                repaired = None
        message = with_code(error.message)
        return None, Mistake(error.column, message, error.suggestion, repaired, error.length)


def _reads(text: str) -> bool:
    try:
        parse(text)
    except FilterError:
        return False
    return True


def with_code(message: str) -> tuple[Letters, ...]:
    """Split a message at its backticks: what stands between them is code."""
    return tuple(
        Letters(part, "code" if i % 2 else "") for i, part in enumerate(message.split("`")) if part
    )
