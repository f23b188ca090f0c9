"""Framing of records of several lines: lines to records, as a function of the bytes alone.

A record is known to be complete when the line after it begins another. Until then its lines are
held: they count as not read, and are read again with what follows. However the file is cut into
reads, the same records come out.

Two things close a record before that: it would grow beyond 128 KiB, which depends on bytes alone;
and a writer that is quiet (see :meth:`RecordFramer.feed`, ``closing``), which depends on time. So
the end of such a record, and what state the rule was in there, are kept with the stream in
Postgres (``framer_state``): after any restart the lines that follow continue that record as they
would have. They are a record of their own, marked ``outrider.continued`` with the offset of the
first.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outrider_agent.framing import Framer, Lines
from outrider_agent.multiline import BEGINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.multiline import Rule

MAX_RECORD_BYTES = 128 * 1024
"""A record of several lines is closed before it is longer; a single line may be."""


class _Carry(NamedTuple):
    """A record that was closed before it was known to be complete."""

    state: int
    offset: int
    """Where it begins."""


@dataclass(slots=True)
class _Group:
    first: int
    """Index of its first line, and of the one after its last."""
    last: int
    state: int
    offset: int
    before: _Carry | None
    """What was carried over where it begins."""
    continued: bool


class RecordFramer:
    """Like :class:`~outrider_agent.framing.Framer`; gives out records where that gives lines."""

    def __init__(
        self,
        lines: Framer,
        rule: Rule,
        state: bytes = b"",
        *,
        readable: Callable[[bytes], bytes] | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._lines = lines
        self._rule = rule
        self._readable = readable
        self._max = max_record_bytes
        self._carry = _unpacked(state)
        self.holds = False
        """Whether complete lines wait to be known as a complete record."""
        self.held_state = 0
        """The rule's state after the lines that wait."""

    @property
    def end(self) -> int:
        """Offset after the last record that was given out."""
        return self._lines.end

    @property
    def next(self) -> int:
        """Offset that the next call of :meth:`feed` must begin at."""
        return self._lines.next

    @property
    def partial_bytes(self) -> int:
        """Length of the over-long line or hole that is being skipped; 0 outside of one."""
        return self._lines.partial_bytes

    def padding(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be room that will be written over."""
        return self._lines.padding(data)

    def written_over(self) -> None:
        """Have the NULs that ended what was fed fed again: they are lines by now, or cut off."""
        self._lines.written_over()

    def ends(self, data: bytes) -> bool:
        """Whether the last line of ``data`` has its newline."""
        return self._lines.ends(data)

    @property
    def state(self) -> bytes:
        """What must be known at :attr:`end` to go on there; empty after a complete record."""
        return b"" if self._carry is None else b"%d:%d" % self._carry

    def feed(self, data: bytes, most_records: int = 1 << 30, *, closing: bool = False) -> Lines:
        """Take the bytes at :attr:`next` and give out the records they complete.

        ``closing``: close the last one too, because its writer has been quiet.
        """
        begin = self._lines.next
        lines = self._lines.feed(data)
        rest = begin + len(data) - self._lines.end
        # A line that will be too long for any record ends the one before it.
        closing = closing or self._lines.partial_bytes > 0 or rest > self._max
        return self._give(lines, data, begin, most_records, closing=closing)

    def flush(self, data: bytes) -> Lines:
        """Give out all of ``data`` at :attr:`next`: the file cannot grow any more."""
        begin = self._lines.next
        if self._lines.partial_bytes:
            lines = self._lines.flush(data)
        else:
            lines = self._lines.feed(data)
            rest = data[self._lines.next - begin :]
            if rest or self._lines.partial_bytes:
                _append(lines, self._lines.flush(rest))
        return self._give(lines, data, begin, 1 << 30, closing=True)

    def _give(
        self, lines: Lines, data: bytes, begin: int, most_records: int, *, closing: bool
    ) -> Lines:
        self.holds = False
        if not lines.lines:
            return lines
        groups = self._groups(lines)
        last = groups[-1]
        # No further line would fit.
        closing = closing or self._lines.end - lines.starts[last.first] > self._max
        if closing and len(groups) <= most_records:
            self._carry = _Carry(last.state, last.offset)
            return self._records(lines, groups, data, begin)
        given = groups[:-1][:most_records]
        held = groups[len(given)]
        self._lines.go_back(lines.starts[held.first])
        self._carry, self.held_state = held.before, held.state
        result = self._records(lines, given, data, begin)
        result.more = len(given) < len(groups) - 1 or closing
        self.holds = not result.more
        return result

    def _groups(self, lines: Lines) -> list[_Group]:
        rule, carry, starts = self._rule, self._carry, lines.starts
        groups: list[_Group] = []
        group: _Group | None = None
        for index, raw in enumerate(lines.lines):
            line = raw if self._readable is None else self._readable(raw)
            if group is not None:
                carry = _Carry(group.state, group.offset)
            state = BEGINS if carry is None else rule.continues(line, carry.state)
            if state != BEGINS and group is not None:
                size = starts[index] + len(raw) - starts[group.first]
                if size <= self._max:
                    group.state, group.last = state, index + 1
                    continue
            if state == BEGINS or carry is None:
                group = _Group(index, index + 1, rule.begin(line), starts[index], None, False)
            else:
                group = _Group(index, index + 1, state, carry.offset, carry, True)
            groups.append(group)
        return groups

    def _records(self, lines: Lines, groups: list[_Group], data: bytes, begin: int) -> Lines:
        """Make a record of each group: its bytes as they are in the file, blank lines included."""
        result = Lines()
        for index, group in enumerate(groups):
            first, last = group.first, group.last - 1
            record = lines.lines[first]
            if last > first:
                end = lines.starts[last] + len(lines.lines[last])
                record = self._lines.joined(data[lines.starts[first] - begin : end - begin])
            elif first in lines.cut:
                result.cut[index] = lines.cut[first]
            if group.continued:
                result.continued[index] = group.offset
            result.lines.append(record)
            result.starts.append(lines.starts[first])
        return result


def _append(lines: Lines, more: Lines) -> None:
    before = len(lines.lines)
    lines.lines += more.lines
    lines.starts += more.starts
    lines.cut.update({before + index: size for index, size in more.cut.items()})


def _unpacked(state: bytes) -> _Carry | None:
    """Read a state; one that cannot be read is none, which costs a mark."""
    name, _, offset = state.partition(b":")
    if len(name) == 1 and name.isdigit() and name < b"6" and offset.isdigit():
        return _Carry(int(name), int(offset[:19]))
    return None
