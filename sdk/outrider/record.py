"""From the parts of a record to its line, one JSON object in UTF-8 with a newline.

The common case is put together by hand around the standard library's C encoder: building a dict and
a ``json.dumps`` of it would cost twice as much. Everything unusual (a value JSON does not know, a
lone surrogate, a NUL, a record over the limit) goes the careful way, which always comes to a line.
"""

from __future__ import annotations

import functools
import json
import time
from json import encoder as json_encoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_RECORD_BYTES = 256 << 10

_MAX_MESSAGE = 64 << 10
_MAX_TEXT = 8 << 10
_MAX_REPR = 1000
_MAX_NAME = 256
_MAX_ITEMS = 64
_MAX_DEPTH = 6

LIFTED = frozenset({"error_code", "trace_id", "correlation_id"})
"""Fields that stand beside the message and not among the attributes."""

quote = json_encoder.encode_basestring
"""A text as a JSON string, other characters than ASCII as they are."""


def plain(value: object) -> object:
    """Return what JSON can hold for a value that it cannot: its text, or its bounded ``repr``."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:_MAX_TEXT]).decode("utf-8", "backslashreplace")
    isoformat = getattr(value, "isoformat", None)
    try:
        if isoformat is not None and callable(isoformat):
            return str(isoformat())
        text = repr(value)
    except Exception:  # noqa: BLE001  a broken __repr__ must not lose the record
        return f"<{type(value).__name__} without repr>"
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "..."


def _make_encoder() -> Callable[[object], str]:
    options: dict[str, Any] = {
        "ensure_ascii": False, "separators": (",", ":"), "default": plain, "allow_nan": False,
    }  # fmt: skip
    whole = json.JSONEncoder(**options).encode
    make = getattr(json_encoder, "c_make_encoder", None)  # not there on every Python
    if make is None:
        return whole
    # JSONEncoder.encode makes this object anew for each call, half the price of a small dict. No
    # table of markers: a value inside itself ends in RecursionError, which the caller handles.
    chunks = make(None, plain, quote, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _make_encoder()


@functools.lru_cache(maxsize=1024)
def place(logger: str | None, event: str | None = None) -> str:
    """Return the part of a line that tells logger and event; made once for many records."""
    text = ""
    if logger:
        text += f',"logger":{quote(_safe(logger, _MAX_NAME))}'
    if event:
        text += f',"event":{quote(_safe(event, _MAX_NAME))}'
    return text


# The last second used and its text. One name for both, because threads replace it under each other.
_second: tuple[int, str] = (-1, "")


def _time_text(seconds: int) -> str:
    global _second  # noqa: PLW0603  a cache
    text = time.strftime('{"ts":"%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))
    _second = (seconds, text)
    return text


def encode(
    time_ns: int, severity: int, message: str, placed: str, fields: Mapping[str, object]
) -> bytes:
    """Return the record's line, newline included, of at most 256 KiB. Never raises.

    ``placed`` comes from :func:`place`; ``fields`` are the attributes and the LIFTED fields.
    """
    us = time_ns // 1000
    second, text = _second
    if us // 1_000_000 != second:
        text = _time_text(us // 1_000_000)
    start = f'{text}.{us % 1_000_000:06d}Z","severity":{severity}{placed},"message":'
    try:
        line = _line(start + quote(message), fields, _encode)
        if len(line) <= MAX_RECORD_BYTES and b"\\u0000" not in line:
            return line
    except (ValueError, TypeError, RecursionError, OverflowError):
        pass  # UnicodeEncodeError is a ValueError
    return _encode_carefully(start + quote(_safe(message, _MAX_MESSAGE)), fields)


def _line(text: str, fields: Mapping[str, object], encode_value: Callable[[object], str]) -> bytes:
    if fields:
        if not LIFTED.isdisjoint(fields):
            for name in LIFTED.intersection(fields):
                text += f',"{name}":{quote(str(fields[name]))}'
            fields = {name: fields[name] for name in fields if name not in LIFTED}
        if fields:
            text += f',"attributes":{encode_value(fields)}'
    return (text + "}\n").encode()


def _encode_carefully(head: str, fields: Mapping[str, object]) -> bytes:
    bounded = _safe_items(fields, 0)
    line = _line(head, bounded, json.dumps)
    if len(line) <= MAX_RECORD_BYTES:
        return line
    kept: dict[str, object] = {
        name: _safe(str(bounded[name]), _MAX_NAME) for name in LIFTED.intersection(bounded)
    }
    kept["truncated_bytes"] = len(line)
    return _line(head, kept, json.dumps)


def _safe(text: str, limit: int) -> str:
    r"""Return text that is UTF-8 without NUL; what was not becomes visible: ``\udc80``."""
    if len(text) > limit:
        text = f"{text[:limit]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _safe_value(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _safe(str(value), _MAX_TEXT)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return int(value)
    if isinstance(value, float):
        # NaN and the infinities are no JSON.
        return float(value) if value - value == 0 else repr(float(value))
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return _safe_items(value, depth)
        if isinstance(value, (list, tuple)):
            items = [_safe_value(item, depth + 1) for item in value[:_MAX_ITEMS]]
            return items if len(value) <= _MAX_ITEMS else [*items, f"... ({len(value)} items)"]
    return _safe(str(plain(value)), _MAX_TEXT)


def _safe_items(value: Mapping[Any, Any], depth: int) -> dict[str, object]:
    items: dict[str, object] = {}
    for key, item in list(value.items())[:_MAX_ITEMS]:
        name = key if isinstance(key, str) else str(plain(key))
        items[_safe(name, _MAX_NAME)] = _safe_value(item, depth + 1)
    if len(value) > _MAX_ITEMS:
        items["truncated_items"] = len(value)
    return items
