"""The columns of a block that hold one element for each of its records, on both levels.

The schema's migrations name them once more, because a migration never changes; every statement of
Python derives them from here. The wire's columns are those of :class:`outrider.columns.Columns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_collector.store.binary import (
    Int2Array,
    Int8Array,
    TextArray,
    TimestamptzArray,
    UuidArray,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider_collector.store.binary import Packed

ARRAYS: Final[Mapping[str, type[Packed]]] = {
    "ts": TimestamptzArray,
    "observed_at": TimestamptzArray,
    "stream": Int8Array,
    "stream_offset": Int8Array,
    "severity": Int2Array,
    "message": TextArray,
    "logger": TextArray,
    "event": TextArray,
    "error_code": TextArray,
    "trace_id": UuidArray,
    "correlation_id": TextArray,
    "attributes": TextArray,
}
"""What each column is as a parameter, packed."""

RECORD_COLUMNS: Final = tuple(ARRAYS)
NUMBERS: Final = ("ts", "observed_at", "stream", "stream_offset", "severity")
"""Columns of integers; every record has a value."""
TEXTS: Final = tuple(name for name in RECORD_COLUMNS if name not in NUMBERS)
"""Columns of bytes, null where a record has no value; NULL where none has one."""
