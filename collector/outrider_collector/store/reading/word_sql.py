r"""Finding a whole word in SQL exactly as :mod:`outrider.filter.folding` defines it.

What Postgres calls a letter depends on the database's locale, so nothing here leaves it to
Postgres: the collation is always "C", under which only ASCII has case and classes, and everything
beyond ASCII is spelled out.

* Folding keeps each character on its side of ASCII. So text lowered under "C" is folded text but
  for its characters beyond ASCII, and in the pattern each of those becomes the set of characters
  that fold to it: ``é`` becomes ``[éÉ]``.
* The boundary of a word is tested twice. First as if only ASCII had word characters, which lets
  through too much but never too little. Where the text is ASCII, and most is, that was exact; other
  text is tested again with every letter and digit of Unicode listed in the pattern.

Before any pattern the longest ASCII run of the word is sought as a literal, which costs a tenth.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from psycopg import sql

from outrider.filter.folding import fold, is_word_character
from outrider_collector.store.reading.logic import TRUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from psycopg.sql import Composable

_ASCII_RUN: Final = re.compile(r"[\x00-\x7f]+")
_ASCII_WORD: Final = "0-9a-z_"
_BEYOND_ASCII: Final = range(0x80, 0x40000)
"""Characters that can be letters or digits: the planes above have none, and are most of Unicode."""

# In JSON text the escape of a white space before a word ends what stands before it.
_JSON_ESCAPE: Final = r"(?<=\\[nrtbf])"

_FOUND: Final = sql.SQL(
    "(case when {column} is null then false"
    " when strpos({lowered}, {needle}) = 0 then false"
    " when {lowered} !~ {loose} then false"
    " when octet_length({column}) = length({column}) then true"
    " else {lowered} ~ {exact} end)"
)


_HELD: Final = sql.SQL('strpos(lower({texts} collate "C"), {needle}) > 0')


def word_held(text: str, texts: Composable, parameter: Callable[[str], Composable]) -> Composable:
    """Return a condition that holds wherever texts, joined to one, have the word in one of them."""
    needle = ascii_needle(text)
    return _HELD.format(texts=texts, needle=parameter(needle)) if needle else TRUE


def word_condition(
    text: str,
    column: Composable,
    parameter: Callable[[str], Composable],
    *,
    prefix: bool,
    json: bool,
) -> Composable:
    """Return the condition that ``column`` has the word; never null.

    ``parameter`` takes a value and returns its placeholder.
    """
    folded = fold(text)
    return _FOUND.format(
        column=column,
        lowered=sql.SQL('lower({} collate "C")').format(column),
        needle=parameter(_longest_ascii(folded)),
        loose=parameter(_pattern(folded, _ASCII_WORD, prefix=prefix, json=json)),
        exact=parameter(_pattern(folded, _all_word_characters(), prefix=prefix, json=json)),
    )


def ascii_needle(text: str) -> str:
    """Return the longest part of a word that is in every text that has it, lowered under "C"."""
    return _longest_ascii(fold(text))


def _longest_ascii(folded: str) -> str:
    return max(_ASCII_RUN.findall(folded), key=len, default="")


def _pattern(folded: str, word_characters: str, *, prefix: bool, json: bool) -> str:
    """Return the Postgres pattern for text lowered under "C"."""
    before = after = ""
    if folded and is_word_character(folded[0]):
        before = f"(?<![{word_characters}])"
        if json:
            before = f"({before}|{_JSON_ESCAPE})"
    if folded and is_word_character(folded[-1]) and not prefix:
        after = f"(?![{word_characters}])"
    return before + "".join(map(_character, folded)) + after


def _character(character: str) -> str:
    if character.isascii():
        return character if character.isalnum() else f"\\u{ord(character):04x}"
    same = _unfolded().get(character)
    return f"[{character}{same}]" if same else character


@cache
def _unfolded() -> dict[str, str]:
    """Return, for characters beyond ASCII, the other characters that fold to them."""
    others: dict[str, str] = {}
    for character in map(chr, _BEYOND_ASCII):
        # Most have no case: folding them, at four times the cost, would not change them either.
        if character.lower() != character and (folded := fold(character)) != character:
            others[folded] = others.get(folded, "") + character
    return others


@cache
def _all_word_characters() -> str:
    """Return every word character of folded text as ranges for a bracket expression."""
    codes = (code for code in _BEYOND_ASCII if chr(code).isalnum())
    return _ASCII_WORD + "".join(_ranges(codes))


def _ranges(codes: Iterable[int]) -> Iterable[str]:
    first = last = -1
    for code in codes:
        if code == last + 1:
            last = code
            continue
        if first >= 0:
            yield _range(first, last)
        first = last = code
    if first >= 0:
        yield _range(first, last)


def _range(first: int, last: int) -> str:
    return chr(first) if first == last else f"{chr(first)}-{chr(last)}"
