"""Which lines of the embedded server's log say why it ended. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from outrider.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CHARACTERS: Final = 1_000
_LAST_LINES: Final = 2
_LOOKED_AT: Final = 50
# What it tells clients while it starts or stops, and whom it does not let in, is no cause.
_TO_CLIENTS: Final = (
    'the database system is|terminating|role |database "|password|.*authentication|no pg_hba'
    "|sorry, too many|remaining connection|unsupported frontend|canceling|connection"
)
# The likeliest first.
_CAUSES: Final = (
    re.compile("No space left on device"),
    re.compile(r"\bPANIC: "),
    re.compile(rf"\bFATAL: \s*(?!\s|{_TO_CLIENTS})"),
)


def said(lines: Sequence[str]) -> str:
    """Return whole lines as one, the cause before the last ones, at most MOST_CHARACTERS.

    Of a line that is longer than there is room only the beginning is there.
    """
    late = [line.strip() for line in lines if line.strip()][-_LOOKED_AT:]
    found = (line for cause in _CAUSES for line in reversed(late) if cause.search(line))
    first = next(found, None)
    picked = [*([first] if first else []), *(one for one in late[-_LAST_LINES:] if one != first)]
    kept: list[str] = []
    for line in picked:
        if kept and sum(map(len, kept)) + len(line) > MOST_CHARACTERS:
            break
        kept.append(line[:MOST_CHARACTERS])
    return visible("; ".join(kept))
