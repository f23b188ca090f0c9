"""What kind of error a message is: its words, without what differs from one time to the next."""

from __future__ import annotations

import re
from typing import Final

MAX_SEEN: Final = 400
"""Characters of a message that are looked at: the rest is rarely what an error is."""
MAX_FINGERPRINT: Final = 120

_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|<[^<>]*>")
_WITH_DIGITS = re.compile(r"[\w.:/@+-]*\d[\w.:/@+-]*")
_SPACE = re.compile(r"\s+")


def fingerprint(message: str) -> str:
    """Return the kind of error a message tells: ``order # failed: timed out``.

    The first line counts. Identifiers, words with a digit, and what stands in quotes are one sign:
    how many there are of a kind does not depend on the data.
    """
    line = message.strip()[:MAX_SEEN].partition("\n")[0]
    line = _UUID.sub("#", line)
    line = _QUOTED.sub("#", line)
    line = _WITH_DIGITS.sub("#", line)
    return _SPACE.sub(" ", line).replace("\x00", "\ufffd").strip()[:MAX_FINGERPRINT]
