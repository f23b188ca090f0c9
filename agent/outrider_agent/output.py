"""A child's output to record lines.

A line that is a JSON object passes as it is. Any other line is read like a line of a file: where
it is in a known format, its time and level are taken. The name of its stream, ``stdout`` or
``stderr``, is among the attributes. A line that names no time has the one at which it came.

A traceback, panic or the like is one record (:mod:`outrider_agent.multiline`, ``auto``): its lines
are held until the next record begins, the output ends, or nothing came for a while. An ordinary
line is not held; an indented one belongs to it if both were read at once.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from outrider import record
from outrider.instants import EPOCH_UNIX_US, from_unix_us
from outrider_agent import json_fields, marks, multiline
from outrider_agent.framing import Framer, Lines
from outrider_agent.parsing import Parser
from outrider_agent.record_framing import RecordFramer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from outrider_agent.records import Records

READ_BYTES = 64 * 1024
HELD_S = 0.5
"""So long after its last line a record that may go on is held."""
UNFINISHED_HELD_S = 10.0
"""So long one is held that must go on: a traceback whose exception has not come."""


class Output:
    """One of a child's streams. ``append`` takes lines with their newlines."""

    def __init__(
        self,
        name: str,
        append: Callable[[bytes], object],
        zone: tzinfo,
        *,
        echo: int | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._append = append
        self._echo = echo
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._parser = Parser("auto", zone)
        self._framer = RecordFramer(Framer(0), multiline.AUTO)
        self._waiting = b""
        self._held_until = 0.0
        self._held = (-1, 0)
        """Where what is held begins, and when its first line came."""
        self._severity = 0
        """Of the record before."""

    def feed(self, data: bytes) -> None:
        """Take what was read: write the records that it completes, and pass all of it on."""
        self._take(data)
        if self._framer.holds:
            state = self._framer.held_state
            if state in multiline.HARDLY_GOES_ON:
                self._take(b"", closing=True)
            else:
                held_s = UNFINISHED_HELD_S if state in multiline.GOES_ON else HELD_S
                self._held_until = self._monotonic() + held_s
        self._pass_on(data)

    def _take(self, data: bytes, *, closing: bool = False) -> None:
        data = self._waiting + data
        begin = self._framer.next
        lines = self._framer.feed(data, closing=closing)
        self._waiting = data[self._framer.next - begin :]
        self._write(lines, partial=False)
        if self._framer.holds and self._held[0] != self._framer.end:
            self._held = (self._framer.end, self._clock_ns())

    def settle(self, quiet_at: float) -> float | None:
        """Write what was held long enough; return when the rest is due, None where nothing is held.

        ``quiet_at``, monotonic seconds: all that had come by then was fed.
        """
        if not self._framer.holds:
            return None
        if quiet_at < self._held_until:
            return self._held_until
        self.release()
        return None

    def release(self) -> None:
        """Write the lines that are held: what wrote them has ended, or is quiet."""
        if self._framer.holds:
            self._take(b"", closing=True)

    def _pass_on(self, data: bytes) -> None:
        """Show the output where the worker's would be; where nobody looks any more, stop that."""
        while data and self._echo is not None:
            try:
                data = data[os.write(self._echo, data) :]
            except BlockingIOError:
                # A reader that asked not to be waited for is not: the rest is in the records.
                return
            except OSError:
                self._echo = None

    def finish(self) -> None:
        """Write what is held, and what came without a newline, marked: nothing more will come."""
        if self._waiting or self._framer.partial_bytes:
            lines = self._framer.flush(self._waiting)
            unfinished = not self._waiting.endswith(b"\n")
            self._waiting = b""
            self._write(lines, partial=unfinished)

    def _write(self, lines: Lines, *, partial: bool) -> None:
        for index, line in enumerate(lines.lines):
            held_at, came_ns = self._held
            now_ns = came_ns if lines.starts[index] == held_at else self._clock_ns()
            unfinished = partial and index == len(lines.lines) - 1
            if index not in lines.cut and not unfinished and line.startswith(b"{"):
                loaded = json_fields.load(line)
                if loaded is not None:
                    self._append(_timed(line, loaded[0], now_ns))
                    continue
            cut = {0: lines.cut[index]} if index in lines.cut else {}
            one = Lines([line], [0], cut)
            found = self._parser.parse(one, from_unix_us(now_ns // 1000), partial=unfinished)
            # What goes on after it was given out is as severe as its beginning.
            at_least = self._severity if index in lines.continued else 0
            self._severity = max(found.severity[0], at_least)
            self._append(self._line(found, now_ns))

    def _line(self, found: Records, now_ns: int) -> bytes:
        attributes: dict[str, object] = msgspec.json.decode(found.attributes[0] or b"{}")
        mark = attributes.get(marks.TIME)
        ts_ns = now_ns if mark else (found.ts_us[0] + EPOCH_UNIX_US) * 1000
        if isinstance(mark, dict) and "original" not in mark:
            # No time was named, and the one at which the line came is as good as any.
            del attributes[marks.TIME]
        attributes["stream"] = self._name
        message = (found.message[0] or b"").decode()
        placed = record.place(found.logger[0])
        return record.encode(ts_ns, self._severity, message, placed, attributes)


def _timed(line: bytes, found: dict[str, object], now_ns: int) -> bytes:
    """Return a JSON line with a newline and, if it names no time, with the time it came."""
    if not found or any(key in found for key in json_fields.TIME_KEYS):
        return line + b"\n"
    ts = record.encode(now_ns, 9, "", "", {})[: len(b'{"ts":"2026-11-24T20:02:31.123456Z"')]
    return ts + b"," + line.lstrip()[1:] + b"\n"
