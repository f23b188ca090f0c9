"""Framing: bytes to lines, as a function of the bytes alone.

A line ends with a newline; what follows the last newline waits. However a file is cut into reads,
the same lines come out with the same offsets, before and after a restart, because the only state
(an over-long line that is being skipped) begins at a line start and is rebuilt by reading from
there. No timer ever ends a line.

A line longer than ``max_line_bytes`` (256 KiB) is cut to that length, at a character's border, and
its original length is kept beside it; while its newline has not been seen, only its head is held
in memory. Blank lines are separators, not records: writers put a newline first after a short write.
So are NUL bytes before a line: where a file is truncated, a writer that does not append leaves a
hole. It is passed over when something stands behind it. Until then the NULs that end a file may as
well be room that its writer has prepared, and will be lines. A carriage return before the newline
belongs to the line's end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, count
from operator import add

MAX_LINE_BYTES = 256 * 1024
"""Longer lines are cut and marked."""


@dataclass(slots=True)
class Lines:
    """Complete lines and where each begins."""

    lines: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """Offset of each line's first byte, strictly rising."""
    cut: dict[int, int] = field(default_factory=dict)
    """Index of a line that was cut -> its original length in bytes."""
    continued: dict[int, int] = field(default_factory=dict)
    """Index of what continues a record that was closed before its end -> where that one begins."""
    more: bool = False
    """Whether complete lines were left for the next call."""


class Framer:
    """The lines of one growing file, from ``begin`` (a line start) on."""

    def __init__(self, begin: int, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.end = begin
        """Offset after the last complete line: everything before it was given out."""
        self._max = max_line_bytes
        self._head = b""
        self._skipped = 0
        """Length of a line that is too long to be read again, as far as it was fed, ..."""
        self._hole = 0
        """... and of the NULs that came after it, or after the last line."""

    state = b""
    """What must be known at :attr:`end` beside the bytes from there on: nothing."""

    holds = False
    """Whether complete lines are held back: never."""

    @property
    def next(self) -> int:
        """Offset that the next call of :meth:`feed` must begin at."""
        return self.end + self.partial_bytes

    @property
    def partial_bytes(self) -> int:
        """Length of the over-long line or hole that is being skipped; 0 outside of one."""
        return self._skipped + self._hole

    def feed(self, data: bytes, most_lines: int = 1 << 30, *, closing: bool = False) -> Lines:  # noqa: ARG002
        """Take the bytes at :attr:`next` and give out the lines they complete, at most so many.

        ``closing`` changes nothing: a line is complete or it is not.

        Bytes after the last line given out are not kept (read them again with what follows), unless
        they are a line already too long.
        """
        result = Lines()
        position = 0
        if self._skipped:
            newline = data.find(b"\n")
            if newline < 0:
                self._skip(data)
                return result
            self._finish_long(result, self.partial_bytes + newline)
            position = newline + 1
        elif self._hole:
            position = _nuls_before(data)
            self._hole += position
            if position == len(data):
                return result
            self.end, self._hole = self.end + self._hole, 0
        last = data.rfind(b"\n")
        if last >= position:
            self._split(data[position:last], result, most_lines)
            if result.more:
                return result
            position = last + 1
        rest = data[position:]
        hole = _nuls_before(rest)
        if hole < len(rest):
            self.end += hole
            rest = rest[hole:]
        if len(rest) > self._max:
            # One byte more than is kept, so that the cut sees whether it is at a border.
            self._head = rest[: self._max + 1]
            self._skip(rest)
        return result

    def padding(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be room that will be written over."""
        return len(data) - len(data.rstrip(b"\0"))

    def written_over(self) -> None:
        """Have the NULs that ended what was fed fed again: they are lines by now, or cut off."""
        if self._skipped > self._max:
            self._hole = 0
        else:
            self.go_back(self.end)

    def go_back(self, offset: int) -> None:
        """Go on at ``offset`` instead, which is the start of a line that was given out."""
        self.end, self._head, self._skipped, self._hole = offset, b"", 0, 0

    def flush(self, data: bytes) -> Lines:
        """Give out ``data`` at :attr:`next`, which has no newline, as the file's last line.

        Only for a file that cannot grow any more.
        """
        result = Lines()
        if self._skipped:
            length = self.partial_bytes + len(data) if data else self._skipped
            self._finish_long(result, length, newline_bytes=0)
            return result
        if not data:
            return result
        self.end, self._hole = self.end + self._hole, 0
        self._split(data, result, 1)
        self.end -= 1  # there was no newline
        return result

    def ends(self, data: bytes) -> bool:
        """Whether the last line of ``data`` has its newline."""
        return data.endswith(b"\n")

    def joined(self, lines: bytes) -> bytes:
        """Return several lines with nothing but a newline between each two."""
        return lines.replace(b"\r\n", b"\n")

    def cut(self, line: bytes) -> bytes:
        """Cut a line to its limit without cutting a character in two."""
        return cut(line, self._max)

    def _skip(self, data: bytes) -> None:
        padding = self.padding(data)
        if padding < len(data):
            self._skipped, self._hole = self.partial_bytes + len(data) - padding, 0
        self._hole += padding

    def _finish_long(self, result: Lines, length: int, newline_bytes: int = 1) -> None:
        result.lines.append(self.cut(self._head[:length]))
        result.starts.append(self.end)
        if length > self._max:
            result.cut[0] = length
        self.go_back(self.end + length + newline_bytes)

    def _split(self, data: bytes, result: Lines, most_lines: int) -> None:
        """Split ``data``, which begins at :attr:`end` and lacks only its last newline."""
        lines = data.split(b"\n")
        if len(lines) > most_lines:
            result.more = True
            lines = lines[:most_lines]
            if not lines:
                return
        lengths = list(map(len, lines))
        # Where the n-th line starts: the lengths before it, and a newline for each.
        starts = list(map(add, accumulate(lengths, initial=self.end), count()))
        self.end = starts.pop()
        if b"\0" in data:
            for index, line in enumerate(lines):
                lines[index] = line.lstrip(b"\0")
                starts[index] += len(line) - len(lines[index])
            lengths = list(map(len, lines))
        # One byte is found far quicker than two, and most files have no carriage return at all.
        if b"\r" in data and (data.endswith(b"\r") or b"\r\n" in data):
            fits = self._max
            lines = [
                line[:-1] if line.endswith(b"\r") and len(line) <= fits else line for line in lines
            ]
            lengths = list(map(len, lines))
        if max(lengths) > self._max:
            for index, line in enumerate(lines):
                if len(line) > self._max:
                    result.cut[len(result.lines) + index] = len(line)
                    lines[index] = cut(line, self._max)
        if 0 in lengths:
            _drop_blank(lines, starts, result)
        result.lines += lines
        result.starts += starts


def _nuls_before(data: bytes) -> int:
    return len(data) - len(data.lstrip(b"\0")) if data[:1] == b"\0" else 0


def cut(line: bytes, limit: int) -> bytes:
    """Cut to at most ``limit`` bytes without cutting a UTF-8 character in two."""
    if len(line) <= limit:
        return line
    end = limit
    # A character has at most three continuation bytes (10xxxxxx).
    while end > limit - 3 and end > 0 and line[end] & 0xC0 == 0x80:
        end -= 1
    if line[end] & 0xC0 == 0x80:
        return line[:limit]  # not UTF-8 anyway
    return line[:end]


def _drop_blank(lines: list[bytes], starts: list[int], result: Lines) -> None:
    """Remove empty lines in place and renumber the cut ones."""
    before = len(result.lines)
    kept = [index for index, line in enumerate(lines) if line]
    if result.cut:
        new_index = {before + old: before + new for new, old in enumerate(kept)}
        result.cut = {new_index.get(index, index): size for index, size in result.cut.items()}
    lines[:] = [lines[index] for index in kept]
    starts[:] = [starts[index] for index in kept]
