"""Logging: a message and fields, at a severity, to the process's inbox."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outrider import client, record, severity, taxonomy
from outrider.context import bound
from outrider.trace import describe_exception, from_exc_info

if TYPE_CHECKING:
    from collections.abc import Mapping

_NONE: Mapping[str, object] = {}


class Logger:
    """Writes records under a name. Cheap; all loggers of a process share its client.

    Keywords are fields. Four have a place of their own in the record: ``error_code``, ``trace_id``,
    ``correlation_id`` and ``exc_info`` (True, an exception, or the triple of ``sys.exc_info()``).
    Positional arguments are put into the message with ``%``, as in the standard library.
    """

    __slots__ = ("_fields", "_placed", "name")

    def __init__(self, name: str | None, fields: Mapping[str, object] = _NONE) -> None:
        self.name = name
        self._fields = fields
        self._placed = record.place(name)

    def bind(self, **fields: object) -> Logger:
        """Return a logger that adds these fields to every record."""
        return Logger(self.name, {**self._fields, **fields})

    def trace(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 1."""
        self._log(severity.TRACE, message, args, fields)

    def debug(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 5."""
        self._log(severity.DEBUG, message, args, fields)

    def info(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 9."""
        self._log(severity.INFO, message, args, fields)

    def warning(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 13."""
        self._log(severity.WARN, message, args, fields)

    def error(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 17."""
        self._log(severity.ERROR, message, args, fields)

    def critical(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 21."""
        self._log(severity.FATAL, message, args, fields)

    def exception(self, message: object, /, *args: object, **fields: object) -> None:
        """Log at severity 17 with the exception being handled."""
        fields.setdefault("exc_info", True)
        self._log(severity.ERROR, message, args, fields)

    def log(self, level: str | int, message: object, /, *args: object, **fields: object) -> None:
        """Log at a severity by name or OpenTelemetry number; INFO where it is neither."""
        self._log(severity.parse(level) or severity.INFO, message, args, fields)

    def event(
        self,
        name: str,
        message: str = "",
        /,
        *,
        severity: str | int | None = None,
        **fields: object,
    ) -> None:
        """Record that something of the catalogue happened, at its severity unless told otherwise.

        A name outside the catalogue is kept as ``event_name`` of an ``app.unclassified``. Events
        are written whatever the client's level is.
        """
        self._event(name, message or name, severity, fields)

    def _event(
        self, name: str, message: str, wanted: str | int | None, fields: dict[str, object]
    ) -> None:
        event, original = taxonomy.check(name)
        if original is not None:
            fields["event_name"] = original
        number = event.severity if wanted is None else severity.parse(wanted) or event.severity
        self._write(client.current(), number, message, fields, event.name)

    def _log(
        self, number: int, message: object, args: tuple[object, ...], fields: dict[str, object]
    ) -> None:
        mine = client.current()
        if number >= mine.level:
            text = message if not args and isinstance(message, str) else _text(message, args)
            self._write(mine, number, text, fields)

    def _write(
        self,
        mine: client.Client,
        number: int,
        message: str,
        fields: dict[str, object],
        event: str | None = None,
    ) -> None:
        time_ns = time.time_ns()
        if "exc_info" in fields:
            fields = _with_exception(fields)
        around = bound.get()
        if around or self._fields:
            fields = {**around, **self._fields, **fields}
        placed = self._placed if event is None else record.place(self.name, event)
        mine.write(record.encode(time_ns, number, message, placed, fields))


def get_logger(name: str | None = None, **fields: object) -> Logger:
    """Return a logger of that name that adds ``fields`` to every record."""
    return Logger(name, fields)


def event(
    name: str, message: str = "", /, *, severity: str | int | None = None, **fields: object
) -> None:
    """Record an event without a logger; see :meth:`Logger.event`."""
    _anonymous.event(name, message, severity=severity, **fields)


def audit(
    action: str,
    *,
    actor: str,
    target: str | None = None,
    before: object = None,
    after: object = None,
    outcome: str = "success",
    reason: str | None = None,
    **fields: object,
) -> None:
    """Record who did what to what, as an event of class audit.

    ``action`` is a name of the catalogue (``config.changed``); one outside it is kept in
    ``event_name``. ``before`` and ``after`` are what was changed, ``outcome`` is success, failure,
    denied or unknown, ``reason`` why it was done.
    """
    said = {"target": target, "before": before, "after": after, "reason": reason}
    fields |= {"class": taxonomy.EventClass.AUDIT.value, "actor": actor, "outcome": outcome}
    fields |= {name: value for name, value in said.items() if value is not None}
    message = f"{actor}: {action}{f' {target}' if target else ''}"
    _anonymous._event(action, message, None, fields)  # noqa: SLF001  fields may have any name


def progress(
    done: int | None = None,
    total: int | None = None,
    note: str | None = None,
    *,
    every_s: float | None = None,
) -> None:
    """Tell how far the work is. Overwrites the process's slot, which every heartbeat reads.

    A worker that runs and does not call this again within ``every_s`` seconds (300 unless it was
    told, 65,535 at most, 0: never mind) has stalled: it is degraded until it does. One that has
    ``done`` all of its ``total`` may rest.

    What is None stays as it was; a note is cut to 16 bytes. Costs a system call, no record.
    """
    mine = client.current()
    if mine.start():
        mine.writer.progress(done, total, note, every_s)


_anonymous = Logger(None)


def _text(message: object, args: tuple[object, ...]) -> str:
    try:
        text = str(message)
        return text % args if args else text
    except Exception:  # noqa: BLE001  nothing of the program's may come back to it: keep the parts
        return f"{record.plain(message)} {record.plain(args) if args else ''}".rstrip()


def _with_exception(fields: Mapping[str, object]) -> dict[str, object]:
    rest = {name: value for name, value in fields.items() if name != "exc_info"}
    error = from_exc_info(fields["exc_info"])
    if error is not None:
        rest["exception"], code = describe_exception(error)
        if code is not None:
            rest.setdefault("error_code", code)
    return rest
