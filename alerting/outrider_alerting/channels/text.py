"""Log text is hostile: made harmless and short here before any channel dresses it.

What goes: control characters (NUL ends strings, ESC drives terminals, CR and LF make headers),
lone surrogates (they cannot be encoded) and the characters that turn the reading direction (they
let a line show what it does not say). Each becomes U+FFFD, so that a reader sees that something
was there. Letters of right-to-left scripts, emoji and their joiners stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider_alerting.content import EvidenceLine

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

# C0 without tab and newline, DEL and C1, embeddings, overrides and isolates of direction,
# line and paragraph separators, byte order mark, surrogates, noncharacters.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """Return the text with harmful characters replaced; tabs stay, every line end is a newline."""
    return _HARMFUL.sub(REPLACEMENT, text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Return the text as one line: every run of white space is one space, nothing harmful."""
    return _SPACE.sub(" ", clean(text)).strip()


def units(text: str) -> int:
    """Length in UTF-16 code units, which is how Telegram counts."""
    return len(text) + sum(character > "\uffff" for character in text)


def clip(text: str, limit: int) -> str:
    """Return the text in at most `limit` UTF-16 units; what is cut ends with an ellipsis."""
    # The usual short text needs no walk: a code point is at most two units.
    if 2 * len(text) <= limit or units(text) <= limit:
        return text
    if limit < 1:
        return ""
    room, end = limit - 1, 0
    for character in text:
        room -= 2 if character > "\uffff" else 1
        if room < 0:
            break
        end += 1
    return text[:end].rstrip() + ELLIPSIS


def evidence_line(line: EvidenceLine) -> str:
    """Return a record as one harmless line: time of day in UTC, severity, worker, message."""
    at = clock(line.at_us)
    parts = (at, one_line(line.severity), one_line(line.worker), one_line(line.message))
    return " ".join(filter(None, parts))


def clock(at_us: int) -> str:
    """Return the time of day, UTC with milliseconds, of microseconds since 2000."""
    ms = at_us // 1000 % 86_400_000
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
