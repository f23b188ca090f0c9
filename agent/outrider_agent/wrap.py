"""``outrider run -- CMD...``: a worker under the agent's eye.

The child's output becomes records in a segment of the inbox and appears where it would without us
(not with ``--quiet``), and its end is a record and a state
the moment it happens: ``worker.stopped``, ``worker.crashed`` with the exit code, ``worker.killed``
with the signal. No agent needs to run: the file is safe until one does. Signals are passed on, and
the exit code is the child's (128 + the number of the signal that ended it).

Where the inbox cannot be used the child runs all the same: watching must never stop the work.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from outrider import configuration, places, record, severity, taxonomy
from outrider.configuration import ConfigError, suggest
from outrider.inbox.access import remedy
from outrider.inbox.attended import is_attended
from outrider.inbox.writer import Writer, complain
from outrider_agent import control_groups
from outrider_agent.configuration import zone
from outrider_agent.control_groups import KillWatch
from outrider_agent.output import READ_BYTES, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
             signal.SIGUSR2)  # fmt: skip
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
# So often the kernel's count of processes that it killed for want of memory is read.
_KILLS_S = 10.0
# After the child's end, what grandchildren still hold open is read for so long.
_LINGER_S = 1.0
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_OPTIONS = ("--service", "--worker", "--quiet", "--config", "--help")


def main(argv: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    arguments, command = _parse(list(argv))
    name = Path(command[0]).name
    service = arguments.service or os.environ.get("OUTRIDER_SERVICE") or name
    worker = arguments.worker or os.environ.get("OUTRIDER_WORKER") or service
    try:
        inbox = _inbox(arguments.config)
    except ConfigError as error:
        # The work is worth more than the place of its log.
        inbox = places.default_inbox()
        complain(error.what, error.where, f"{error.what_to_do or 'mend it'}; using {inbox}")
    return Run(command, inbox, service, worker, quiet=arguments.quiet).run()


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider run",
        usage="outrider run [--service S] [--worker W] [--quiet] [--config FILE] -- CMD [ARG ...]",
        description="Run a worker: its output is logged, its end is a record and a state.",
    )
    parser.add_argument("--service", help="default: $OUTRIDER_SERVICE, else the command's name")
    parser.add_argument("--worker", help="default: $OUTRIDER_WORKER, else the service's name")
    parser.add_argument("--config", metavar="FILE", help="configuration, for the inbox's place")
    parser.add_argument("--quiet", action="store_true", help="do not show the output as well")
    divider = argv.index("--") if "--" in argv else len(argv)
    arguments, rest = parser.parse_known_args(argv[:divider])
    if rest and rest[0].startswith("-"):
        near = suggest(rest[0].partition("=")[0], _OPTIONS)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(_OPTIONS)}"
        parser.error(f"unknown option {rest[0]}: {hint}; what is the command's stands after --")
    command = rest + argv[divider + 1 :]
    if not command:
        parser.error("no command given: write it after --")
    return arguments, command


def _inbox(config: str | None) -> Path:
    if os.environ.get("OUTRIDER_INBOX") and config is None:
        return places.default_inbox()
    # Only the inbox's place is wanted: the other tables are other parts' business.
    return configuration.inbox(config)


class Run:
    """One child and its segment."""

    def __init__(
        self, command: list[str], inbox: Path, service: str, worker: str, *, quiet: bool = False
    ) -> None:
        self._command = command
        self._quiet = quiet
        self._inbox = inbox
        self._writer = Writer(inbox, service, worker, numbered=True)
        self._stop_signal: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._kills = KillWatch()
        self._count_at = 0.0

    def run(self) -> int:
        """Run the child to its end and return the exit code."""
        missing = _cannot_start(self._command[0])
        if missing is not None:
            # Before the segment: a command that never ran is no worker, and nobody died.
            return self._not_started(missing)
        self._open()
        woken, wake = socket.socketpair()
        with woken, wake:
            woken.setblocking(False)
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            for number in FORWARDED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._forward)
            try:
                child = self._start()
            except OSError as error:
                return self._not_started(error)
            try:
                return self._attend(child, woken)
            finally:
                signal.set_wakeup_fd(-1)

    def _open(self) -> None:
        try:
            died = self._writer.open()
        except OSError as error:
            complain(
                f"the inbox cannot be used, {(error.strerror or str(error)).lower()}",
                str(self._inbox),
                f"{remedy(self._inbox, error)}; until then the output is only passed on",
            )
            return
        if not is_attended(self._inbox):
            complain(
                "no agent reads the inbox now",
                str(self._inbox),
                "records wait there for one; start `outrider agent` with this inbox, or set "
                "OUTRIDER_INBOX to the inbox of the one that runs",
            )
        if died is not None:
            self._record("worker.died", "died without an end", {"pid": died.pid})

    def _record(
        self, event: str, message: str, attributes: dict[str, object], level: int | None = None
    ) -> None:
        if self._writer.is_open:
            placed = record.place("outrider.run", event)
            number = level or taxonomy.EVENTS[event].severity
            line = record.encode(time.time_ns(), number, message, placed, attributes)
            self._writer.append(line)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        environment["OUTRIDER_SERVICE"] = self._writer.service
        environment["OUTRIDER_WORKER"] = self._writer.worker
        environment["OUTRIDER_INBOX"] = str(self._inbox)
        # So that the child's own SDK takes these names, though this process holds them.
        environment["OUTRIDER_RUN"] = str(os.getpid())
        child = self._child = subprocess.Popen(  # noqa: S603  the user's own command
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self._record(
            "worker.started",
            f"started: {self._command[0]}",
            # Arguments may hold secrets, so the program alone is told.
            {"pid": child.pid, "command": self._command[0]},
        )
        self._note(f"pid:{child.pid}")
        if self._stop_signal is not None:
            child.send_signal(self._stop_signal)
        return child

    def _note(self, note: str) -> None:
        if self._writer.is_open:
            self._writer.progress(None, None, note)

    def _not_started(self, error: OSError) -> int:
        reason = (error.strerror or str(error)).lower()
        self._record(
            "app.not_started", f"not started: {self._command[0]}: {reason}", {}, severity.ERROR
        )
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        self._writer.end()
        print(  # noqa: T201  errors go to standard error
            f"outrider: cannot run, {reason}: {self._command[0]}: check the command and its path",
            file=sys.stderr,
        )
        return code

    def _forward(self, number: int, _: object) -> None:
        # What a terminal sends, it sends to the child as well.
        self._stop_signal = number
        from_terminal = number in _FROM_TERMINAL and sys.stdin is not None and sys.stdin.isatty()
        child = self._child
        if child is not None and child.returncode is None and not from_terminal:
            child.send_signal(number)

    # ---------------------------------------------------------------- the child's life

    def _attend(self, child: subprocess.Popen[bytes], woken: socket.socket) -> int:
        """Read the child's output until it has ended, and a moment longer."""
        selector = selectors.DefaultSelector()
        selector.register(woken, selectors.EVENT_READ, None)
        self._count_kills(child.pid, time.monotonic())
        outputs: list[Output] = []
        for name, stream, own in (
            ("stdout", child.stdout, sys.stdout), ("stderr", child.stderr, sys.stderr),
        ):  # fmt: skip
            assert stream is not None  # noqa: S101  both are pipes
            os.set_blocking(stream.fileno(), False)
            output = Output(name, self._append, zone("local"), echo=self._echo(own))
            outputs.append(output)
            selector.register(stream.fileno(), selectors.EVENT_READ, output)
        deadline: float | None = None
        looked_at = 0.0
        while len(selector.get_map()) > 1 or deadline is None:
            # Before what is there is read: later lines may have come by the time it is done.
            now = time.monotonic()
            due = [at for output in outputs if (at := output.settle(looked_at)) is not None]
            due.append(now + _KILLS_S if deadline is None else deadline)
            events = selector.select(max(0.0, min(due) - now))
            looked_at = now
            for key, _ in events:
                if key.data is None:
                    _drain(woken)
                elif not _copy(key.fd, key.data):
                    selector.unregister(key.fd)
            if deadline is None and child.poll() is not None:
                deadline = time.monotonic() + _LINGER_S
                self._read_rest(selector)
                for output in outputs:
                    output.release()
                self._ended(child)
            elif deadline is None:
                self._count_kills(child.pid, time.monotonic())
            elif time.monotonic() >= deadline:
                break
        for output in outputs:
            output.finish()
        selector.close()
        self._writer.end()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _count_kills(self, pid: int, now: float) -> None:
        if now >= self._count_at:
            self._count_at = now + _KILLS_S
            self._kills.lives(control_groups.of(pid))

    def _append(self, line: bytes) -> None:
        if self._writer.is_open:
            self._writer.append(line)

    def _echo(self, own: TextIO | None) -> int | None:
        """Return where output is passed on to: also with --quiet, if it has no other place."""
        # Without a stream from the start, its number may be any file's by now.
        if own is None or (self._quiet and self._writer.is_open):
            return None
        return own.fileno()

    def _read_rest(self, selector: selectors.BaseSelector) -> None:
        """Read what the child had written before it ended, so that its last words come first."""
        for key in list(selector.get_map().values()):
            if key.data is not None and not _copy(key.fd, key.data, until_empty=True):
                selector.unregister(key.fd)
                key.data.finish()

    def _ended(self, child: subprocess.Popen[bytes]) -> None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        attributes: dict[str, object] = {
            "pid": child.pid,
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "max_rss_bytes": used.ru_maxrss * 1024,
        }
        code = child.returncode
        if code >= 0:
            event = "worker.crashed" if code else "worker.stopped"
            self._record(event, f"exited with code {code}", {**attributes, "exit_code": code})
            self._note(f"exit:{code}")
        else:
            name = _signal_name(-code)
            attributes["signal"] = name
            if -code == self._stop_signal:
                # It was asked to end, and did.
                message = f"stopped by {name}, which was passed on"
                self._record("worker.stopped", message, attributes, severity.INFO)
                self._note("exit:0")
            else:
                self._killed(-code, name, attributes)
        self._writer.end()

    def _killed(self, number: int, name: str, attributes: dict[str, object]) -> None:
        if number == signal.SIGKILL and self._kills.died():
            told = {**attributes, "out_of_memory": True}
            self._record("worker.killed", "killed by the kernel: out of memory", told)
            self._note(f"oom:{number}")
        else:
            self._record("worker.killed", f"killed by {name}", attributes)
            self._note(f"signal:{number}")


def _cannot_start(program: str) -> OSError | None:
    """Return why the system would not start a program, as far as that is seen from outside."""
    if shutil.which(program) is not None:
        return None
    if os.path.dirname(program) and os.path.exists(program):  # noqa: PTH110, PTH120  of any text
        return PermissionError(errno.EACCES, "not an executable file")
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _copy(fd: int, output: Output, *, until_empty: bool = False) -> bool:
    """Read once (or until nothing is there); False at the end of the stream."""
    while True:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        output.feed(data)
        if not until_empty:
            return True


def _drain(woken: socket.socket) -> None:
    try:
        while woken.recv(512):
            pass
    except BlockingIOError:
        pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
