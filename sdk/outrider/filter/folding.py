r"""How text is compared without case, and what a whole word is.

Folding is per character and keeps the length: a character becomes its lower-case form where that
is one character and stays on its side of ASCII (so U+212A, the Kelvin sign, is not a ``k``). Hence
positions in folded text are positions in the text, and a search for ASCII letters may run over
bytes lowered as ASCII.

A word is sought as a literal; where its first or last character is a word character (a letter, a
digit or an underscore, as Unicode has them), the character before or after must not be one. In
attributes, which are searched as JSON text, an escape for white space before the word (as in
``"\nValueError"``) is a boundary too.
"""

from __future__ import annotations

import re

# The three characters for which str.lower() is not per character, longer, or leaves non-ASCII.
_ODD = re.compile("[\u0130\u03a3\u212a]")
_KEPT = "\u0130\u212a"

_NO_WORD_BEFORE = r"(?<!\w)"
_NO_WORD_BEFORE_IN_JSON = r"(?:(?<!\w)|(?<=\\[nrtbf]))"
_NO_WORD_AFTER = r"(?!\w)"


def fold(text: str) -> str:
    """Return the text without differences of case; equally long."""
    if text.isascii() or not _ODD.search(text):
        return text.lower()
    return "".join(c if c in _KEPT else c.lower() for c in text)


def is_word_character(character: str) -> bool:
    """Tell whether it is a letter, a digit or an underscore."""
    return character.isalnum() or character == "_"


def word_pattern(text: str, *, prefix: bool = False, json: bool = False) -> re.Pattern[str]:
    """Return the pattern that finds the word ``text`` in folded text (or folded JSON text)."""
    folded = fold(text)
    before = after = ""
    if folded and is_word_character(folded[0]):
        before = _NO_WORD_BEFORE_IN_JSON if json else _NO_WORD_BEFORE
    if folded and is_word_character(folded[-1]) and not prefix:
        after = _NO_WORD_AFTER
    return re.compile(before + re.escape(folded) + after)
