r"""Marks: how a record says that what is stored differs from what was written, and clean text.

A mark is an attribute whose name begins with ``outrider.``:

* ``outrider.time`` ``{"original": ..., "reason": "absent" | "unreadable" | "absurd"}``: the event
  time is the time at which the agent read the line.
* ``outrider.sanitized`` ``true``: bytes that are not UTF-8, NUL or lone surrogates were written as
  backslash escapes (``\xff``, ``\x00``, ``\ud800``), numbers beyond all limits as strings.
* ``outrider.truncated`` ``{"original_bytes": n}``: the line was cut.
* ``outrider.partial`` ``true``: the file ended without a newline and can no longer grow.
* ``outrider.continued`` ``{"offset": n}``: these lines belong to the record at that offset of the
  stream, which was closed because its writer was quiet, or because it was too long.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

TIME, SANITIZED, TRUNCATED, PARTIAL, CONTINUED = (
    "outrider.time",
    "outrider.sanitized",
    "outrider.truncated",
    "outrider.partial",
    "outrider.continued",
)

MAX_ATTRIBUTES_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode


def clean_bytes(raw: bytes) -> tuple[bytes, bool]:
    """Return ``raw`` as UTF-8 without NUL, and whether it had to be changed."""
    if b"\0" not in raw:
        try:
            raw.decode()
        except UnicodeDecodeError:
            pass
        else:
            return raw, False
    text = raw.decode("utf-8", "backslashreplace")
    return text.replace("\0", "\\x00").encode(), True


def clean_text(text: str) -> tuple[bytes, bool]:
    """Return ``text`` as UTF-8 without NUL and lone surrogates, and whether it was changed."""
    raw = text.encode("utf-8", "backslashreplace")
    if "\0" in text:
        return raw.replace(b"\0", b"\\x00"), True
    # Only a lone surrogate makes the strict encoding differ.
    return raw, not text.isascii() and _has_surrogate(text)


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def encode_attributes(attributes: dict[str, Any]) -> bytes | None:
    """Encode attributes as a JSON object that Postgres accepts as jsonb; None when empty.

    What cannot be kept as it is is changed and marked in place.
    """
    if not attributes:
        return None
    try:
        encoded = _encode(attributes)
        if b"\\u0000" not in encoded and len(encoded) <= MAX_ATTRIBUTES_BYTES:
            return encoded
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError, RecursionError):
        pass
    return _encode_hostile(attributes)


def _encode_hostile(attributes: dict[str, Any]) -> bytes:
    cleaned = {str(_cleaned(key)): _cleaned(value) for key, value in attributes.items()}
    if cleaned != attributes:
        cleaned[SANITIZED] = True
    encoded = json.dumps(cleaned, ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) <= MAX_ATTRIBUTES_BYTES:
        return encoded
    marks = {name: value for name, value in cleaned.items() if name.startswith("outrider.")}
    return _encode({**marks, TRUNCATED: {"original_bytes": len(encoded)}})


def _cleaned(value: Any, depth: int = 0) -> Any:
    """Replace what Postgres's jsonb or UTF-8 refuses; deep nesting becomes text."""
    if isinstance(value, str):
        return clean_text(value)[0].decode()
    if isinstance(value, dict):
        if depth > 100:
            return "(nested too deeply)"
        return {str(_cleaned(k)): _cleaned(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_cleaned(v, depth + 1) for v in value] if depth <= 100 else "(nested too deeply)"
    if isinstance(value, float) and not -1e308 <= value <= 1e308:
        return str(value)
    return value
