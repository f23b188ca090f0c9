"""An exception as attributes of a record."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from outrider.errors import Fault

_MAX_MESSAGE = 4 << 10
_MAX_STACKTRACE = 32 << 10


def describe_exception(error: BaseException) -> tuple[dict[str, object], str | None]:
    """Return ``{type, message, stacktrace}`` and, for a Fault, its reason as the error code.

    Values of local variables are not taken. Of a long stack trace the end is kept. Never raises.
    """
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  a broken __str__ must not lose the record
        message = "<exception without text>"
    described: dict[str, object] = {
        "type": f"{module}{kind.__qualname__}",
        "message": message[:_MAX_MESSAGE],
        "stacktrace": _stacktrace(error),
    }
    if not isinstance(error, Fault):
        return described, None
    if error.metadata:
        described["metadata"] = error.metadata
    return described, str(error.reason)


def _stacktrace(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  odd exceptions break the formatter of some Pythons
        return ""
    return text if len(text) <= _MAX_STACKTRACE else "...\n" + text[-_MAX_STACKTRACE:]


def from_exc_info(exc_info: Any) -> BaseException | None:
    """Return the exception of a logging call's ``exc_info``: True, an exception or a triple."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) == 3 and exc_info[1] is not None else None
    return sys.exception() if exc_info else None
