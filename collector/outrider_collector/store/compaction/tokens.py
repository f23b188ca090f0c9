r"""What a block's filter knows of its records: tokens, and which of them a search must find.

A token is a longest run of ``[0-9a-z_]`` in text lowered as ASCII. Characters beyond ASCII are on
neither side of that: they end a run, like a space. What a search of a whole word matches
(:mod:`outrider.filter.folding`) therefore always leaves the word's own runs as tokens:

* a run inside the word stands between the same characters in the text;
* at the word's edges the boundary that a match demands ends the run too;
* except behind the escape of a white space in JSON (``"\nValueError"``), where the text's run is
  ``nvalueerror``: there the run without its first letter is a token as well.

Numbers joined by one dot leave their pairs too ("10.2" and "2.3" of 10.2.3.4), because the parts of
an address are in every block. Values of some columns that are looked up whole leave one token with
the column's name before it.

What a block has is computed in :mod:`.checksums`; what a search seeks, here.

False tokens cost a look into a block; a missing one would hide a record. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from outrider.filter.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

WHOLE_COLUMNS: Final = ("logger", "trace_id", "correlation_id")
"""Columns whose values are tokens as a whole; of a trace id, its 32 digits."""

MOST_SOUGHT = 6
"""Of one word or phrase at most so many tokens are tested, the rarest by their looks."""

_RUN: Final = re.compile(r"[0-9a-z_]+")
_PAIR: Final = re.compile(r"(?<![0-9a-z_])(?=([0-9]+\.[0-9]+)(?![0-9a-z_]))")
_CUT_OFF: Final = re.compile(r"^[0-9a-z_]+|[0-9a-z_]+$")


def whole_token(column: str, value: str) -> bytes:
    """Return the token that says: ``column`` of a record is exactly ``value``."""
    return f"{column}={value}".encode()


def tokens_sought(folded: str, *, prefix: bool) -> list[bytes]:
    """Return tokens that every block with a match of a word or phrase has, rarest first.

    ``folded`` is the word as the filter language folds it. With ``prefix`` its end is open. An
    empty list: the filter says nothing about it.
    """
    found: dict[bytes, None] = {}
    for pattern, group in ((_RUN, 0), (_PAIR, 1)):
        for match in pattern.finditer(folded):
            if not (prefix and match.end(group) == len(folded)):
                found[match[group].encode()] = None
    return sorted(found, key=_rarity, reverse=True)[:MOST_SOUGHT]


def tokens_inside(texts: Iterable[str]) -> list[bytes]:
    """Return tokens of every block with a message that holds all these texts, rarest first.

    A run at an end of a text may be a part of a longer one: only what lies between is sought.
    """
    found: dict[bytes, None] = {}
    for text in texts:
        inner = _CUT_OFF.sub("", fold(text))
        found.update(dict.fromkeys(tokens_sought(inner, prefix=False)))
    return sorted(found, key=_rarity, reverse=True)[:MOST_SOUGHT]


def _rarity(token: bytes) -> tuple[bool, int]:
    """Identifiers are rare: they have digits, and are long."""
    return (len(token) > 3 and not token.isalpha()), len(token)
