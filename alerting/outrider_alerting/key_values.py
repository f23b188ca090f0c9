"""What ``by`` reads from records: the values of keys, and the numbers that records carry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from outrider import severity
from outrider.filter import attribute_path
from outrider.filter.attributes import look_up, parse_attributes
from outrider.filter.text import raw_text
from outrider_alerting.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider.columns import Columns
    from outrider_alerting.hits import Numbers

MAX_KEY_VALUE: Final = 200
"""Characters of one value in a key; what is longer is cut."""

CONSTANTS: Final = ("service", "worker", "host", "source")
DICTIONARIES: Final = ("logger", "event", "error_code")
TEXTS: Final = ("correlation_id", "trace_id")
ERROR: Final = "error"
BY_FIELDS: Final = (*CONSTANTS, *DICTIONARIES, *TEXTS, "severity", ERROR)
"""What ``by`` may name, beside ``attributes.PATH``; ``error`` is what kind of error it is."""


def reader(name: str) -> Callable[[Columns, list[int]], list[str]]:
    """Return what reads the values of a field of BY_FIELDS, or of an attribute, at some rows."""
    if name in CONSTANTS:
        return lambda columns, rows: [_clean(getattr(columns, name))] * len(rows)
    if name in DICTIONARIES:
        return lambda columns, rows: _dictionary(columns, name, rows)
    if name in TEXTS:
        return lambda columns, rows: _texts(getattr(columns, name), rows)
    if name == "severity":
        return lambda columns, rows: [severity.name(columns.severity[row]) for row in rows]
    if name == ERROR:
        return _errors
    path = attribute_path(name)
    return lambda columns, rows: _attributes(columns, rows, path)


def _errors(columns: Columns, rows: list[int]) -> list[str]:
    codes = _dictionary(columns, "error_code", rows)
    message = raw_text(columns, "message_raw").value if columns.message_raw else None
    return [
        code or fingerprint(message(row).decode("utf-8", "replace") if message else "")
        for code, row in zip(codes, rows, strict=True)
    ]


def numbers_of(columns: Columns, rows: list[int], path: tuple[str, ...]) -> dict[int, float]:
    """Return the numbers of those records that carry one."""
    found: dict[int, float] = {}
    for row, text in zip(rows, _attributes(columns, rows, path), strict=True):
        try:
            number = float(text)
        except ValueError:
            continue
        if math.isfinite(number):
            found[row] = number
    return found


def summed(columns: Columns, rows: list[int], numbers: dict[int, float]) -> Numbers:
    """Return sum, lowest, highest and last of the numbers at some rows."""
    values = [numbers[row] for row in rows]
    last = max(rows, key=lambda row: (columns.ts_us[row], row))
    return math.fsum(values), min(values), max(values), numbers[last]


def _dictionary(columns: Columns, name: str, rows: list[int]) -> list[str]:
    column = getattr(columns, name)
    table = ["", *map(_clean, column.values)]
    indexes = column.indexes(columns.n)
    return [table[indexes[row]] for row in rows]


def _texts(values: list[str | None], rows: list[int]) -> list[str]:
    return [_clean(values[row] or "") for row in rows]


def _attributes(columns: Columns, rows: list[int], path: tuple[str, ...]) -> list[str]:
    if not columns.attributes_raw:
        return [""] * len(rows)
    # Mostly few of many records match: the others are not even decoded.
    value = raw_text(columns, "attributes_raw").value
    return [_attribute(value(row), path) for row in rows]


def _attribute(text: bytes, path: tuple[str, ...]) -> str:
    if not text:
        return ""
    value = look_up(parse_attributes(text.decode("utf-8", "replace")), path)
    return "" if value is None else _clean(value)


def _clean(text: str) -> str:
    """Return a key value that any database takes: bounded, no NUL, no lone surrogates."""
    cut = text[:MAX_KEY_VALUE]
    return cut.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
