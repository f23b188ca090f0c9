"""Framing of UTF-16: bytes to lines where a newline is two bytes.

As in :mod:`outrider_agent.framing` a line ends with a newline and nothing else, and offsets are
those of the file's bytes. A newline counts only at an even offset: its two bytes are also the end
of one character and the beginning of the next. A half of a character at the end of what was read
waits for its other half.

Pure.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from outrider_agent.encodings import WIDE
from outrider_agent.framing import MAX_LINE_BYTES, Framer, Lines

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDTH = 2
_LOW_SURROGATES = range(0xDC, 0xE0)


class WideFramer(Framer):
    """Like :class:`~outrider_agent.framing.Framer`; its lines are UTF-16, as they stand there."""

    def __init__(
        self, begin: int, *, big_endian: bool, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        super().__init__(begin, max_line_bytes)
        self._high = 0 if big_endian else 1
        """Which byte of a character's two is the high one."""
        self._newline, self._return = (b"\0\n", b"\0\r") if big_endian else (b"\n\0", b"\r\0")
        self._newlines = re.compile(re.escape(self._newline))
        self._line_ends = re.compile(re.escape(self._return + self._newline))

    def feed(self, data: bytes, most_lines: int = 1 << 30, *, closing: bool = False) -> Lines:  # noqa: ARG002
        """Take the bytes at :attr:`next` and give out the lines they complete, at most so many."""
        result = Lines()
        skew = self.next % _WIDTH
        data = data[: len(data) - (len(data) + skew) % _WIDTH]
        ends = [at for one in self._newlines.finditer(data) if (at := one.start()) % _WIDTH == skew]
        position = 0
        if self._skipped:
            if not ends:
                self._skipped += len(data)
                return result
            position = ends.pop(0) + _WIDTH
            self._finish_long(result, self._skipped + position - _WIDTH, _WIDTH)
        if len(ends) > most_lines:
            result.more = True
            del ends[most_lines:]
        for end in ends:
            self._give(data[position:end], result, _WIDTH)
            position = end + _WIDTH
        rest = len(data) - position
        if rest > self._max and not result.more:
            # One character more than is kept, so that the cut sees whether it is at a border.
            self._head = data[position : position + self._max + _WIDTH]
            self._skipped = rest
        return result

    def padding(self, data: bytes) -> int:  # noqa: ARG002
        """How many bytes at the end of ``data`` may be room: none, for newlines have NULs."""
        return 0

    def flush(self, data: bytes) -> Lines:
        """Give out ``data`` at :attr:`next`, which has no newline, as the file's last line."""
        result = Lines()
        if self._skipped:
            self._finish_long(result, self._skipped + len(data), newline_bytes=0)
        else:
            self._give(data, result, 0)
        return result

    def ends(self, data: bytes) -> bool:
        """Whether the last line of ``data`` has its newline."""
        return data.endswith(self._newline)

    def joined(self, lines: bytes) -> bytes:
        """Return several lines with nothing but a newline between each two."""
        return self._line_ends.sub(
            lambda one: one[0] if one.start() % _WIDTH else self._newline, lines
        )

    def cut(self, line: bytes) -> bytes:
        """Cut a line to its limit without cutting a character in two."""
        end = self._max - self._max % _WIDTH
        if len(line) > end + 1 and line[end + self._high] in _LOW_SURROGATES:
            end -= _WIDTH
        return line[:end]

    def _give(self, line: bytes, result: Lines, newline_bytes: int) -> None:
        start, length = self.end, len(line)
        self.end += length + newline_bytes
        if newline_bytes and line.endswith(self._return) and length <= self._max:
            line = line[:-_WIDTH]
        if length > self._max:
            result.cut[len(result.lines)] = length
            line = self.cut(line)
        if line:
            result.lines.append(line)
            result.starts.append(start)


def framer(encoding: str) -> Callable[[int], Framer]:
    """Return what makes the framer of lines in ``encoding``, as a file's is known to be."""
    if encoding in WIDE:
        return partial(WideFramer, big_endian=encoding == "utf-16-be")
    return Framer


def line_start(data: bytes, encoding: str) -> int | None:
    """Return where, in bytes that begin with a whole character, the last line begins.

    None where no line does.
    """
    newline = b"\n" if encoding not in WIDE else b"\0\n" if encoding == "utf-16-be" else b"\n\0"
    width = len(newline)
    found = data.rfind(newline)
    while found > 0 and found % width:
        found = data.rfind(newline, 0, found + 1)
    return None if found < 0 else found + width
