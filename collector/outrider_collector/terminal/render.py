"""Text for terminals: records as lines, tables, colours.

What comes from outside goes through :func:`outrider.visible.visible`. Colours are ours alone, and
only where a terminal reads.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from outrider.visible import visible

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.store.reading.types import LogRow

RESET: Final = "\x1b[0m"
BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
RED: Final = "\x1b[31m"
YELLOW: Final = "\x1b[33m"
GREEN: Final = "\x1b[32m"
VIOLET: Final = "\x1b[35m"

MOST_LINES: Final = 200
"""Of one record below its first line."""
_BAR: Final = "    \u2502 "

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


def coloured(text: str, colour: str, *, colours: bool) -> str:
    """Return the text in a colour, or as it is."""
    return f"{colour}{text}{RESET}" if colours and colour else text


def moment(time: datetime) -> str:
    """Return a time in UTC with milliseconds: ``2026-07-14 14:03:22.418``."""
    utc = time.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1_000:03}"


def line(row: LogRow, *, colours: bool) -> str:
    """Return one record as one line, without its end."""
    return _line(row, row.message or "", row.attributes, colours=colours)


def lines(row: LogRow, *, colours: bool) -> list[str]:
    """Return one record as people read it: further lines of its message and its stack below it.

    They are indented behind a bar, so that none looks like a record, whatever is in it.
    """
    message = (row.message or "").rstrip()
    attributes = dict(row.attributes)
    exception = attributes.get("exception")
    if isinstance(exception, dict) and isinstance(stack := exception.get("stacktrace"), str):
        attributes["exception"] = {k: v for k, v in exception.items() if k != "stacktrace"}
        if stack not in message:
            message = f"{message}\n{stack.rstrip()}"
    first, *rest = message.split("\n")
    below = [visible(text.removesuffix("\r")) for text in rest[:MOST_LINES]]
    if len(rest) > MOST_LINES:
        below.append(f"... {len(rest) - MOST_LINES:,} more lines, which --json has")
    bar = coloured(_BAR, DIM, colours=colours)
    head = _line(row, first.removesuffix("\r"), attributes, colours=colours)
    return [head, *(f"{bar}{text}" for text in below)]


def _line(row: LogRow, message: str, attributes: dict[str, Any], *, colours: bool) -> str:
    level = row.level
    parts = [
        coloured(moment(row.ts), DIM, colours=colours),
        coloured(f"{level:<5}", _LEVEL_COLOURS[level], colours=colours),
        visible(f"{row.service}/{row.worker}"),
        visible(message),
    ]
    extra = [f"{name}={value}" for name, value in _named(row)]
    extra += [f"{name}={_plain(value)}" for name, value in attributes.items()]
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


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of columns as wide as their widest cell. Cells must be visible text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
