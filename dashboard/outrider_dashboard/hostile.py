"""Log text is hostile: this makes it show what it is. Pure.

Templates escape markup. What markup escaping does not touch is shown as a symbol here: control
characters by their pictures (ESC as U+241B), direction overrides and other invisible format
characters by their code in angle brackets, so that no line can hide a word, reorder itself or
colour a terminal it is pasted into. Newline and tab stay where text may have several lines.
"""

from __future__ import annotations

import re

# C0 and C1 controls, the soft hyphen, direction marks and overrides, invisible joiners, line and
# paragraph separators, the byte order mark, tags and lone surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_KEPT_LINES = frozenset("\n\t")


def visible(text: str, limit: int = 0) -> str:
    """Return the text on one line with every invisible character shown; cut after ``limit``."""
    cut = text[:limit] if limit and len(text) > limit else text
    shown = _INVISIBLE.sub(_symbol, cut)
    return shown + "\u2026" if len(cut) < len(text) else shown


def visible_lines(text: str, limit: int = 0) -> str:
    """Return the text with its line breaks and tabs, other invisible characters shown."""
    cut = text[:limit] if limit and len(text) > limit else text
    flat = cut.replace("\r\n", "\n")
    shown = _INVISIBLE.sub(lambda m: m[0] if m[0] in _KEPT_LINES else _symbol(m), flat)
    return shown + "\u2026" if len(cut) < len(text) else shown


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"<U+{code:04X}>"
