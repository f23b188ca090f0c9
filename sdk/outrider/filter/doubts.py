"""What a filter says that its author may have meant otherwise. Pure.

Nothing here is a mistake: the words are sought as they stand. Whoever found nothing is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from outrider.filter.syntax import (
    ATTRIBUTES,
    ATTRIBUTES_SHORT,
    FIELDS,
    KEYWORDS,
    And,
    Node,
    Not,
    Or,
    Word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS: Final = {"&&": "AND", "&": "AND", "||": "OR", "|": "OR", "!": "NOT"}
_PATH: Final = re.compile(r"\w+(\.\w+)*")


def doubts(node: Node) -> list[str]:
    """Return a sentence for each word that reads like an operator, an alternative or a field."""
    return list(dict.fromkeys(said for word in _words(node) if (said := _doubt(word))))


def _words(node: Node) -> Iterator[str]:
    if isinstance(node, Word):
        yield node.text
    elif isinstance(node, And | Or):
        for term in node.terms:
            yield from _words(term)
    elif isinstance(node, Not):
        yield from _words(node.term)


def _doubt(word: str) -> str:
    operator = _SIGNS.get(word) or word.upper()
    if operator in KEYWORDS:
        return f"`{word}` is a word here; `{operator}` is the operator"
    if "|" in word.strip("|"):
        either = " OR ".join(part for part in word.split("|") if part)
        return f"`{word}` is searched with its `|`; `{either}` finds one or the other"
    for head in (ATTRIBUTES_SHORT, ATTRIBUTES):
        if word.startswith(head) and _PATH.fullmatch(word[len(head) :]):
            return f"`{word}` is searched as a word; `{word}:*` finds records that have it"
    if word in FIELDS and "_" in word:
        return f"`{word}` is searched as a word; `{word}:*` finds records that have it"
    return ""
