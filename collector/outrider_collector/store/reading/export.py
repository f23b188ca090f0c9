"""Records as text for other programs: CSV that a spreadsheet cannot be tricked with, JSON lines.

A cell whose first visible character is one of = + - @, or the full-width form of one of them, is
read by spreadsheets as a formula, by some also behind blanks and by others after a TAB, CR or LF
that begins it. Log content is hostile, so such a cell gets an apostrophe before it, as OWASP
advises, and every cell is quoted. JSON lines hold the records exactly.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.store.reading.types import LogRow

COLUMNS: Final = (
    "ts",
    "severity",
    "level",
    "service",
    "worker",
    "host",
    "source",
    "logger",
    "event",
    "error_code",
    "message",
    "attributes",
    "trace_id",
    "correlation_id",
    "stream",
    "stream_offset",
    "observed_at",
    "received_at",
)
"""The columns of the CSV, in order."""

# What a terminal obeys or an eye cannot see, and JSON leaves as it is: C1 controls, changes of
# direction, separators and invisible characters. They can only stand inside strings, where an
# escape says the same.
_OBEYED: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)

# What stands before the sign and is not seen: blanks, controls, invisible characters.
_FORMULA: Final = re.compile(
    "[\t\r\n]|[\\s\x00-\x20\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*"
    "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
)


def csv_header() -> str:
    """Return the first line, with its end."""
    return ",".join(f'"{name}"' for name in COLUMNS) + "\r\n"


def csv_line(row: LogRow) -> str:
    """Return one record as a line of CSV, with its end. Absent values are empty cells."""
    values = _values(row) | {"attributes": row.attributes_json}
    return ",".join(_cell(values[name]) for name in COLUMNS) + "\r\n"


def csv_cell(text: str) -> str:
    """Return a text as a quoted cell that no spreadsheet takes for a formula."""
    guard = "'" if _FORMULA.match(text) else ""
    return '"' + guard + text.replace('"', '""') + '"'


def json_line(row: LogRow) -> str:
    """Return one record as a JSON object in one line, with its end. Absent values are left out."""
    record = _values(row) | {"replayed": row.replayed or None}
    known = {name: value for name, value in record.items() if value is not None}
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
    if row.attributes_json:
        # As stored: decoding would lose the digits of numbers. One line it must be.
        attributes = row.attributes_json.replace("\n", " ").replace("\r", " ")
        text = f'{text[:-1]},"attributes":{attributes}}}'
    if not text.isascii() or "\x7f" in text:
        text = _OBEYED.sub(_escaped, text)
    return text + "\n"


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] > "\x7f" else "\\u007f"


def timestamp(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _values(row: LogRow) -> dict[str, str | int | None]:
    """Return the values of COLUMNS, but for the attributes."""
    return {
        "ts": timestamp(row.ts),
        "severity": row.severity,
        "level": row.level,
        "service": row.service,
        "worker": row.worker,
        "host": row.host,
        "source": row.source,
        "logger": row.logger,
        "event": row.event,
        "error_code": row.error_code,
        "message": row.message,
        "trace_id": row.trace_id.hex if row.trace_id else None,
        "correlation_id": row.correlation_id,
        "stream": row.stream,
        "stream_offset": row.stream_offset,
        "observed_at": timestamp(row.observed_at),
        "received_at": timestamp(row.received_at),
    }


def _cell(value: str | int | None) -> str:
    return '""' if value is None else csv_cell(str(value))
