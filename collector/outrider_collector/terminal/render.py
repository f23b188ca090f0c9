"""Text for terminals, where what is shown must not act.

Log content is hostile: an escape sequence in a message could clear the screen, change the title or
the clipboard, and a direction mark could reverse what an operator reads. So every character that
does not show itself is shown as a symbol: control characters by their Unicode pictures, direction
marks and line separators by their code. Colours are ours alone, and only where a terminal reads.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.store.reading.types import LogRow

# C0, DEL, C1, and what changes direction, joins, separates lines or has no glyph of its own.
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)

RESET: Final = "\x1b[0m"
BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
RED: Final = "\x1b[31m"
YELLOW: Final = "\x1b[33m"
GREEN: Final = "\x1b[32m"
VIOLET: Final = "\x1b[35m"

_LEVEL_COLOURS: Final = {
    "TRACE": DIM,
    "DEBUG": DIM,
    "INFO": "",
    "WARN": YELLOW,
    "ERROR": RED,
    "FATAL": "\x1b[1;7;31m",
}

STATE_COLOURS: Final = {
    "up": GREEN,
    "degraded": YELLOW,
    "lagging": YELLOW,
    "silent": VIOLET,
    "unknown": VIOLET,
    "dead": RED,
}


def visible(text: str) -> str:
    """Return the text with every character that a terminal would obey shown as a symbol."""
    return _UNSEEN.sub(_symbol, text)


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def coloured(text: str, colour: str, *, colours: bool) -> str:
    """Return the text in a colour, or as it is."""
    return f"{colour}{text}{RESET}" if colours and colour else text


def moment(time: datetime) -> str:
    """Return a time in UTC with milliseconds: ``2026-07-14 14:03:22.418``."""
    utc = time.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1_000:03}"


def line(row: LogRow, *, colours: bool) -> str:
    """Return one record as one line, without its end."""
    level = row.level
    parts = [
        coloured(moment(row.ts), DIM, colours=colours),
        coloured(f"{level:<5}", _LEVEL_COLOURS[level], colours=colours),
        visible(f"{row.service}/{row.worker}"),
        visible(row.message or ""),
    ]
    extra = [f"{name}={value}" for name, value in _named(row)]
    extra += [f"{name}={_plain(value)}" for name, value in _attributes(row).items()]
    if extra:
        parts.append(coloured(visible(" ".join(extra)), DIM, colours=colours))
    return " ".join(parts)


def _named(row: LogRow) -> list[tuple[str, str]]:
    known = [
        ("event", row.event),
        ("error_code", row.error_code),
        ("trace_id", row.trace_id.hex if row.trace_id else None),
        ("correlation_id", row.correlation_id),
    ]
    return [(name, value) for name, value in known if value is not None]


def _attributes(row: LogRow) -> dict[str, Any]:
    try:
        return row.attributes
    except ValueError:
        # Not JSON: shown as it is rather than hidden.
        return {"attributes": row.attributes_json}


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def age(seconds: float) -> str:
    """Return a span as people say it: ``33 s``, ``22 min 17 s``, ``3 h 05 min``, ``2 days``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} min"
    days = whole // 86_400
    return f"{days} day" if days == 1 else f"{days} days"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of columns as wide as their widest cell. Cells must be visible text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
