"""Encodings of log files: lines to UTF-8. Offsets stay those of the file's own bytes.

Only encodings are known in which a newline is one byte that is part of no other character, so that
framing needs to know nothing of them. UTF-16 and UTF-32 are none of these.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

_SINGLE_BYTE = (
    *(f"iso8859-{n}" for n in range(1, 17) if n != 12), *(f"cp{n}" for n in range(1250, 1259)),
    "cp437", "cp850", "cp852", "cp866", "koi8-r", "koi8-u", "mac-roman",
)  # fmt: skip
_MULTI_BYTE = (
    "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949", "gb2312", "gbk", "gb18030", "big5",
)  # fmt: skip
KNOWN = frozenset({"utf-8", *_SINGLE_BYTE, *_MULTI_BYTE})
"""By the names that Python's registry gives them; its aliases are known too."""


class Decoded(NamedTuple):
    """A line in UTF-8."""

    line: bytes
    is_clean: bool
    """False where bytes mean nothing in the encoding; they are written as escapes."""


def canonical(name: str) -> str:
    """Return the registry's name of an encoding. Raises LookupError for one that is not known."""
    found = codecs.lookup(name).name
    if found not in KNOWN:
        raise LookupError(name)
    return found


def decoded(line: bytes, encoding: str) -> Decoded:
    """Return a line in UTF-8; ``encoding`` is canonical."""
    if line.isascii():
        return Decoded(line, is_clean=True)
    try:
        return Decoded(line.decode(encoding).encode(), is_clean=True)
    except UnicodeDecodeError:
        return Decoded(line.decode(encoding, "backslashreplace").encode(), is_clean=False)
