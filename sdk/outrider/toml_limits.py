"""What a TOML text may not hold here, though its syntax allows it. Pure.

Behind the parser stand file names, a database and a JSON encoder. None takes a zero byte, a number
beyond 64 bits or that is none (``inf``, ``nan``), or tables in tables without end; so no text that
holds one is taken at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider.toml_lines import KeyPath

DEPTH_MAX: Final = 32
"""Tables and lists inside each other."""
_INT_MAX: Final = 2**63 - 1
"""TOML itself promises no more than 64 bits."""


class Excess(NamedTuple):
    """A value that is not taken: where it stands, what it is, what to do."""

    path: KeyPath
    what: str
    what_to_do: str


def excess(document: dict[str, Any]) -> Excess | None:
    """Return the first value of a parsed text that is not taken, or None."""
    waiting: list[tuple[KeyPath, object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > DEPTH_MAX:
            return Excess(path, f"nested deeper than {DEPTH_MAX} levels", "")
        if isinstance(value, dict | list):
            waiting.extend(reversed([((*path, key), inner) for key, inner in _items(value)]))
        elif isinstance(value, str) and "\0" in value:
            return Excess(path, "`{}` holds a zero byte", "write it without `\\u0000`")
        elif isinstance(value, int) and not -_INT_MAX - 1 <= value <= _INT_MAX:
            return Excess(path, "`{}` is a number beyond 64 bits", "write a smaller one")
        elif isinstance(value, float) and not math.isfinite(value):
            return Excess(path, "`{}` is not a finite number", "write one")
    return None


def _items(value: dict[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)
