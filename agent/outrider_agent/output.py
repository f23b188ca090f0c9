"""A child's output to record lines.

A line that is a JSON object passes as it is. Any other line is read like a line of a file: where
it is in a known format, its time and level are taken. The name of its stream, ``stdout`` or
``stderr``, is among the attributes. A line that names no time has the one at which it came.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from outrider import record
from outrider.instants import EPOCH_UNIX_US, from_unix_us
from outrider_agent import json_fields, marks
from outrider_agent.framing import Framer, Lines
from outrider_agent.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from outrider_agent.records import Records

READ_BYTES = 64 * 1024


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
    ) -> None:
        self._name = name
        self._append = append
        self._echo = echo
        self._clock_ns = clock_ns
        self._parser = Parser("auto", zone)
        self._framer = Framer(0)
        self._waiting = b""

    def feed(self, data: bytes) -> None:
        """Take what was read: write the lines that it completes, and pass all of it on."""
        arrived, data = data, self._waiting + data
        begin = self._framer.next
        lines = self._framer.feed(data)
        self._waiting = data[self._framer.next - begin :]
        self._write(lines, partial=False)
        self._pass_on(arrived)

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
        """Write what came without a newline, marked: nothing more will come."""
        if self._waiting or self._framer.partial_bytes:
            lines = self._framer.flush(self._waiting)
            self._waiting = b""
            self._write(lines, partial=True)

    def _write(self, lines: Lines, *, partial: bool) -> None:
        for index, line in enumerate(lines.lines):
            now_ns = self._clock_ns()
            if index not in lines.cut and not partial and line.startswith(b"{"):
                loaded = json_fields.load(line)
                if loaded is not None:
                    self._append(_timed(line, loaded[0], now_ns))
                    continue
            cut = {0: lines.cut[index]} if index in lines.cut else {}
            one = Lines([line], [0], cut)
            observed_us = from_unix_us(now_ns // 1000)
            self._append(self._line(self._parser.parse(one, observed_us, partial=partial), now_ns))

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
        return record.encode(ts_ns, found.severity[0], message, placed, attributes)


def _timed(line: bytes, found: dict[str, object], now_ns: int) -> bytes:
    """Return a JSON line with a newline and, if it names no time, with the time it came."""
    if not found or any(key in found for key in json_fields.TIME_KEYS):
        return line + b"\n"
    ts = record.encode(now_ns, 9, "", "", {})[: len(b'{"ts":"2026-11-24T20:02:31.123456Z"')]
    return ts + b"," + line.lstrip()[1:] + b"\n"
