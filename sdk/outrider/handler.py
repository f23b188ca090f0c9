"""The standard library's logging into the inbox."""

from __future__ import annotations

import logging

from outrider import client, record, severity
from outrider.context import bound
from outrider.trace import describe_exception, from_exc_info

# What every LogRecord has; anything else came with `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Handler(logging.Handler):
    """``logging.getLogger().addHandler(outrider.Handler())``; also for ``dictConfig``.

    The message is the formatted one, ``extra=`` and the bound context become attributes, an
    exception its type, message and stack trace. No lock is taken and nothing is ever raised.
    """

    def createLock(self) -> None:  # noqa: N802  the base class's name
        """Make no lock: one write is one record, and there is nothing to deadlock at a fork."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        mine = client.current()
        number = severity.from_stdlib(record.levelno)
        if number >= mine.level:
            mine.write(_line(record, number))


def _line(source: logging.LogRecord, number: int) -> bytes:
    given = vars(source)
    fields = {name: given[name] for name in given.keys() - _STANDARD}
    around = bound.get()
    if around:
        fields = {**around, **fields}
    error = from_exc_info(source.exc_info) if source.exc_info else None
    if error is not None:
        fields["exception"], code = describe_exception(error)
        if code is not None:
            fields.setdefault("error_code", code)
    if source.stack_info:
        fields["stack"] = source.stack_info
    event = fields.pop("event", None)
    placed = record.place(source.name, None if event is None else str(event))
    time_ns = int(source.created * 1e6) * 1000
    return record.encode(time_ns, number, _message(source), placed, fields)


def _message(source: logging.LogRecord) -> str:
    try:
        return source.getMessage()
    except Exception:  # noqa: BLE001  the arguments do not fit: keep both
        return f"{source.msg} {source.args!r:.1000}"
