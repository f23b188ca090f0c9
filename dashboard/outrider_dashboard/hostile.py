"""Log text is hostile: how much of it a page shows, and on how many lines. Pure.

Templates escape markup. What markup escaping does not touch, :mod:`outrider.visible` shows as a
symbol. Newline and tab stay where text may have several lines.
"""

from __future__ import annotations

from outrider.visible import INVISIBLE, symbol

_KEPT_LINES = frozenset("\n\t")
_IN_A_LINE = {"\n": " \u21b5 ", "\t": "\u2192"}
"""Common characters as arrows: few fonts have the pictures of control characters."""


def visible(text: str, limit: int = 0) -> str:
    """Return the text on one line with every invisible character shown; cut after ``limit``."""
    cut = text[:limit] if limit and len(text) > limit else text
    flat = cut.replace("\r\n", "\n")
    shown = INVISIBLE.sub(lambda m: _IN_A_LINE.get(m[0]) or symbol(m), flat)
    return shown + "\u2026" if len(cut) < len(text) else shown


def visible_lines(text: str, limit: int = 0) -> str:
    """Return the text with its line breaks and tabs, other invisible characters shown."""
    cut = text[:limit] if limit and len(text) > limit else text
    flat = cut.replace("\r\n", "\n")
    shown = INVISIBLE.sub(lambda m: m[0] if m[0] in _KEPT_LINES else symbol(m), flat)
    return shown + "\u2026" if len(cut) < len(text) else shown
