"""The one client of a process: its name, its level, its inbox; what happens at fork and at exit.

``init`` may be called once, late or never: whatever logs first starts a client under the program's
name. A forked child forgets the parent's descriptors at once and opens a segment of its own with
its first record, under the next free worker name.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider import places, record, severity, taxonomy
from outrider.inbox import descriptors
from outrider.inbox.access import remedy
from outrider.inbox.attended import is_known
from outrider.inbox.writer import Writer, complain
from outrider.trace import describe_exception

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from outrider.inbox.slot import Slot


class Client:
    """What a process needs to log."""

    def __init__(
        self,
        service: str,
        worker: str | None = None,
        *,
        inbox: Path | None = None,
        level: int = severity.DEBUG,
        forked_from: int | None = None,
    ) -> None:
        self._asked_service = service
        self.service, name, is_wrapped = _names(service or "unnamed", worker)
        self.level = level
        """Log calls below this severity number do nothing."""
        self._asked_worker = worker
        self.forked_from = forked_from
        """Process id of the parent, in a forked child."""
        self._ended = False
        self._crashed = False
        self._told_unusable = False
        self.writer = Writer(
            inbox or places.default_inbox(),
            self.service,
            name,
            # A name given by the program is kept as it is; its forked children must differ.
            # Under `outrider run` all processes are the one worker that it names.
            numbered=not is_wrapped and (worker is None or forked_from is not None),
        )

    def is_like(self, service: str, worker: str | None) -> bool:
        """Tell whether ``init`` with these would make the same client."""
        return (self._asked_service, self._asked_worker) == (service, worker)

    def forked(self) -> Client:
        """Return the client of a forked child."""
        return Client(
            self._asked_service,
            self._asked_worker,
            inbox=self.writer.inbox,
            level=self.level,
            forked_from=os.getppid(),
        )

    def write(self, line: bytes) -> None:
        """Append a record's line; never raises."""
        if self.writer.is_open and self.writer.append(line):
            return
        if not self.writer.is_open and self.start():
            self.writer.append(line)
        elif not self.writer.is_open:
            self._to_standard_error(line)

    def start(self) -> bool:
        """Open the inbox and record the start; False where there is no usable inbox."""
        if self.writer.is_open:
            return True
        try:
            died = self.writer.open()
        except OSError as error:
            self._tell_unusable(error)
            return False
        _end_with_multiprocessing(self)
        if died is not None:
            self._record("worker.died", "died without an end", _last_words_of(died))
        started: dict[str, object] = {"pid": os.getpid(), "python": sys.version.partition(" ")[0]}
        if self.forked_from is not None:
            started["parent_pid"] = self.forked_from
        self._record("worker.started", "started", started)
        return True

    def end(self) -> None:
        """Record a clean end, once; after a crash, only mark that it was recorded."""
        if self._ended or not self.writer.is_open:
            return
        self._ended = True
        if not self._crashed:
            self._record("worker.stopped", "stopped", {"pid": os.getpid()})
        self.writer.end(crashed=self._crashed)

    def crashed(self, error: BaseException) -> None:
        """Record the exception that ends the process."""
        self._crashed = True
        fields, code = describe_exception(error)
        words: dict[str, object] = {"exception": fields, "pid": os.getpid()}
        if code:
            words["error_code"] = code
        message = f"crashed: {type(error).__name__}"
        self.write(_line("worker.crashed", severity.FATAL, message, words))

    def _record(self, event: str, message: str, fields: Mapping[str, object]) -> None:
        level = taxonomy.EVENTS[event].severity
        self.writer.append(_line(event, level, message, fields))

    def _tell_unusable(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError) or self._told_unusable:
            return
        self._told_unusable = True
        complain(
            f"the inbox cannot be used, {(error.strerror or str(error)).lower()}",
            str(self.writer.inbox),
            f"{remedy(self.writer.inbox, error)}; until then records go to standard error",
        )

    def _to_standard_error(self, line: bytes) -> None:
        try:
            os.write(2, line)
        except OSError:
            self.writer.dropped += 1


def _names(service: str, worker: str | None) -> tuple[str, str, bool]:
    """Return the names to log under, and whether they are those of an `outrider run` above us."""
    named = os.environ.get("OUTRIDER_WORKER")
    wrapper = os.environ.get("OUTRIDER_SERVICE") if os.environ.get("OUTRIDER_RUN") else None
    if wrapper and named:
        return wrapper, named, True
    return service, worker or named or service, False


def _line(event: str, level: int, message: str, fields: Mapping[str, object]) -> bytes:
    placed = record.place("outrider", event)
    return record.encode(time.time_ns(), level, message, placed, fields)


def _last_words_of(slot: Slot) -> dict[str, object]:
    words: dict[str, object] = {"pid": slot.pid, "opened_us": slot.opened_us}
    if slot.progress_us:
        words["progress"] = {"done": slot.done, "total": slot.total, "note": slot.note}
    return words


def _end_with_multiprocessing(client: Client) -> None:
    """Have a multiprocessing child record its end: it leaves by os._exit, without atexit."""
    process: Any = sys.modules.get("multiprocessing.process")
    util: Any = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, client.end, exitpriority=0)


_current: Client | None = None


def current() -> Client:
    """Return the process's client; without ``init``, one under the program's name."""
    global _current  # noqa: PLW0603  one client a process is the point
    if _current is None:
        program = Path(sys.argv[0] if sys.argv else "").stem
        service = os.environ.get("OUTRIDER_SERVICE") or program or "python"
        _install_hooks()
        _current = Client(service)
    return _current


def init(
    service: str, worker: str | None = None, *, level: str | int = "debug", inbox: str | None = None
) -> None:
    """Name this process and open its segment. Call once; never raises.

    ``worker`` tells processes of one service apart: by default $OUTRIDER_WORKER, else the service's
    name, and when living processes have that already, ``name-2``, ``name-3`` and so on. Log calls
    below ``level`` do nothing. ``inbox`` is the directory to write to, by default $OUTRIDER_INBOX,
    else the machine's or the user's. Where it cannot be used, one line on standard error says why,
    and records go there. Where no agent has ever read it, a RuntimeWarning says so; nothing is
    lost.

    Under ``outrider run`` service and worker are the wrapper's, whatever is given here: a process
    and its wrapper are one worker.
    """
    global _current  # noqa: PLW0603  one client a process is the point
    number = severity.parse(level) or severity.DEBUG
    _install_hooks()
    forked_from = None
    if _current is not None:
        if _current.is_like(service, worker) and inbox is None:
            _current.level = number
            _current.start()
            return
        forked_from = _current.forked_from
        _current.end()
    _current = Client(
        service,
        worker,
        level=number,
        inbox=Path(inbox) if inbox else None,
        forked_from=forked_from,
    )
    if _current.start():
        _warn_unattended(_current)


def _warn_unattended(started: Client) -> None:
    """Warn, by the means of the language, when records go where no agent has ever been.

    An agent that only is not there now is `outrider run`'s message and the agent's own business: a
    program that starts while it is restarted has nothing to tell.
    """
    # `outrider run` has said it already, and Outrider's own parts start before their agent does.
    if os.environ.get("OUTRIDER_RUN") or started.service.startswith("outrider"):
        return
    if is_known(started.writer.inbox):
        return
    import warnings  # noqa: PLC0415  most processes have nothing to warn of

    with suppress(RuntimeWarning):  # warnings may be errors; `init` raises none
        warnings.warn(
            f"outrider: no agent has read the inbox yet: {started.writer.inbox}: records wait "
            "there for one; start `outrider agent`, or set OUTRIDER_INBOX to its inbox",
            RuntimeWarning,
            stacklevel=3,
        )


def _after_fork_in_child() -> None:
    global _current  # noqa: PLW0603  one client a process is the point
    descriptors.forget_in_child()
    if _current is not None:
        _current = _current.forked()


def _at_exit() -> None:
    if _current is not None:
        _current.end()


def _record_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Record what ends the process, then do what was done before."""
    if _current is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        _current.crashed(error.with_traceback(traceback))
    _previous_hook(kind, error, traceback)


_hooks_installed = False
_previous_hook = sys.excepthook


def _install_hooks() -> None:
    """Install what runs at fork, exit and crash, with the first client and never twice."""
    global _hooks_installed, _previous_hook  # noqa: PLW0603  there is one interpreter
    if _hooks_installed:
        return
    _hooks_installed = True
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)
    atexit.register(_at_exit)
    _previous_hook = sys.excepthook
    sys.excepthook = _record_crash
