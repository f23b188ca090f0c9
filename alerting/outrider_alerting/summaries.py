"""Summaries: a rule's own words with names in braces, ``{count} errors in {window} on {worker}``.

Not a template language: a name stands for a value that the engine has, ``{{`` and ``}}`` for the
signs themselves, and that is all. An unknown name is found when the rules are checked, never when
an alert fires.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEMPLATE: Final = 300
MAX_SUMMARY: Final = 500
MAX_VALUE: Final = 120

_PIECE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.]*)\}|[{}]")


class SummaryError(ValueError):
    """A template cannot be used: what is wrong, and the offending name if it is one."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


def names(template: str) -> list[str]:
    """Return the names in a template, in order. Raises SummaryError for a brace out of place."""
    found: list[str] = []
    for piece in _PIECE.finditer(template):
        if piece[1]:
            found.append(piece[1])
        elif piece[0] in "{}":
            where = f"a lone `{piece[0]}` at column {piece.start() + 1}"
            raise SummaryError(f"{where}; a name is written {{like_this}}, the sign itself twice")
    return found


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill in the values, each cut at 120 characters. A name without a value becomes ``?``."""

    def piece(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0][0]
        value = values.get(match[1], "?")
        return value if len(value) <= MAX_VALUE else value[: MAX_VALUE - 1] + "…"

    return _PIECE.sub(piece, template)[:MAX_SUMMARY]
