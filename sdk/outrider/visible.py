"""Text from outside is hostile: here it is made to show what it is. Pure.

An escape sequence in a message, a rule's summary or a file's name could clear the screen, change
the clipboard or hide a word, and a direction mark could reverse what an operator reads. So every
character that does not show itself is shown as a symbol, before text reaches a terminal or a page.
"""

from __future__ import annotations

import re
from typing import Final

INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""C0 and C1 controls, the soft hyphen, direction marks and overrides, invisible joiners, line and
paragraph separators, the byte order mark, tags and lone surrogates."""


def visible(text: str) -> str:
    """Return the text on one line, each invisible character as a symbol."""
    return INVISIBLE.sub(symbol, text)


def symbol(match: re.Match[str]) -> str:
    """Return a control character's picture (ESC as U+241B), another's code: ``<U+202E>``."""
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"
