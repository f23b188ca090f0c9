"""Encodings of log files: lines to UTF-8. Offsets stay those of the file's own bytes.

In most of them a newline is one byte that is part of no other character, so that framing needs to
know nothing of them; UTF-16 has a framing of its own (:mod:`outrider_agent.wide_framing`). What a
file's byte order mark says is stronger than a source that says UTF-8, which is the default, or just
UTF-16. Without one UTF-16 is little-endian, as it is written on Windows.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
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

WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be"})
"""Known too: two bytes are a character's least."""

MARK_BYTES = 3
"""A byte order mark has at most so many bytes."""

_MARKS = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_SWITCHED_BYTES = 16
# Lines of ASCII, as a line of UTF-16 hardly ever begins: that would be Chinese by chance.
_NARROW = re.compile(rb"[\t\x20-\x7e]{15,}\r?\n(?:[\t\r\x20-\x7e]+\n)*")


class Decoded(NamedTuple):
    """A line in UTF-8."""

    line: bytes
    is_clean: bool
    """False where bytes mean nothing in the encoding; they are written as escapes."""


def canonical(name: str) -> str:
    """Return the registry's name of an encoding. Raises LookupError for one that is not known."""
    found = codecs.lookup(name).name
    if found not in KNOWN | WIDE:
        raise LookupError(name)
    return found


def of_file(head: bytes, name: str) -> str:
    """Return the encoding of a file with these first bytes, whose source names ``name``."""
    found = canonical(name)
    if found not in {"utf-8", "utf-16"}:
        return found
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), found)
    return "utf-16-le" if marked == "utf-16" else marked


def unmarked_wide(head: bytes) -> str | None:
    """Return which UTF-16 bytes without a mark look like: most Latin text has NUL in every other.

    None where they do not.
    """
    half = len(head) // 2
    if half < 4:
        return None
    low, high = head[0::2].count(0), head[1::2].count(0)
    if max(low, high) * 2 < half or min(low, high) * 10 > max(low, high):
        return None
    return "utf-16-le" if high > low else "utf-16-be"


def may_be_marked(head: bytes) -> bool:
    """Whether such first bytes may go on as a byte order mark of UTF-16."""
    return head in {b"\xff", b"\xfe"}


def decoded(line: bytes, encoding: str) -> Decoded:
    """Return a line in UTF-8; ``encoding`` is canonical."""
    if encoding in WIDE:
        if len(line) >= _SWITCHED_BYTES and b"\n" in line and b"\0" not in line:
            with suppress(UnicodeDecodeError):
                # Somebody went on in UTF-8 within a file of UTF-16.
                return Decoded(line.decode().encode(), is_clean=False)
        if narrow := _NARROW.match(line):
            # The same, and somebody else went on in UTF-16.
            rest = line[narrow.end() :].decode(encoding, "backslashreplace")
            return Decoded(narrow[0] + rest.encode(), is_clean=False)
    elif line.isascii():
        return Decoded(line, is_clean=True)
    try:
        return Decoded(line.decode(encoding).encode(), is_clean=True)
    except UnicodeDecodeError:
        return Decoded(line.decode(encoding, "backslashreplace").encode(), is_clean=False)
