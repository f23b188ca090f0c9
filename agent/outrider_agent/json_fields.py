"""One JSON object to one record: the careful way, for lines that are not quite the SDK's own.

Known top-level keys become fields of the record; where one does not hold what its field needs, it
stays an attribute under its own name, so that nothing a writer wrote is lost. All other keys become
attributes.
"""

from __future__ import annotations

import codecs
import json
import math
from typing import TYPE_CHECKING, Any

import msgspec

from outrider import severity as severities
from outrider_agent import marks
from outrider_agent.framing import MAX_LINE_BYTES, cut
from outrider_agent.records import MAX_CORRELATION_BYTES, MAX_NAME_BYTES, Records
from outrider_agent.times import TimeReader, absurd, from_number

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_KEYS = ("ts", "timestamp", "time", "@timestamp")
SEVERITY_KEYS = ("severity", "level", "lvl", "severity_text")
MESSAGE_KEYS = ("message", "msg")

_decode = msgspec.json.Decoder().decode
# Beyond this Postgres's numeric and other readers' numbers end.
_MAX_NUMBER_DIGITS = 300


def load(line: bytes) -> tuple[dict[str, Any], bool] | None:
    """Read a line as a JSON object, and tell whether it had to be changed; None if it is none."""
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return _load_hostile(line)
    return (found, False) if isinstance(found, dict) else None


def _load_hostile(line: bytes) -> tuple[dict[str, Any], bool] | None:
    """Read what the strict decoder refuses: bad UTF-8, lone surrogates, endless numbers."""
    if not line.lstrip().startswith(b"{"):
        return None
    text = line.decode("utf-8", _ESCAPED).replace("\0", "\\\\x00")
    changed = text.encode() != line
    kept_as_text: list[str] = []

    def number(read: Callable[[str], float]) -> Callable[[str], float | str]:
        def convert(digits: str) -> float | str:
            if len(digits) <= _MAX_NUMBER_DIGITS:
                value = read(digits)
                if math.isfinite(value):
                    return value
            kept_as_text.append(digits)
            return digits

        return convert

    try:
        found = json.loads(
            text, parse_int=number(int), parse_float=number(float), parse_constant=str
        )
    except (ValueError, RecursionError):
        return None
    return (found, changed or bool(kept_as_text)) if isinstance(found, dict) else None


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Write bad bytes as backslash escapes, the backslash escaped as a JSON string needs it."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(f"\\\\x{byte:02x}" for byte in bad), error.end


_ESCAPED = "outrider.json_escaped"
codecs.register_error(_ESCAPED, _escape)


class ObjectReader:
    """Appends JSON objects to records."""

    def __init__(self, times: TimeReader) -> None:
        self._times = times

    def append(
        self, found: dict[str, Any], start: int, observed_us: int, into: Records, *, changed: bool
    ) -> None:
        """Append one object, whose keys are taken out of it; ``changed`` marks it sanitized."""
        attributes: dict[str, Any] = {}
        ts_us = self._time(found, observed_us, attributes)
        into.stream_offset.append(start)
        into.ts_us.append(ts_us)
        into.observed_us.append(observed_us)
        into.severity.append(_severity(found))
        message, dirty = _message(found)
        if message is not None and len(message) > MAX_LINE_BYTES:
            attributes[marks.TRUNCATED] = {"original_bytes": len(message)}
            message = cut(message, MAX_LINE_BYTES)
        into.message.append(message)
        into.logger.append(_name(found, "logger"))
        into.event.append(_name(found, "event"))
        into.error_code.append(_name(found, "error_code"))
        into.trace_id.append(_trace(found))
        into.correlation_id.append(_correlation(found))
        if changed or dirty:
            attributes[marks.SANITIZED] = True
        into.attributes.append(marks.encode_attributes(_attributes(found, attributes)))

    def _time(self, found: dict[str, Any], observed_us: int, attributes: dict[str, Any]) -> int:
        for key in TIME_KEYS:
            if key in found:
                break
        else:
            attributes[marks.TIME] = {"reason": "absent"}
            return observed_us
        value = found.pop(key)
        ts_us = None
        if isinstance(value, str):
            ts_us = self._times.iso(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            ts_us = from_number(value)
        if ts_us is not None and not absurd(ts_us, observed_us):
            return ts_us
        reason = "unreadable" if ts_us is None else "absurd"
        attributes[marks.TIME] = {"original": value, "reason": reason}
        return observed_us


def _attributes(found: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Join nested attributes, the keys left over and our marks; a name met twice is kept twice."""
    if "attributes" not in found:
        return {**found, **own} if own else found
    nested = found.pop("attributes")
    if nested is None:
        nested = {}
    elif not isinstance(nested, dict):
        nested = {"attributes": nested}
    for key, value in found.items():
        nested["_" + key if key in nested else key] = value
    nested.update(own)
    return nested


def _severity(found: dict[str, Any]) -> int:
    for key in SEVERITY_KEYS:
        if key in found:
            number = _severity_number(found[key])
            if number is not None:
                del found[key]
                return number
    return severities.INFO


def _severity_number(value: Any) -> int | None:
    if isinstance(value, str):
        return severities.parse(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= severities.MAXIMUM:
            return value
        # The numbers of bunyan and pino: 10 trace, 20 debug, ... 60 fatal.
        if value in {30, 40, 50, 60}:
            return (value // 10 - 1) * 4 + 1
    return None


def _message(found: dict[str, Any]) -> tuple[bytes | None, bool]:
    for key in MESSAGE_KEYS:
        if key in found:
            value = found.pop(key)
            if value is None:
                return None, False
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            return marks.clean_text(text)
    return None, False


def _name(found: dict[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is None:
        found.pop(key, None)
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        return None
    raw, dirty = marks.clean_text(value)
    if dirty or len(raw) > MAX_NAME_BYTES:
        return None
    del found[key]
    return value


def _trace(found: dict[str, Any]) -> bytes | None:
    value = found.get("trace_id")
    if value is None:
        found.pop("trace_id", None)
        return None
    if not isinstance(value, str) or len(value) not in {32, 36}:
        return None
    try:
        raw = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        return None
    if len(raw) != 16:
        return None
    del found["trace_id"]
    return raw


def _correlation(found: dict[str, Any]) -> bytes | None:
    value = found.get("correlation_id")
    if value is None:
        found.pop("correlation_id", None)
        return None
    if not isinstance(value, str):
        return None
    raw, dirty = marks.clean_text(value)
    if dirty or len(raw) > MAX_CORRELATION_BYTES:
        return None
    del found["correlation_id"]
    return raw
