"""Names that rotation gives to the files of a path (pure)."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMAINDER = re.compile(r"[.\-_](?:.*\d.*|old|bak|prev|previous|last)", re.ASCII | re.IGNORECASE)


def rotated_names(path: str, siblings: list[str]) -> Iterator[str]:
    """Pick from sorted paths of one directory those that rotation gives a file of ``path``.

    The name and what begins with a separator (``a.log.1``, ``a.log-2026``), or that in front of
    the suffix (``a.1.log``, ``a-2026.log``); it has a digit, or is a word such as ``old``.
    """
    stem, suffix = os.path.splitext(path)  # noqa: PTH122  a string
    for position in range(bisect_left(siblings, stem), len(siblings)):
        sibling = siblings[position]
        if not sibling.startswith(stem):
            break
        if sibling.startswith(path):
            remainder = sibling[len(path) :]
        elif suffix and sibling.endswith(suffix):
            remainder = sibling[len(stem) : -len(suffix)]
        else:
            continue
        if _REMAINDER.fullmatch(remainder):
            yield sibling


def homes(path: str) -> list[str]:
    """Return the paths of which a name can be a rotated one, the longest first."""
    cuts = [at for at in range(len(path) - 1, path.rfind("/") + 1, -1) if path[at] in ".-_"]
    suffix = os.path.splitext(path)[1]  # noqa: PTH122  a string
    possible = [path[:at] + end for at in cuts for end in ("", suffix)]
    return [one for one in possible if list(rotated_names(one, [path]))]
