"""Where a file that is there at the agent's first start begins: `start` of its source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outrider.instants import from_unix_us
from outrider_agent import encodings
from outrider_agent.parsing import Parser
from outrider_agent.wide_framing import framer, line_start

if TYPE_CHECKING:
    from outrider_agent.configuration import SourceConfig

_SAMPLE_BYTES = 64 * 1024


def start_offset(fd: int, source: SourceConfig, now_s: float) -> int:
    """Return the offset of the first line that is wanted, always a line start.

    An age is sought by halving, which takes it that the file's times rise; where no time can be
    read, lines are taken rather than left.
    """
    status = os.fstat(fd)
    if source.start == "beginning":
        return 0
    encoding = encodings.of_file(os.pread(fd, encodings.MARK_BYTES, 0), source.encoding)
    if source.start == "end":
        return _line_start(fd, status.st_size, encoding)
    age_s = source.start_age_s() or 0
    if status.st_mtime < now_s - age_s:
        return _line_start(fd, status.st_size, encoding)
    wanted_us = from_unix_us(int((now_s - age_s) * 1e6))
    low, high = 0, status.st_size
    while high - low > _SAMPLE_BYTES:
        middle = _line_start(fd, (low + high) // 2, encoding)
        if middle <= low:
            break
        ts_us = _time_at(fd, middle, source, encoding, now_s)
        if ts_us is None or ts_us >= wanted_us:
            high = middle
        else:
            low = middle
    return low


def _line_start(fd: int, offset: int, encoding: str) -> int:
    """Return where the line that ``offset`` is in begins (the next one, at a line's start)."""
    if encoding in encodings.WIDE:
        offset -= offset % 2
    while offset > 0:
        length = min(_SAMPLE_BYTES, offset)
        found = line_start(os.pread(fd, length, offset - length), encoding)
        if found is not None:
            return offset - length + found
        offset -= length
    return 0


def _time_at(fd: int, offset: int, source: SourceConfig, encoding: str, now_s: float) -> int | None:
    """Return the first time that lines from ``offset`` on name, or None."""
    lines = framer(encoding)(offset).feed(os.pread(fd, _SAMPLE_BYTES, offset))
    observed_us = from_unix_us(int(now_s * 1e6))
    records = Parser(source.format, source.zone(), encoding).parse(lines, observed_us)
    return next((ts for ts in records.ts_us if ts != observed_us), None)
