"""Command: a program of one's own looks, and says by its exit code what it found.

0 is up, 1 degraded, 3 unknown, anything else down, as monitoring plugins have it; the first line of
its output is the reason. It runs as the account of the agent or collector, without a shell, in a
process group of its own, which is killed when the time is over.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from outrider.probes.result import Result, State
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

_MAX_OUTPUT_BYTES = 4_096
_STATES: dict[int, State] = {0: "up", 1: "degraded", 3: "unknown"}


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """The program and its arguments."""

    command: tuple[str, ...]


def _read(keys: Keys, _networks: tuple[Network, ...]) -> CommandTarget:
    command = keys.texts("command")
    if not command or not command[0].startswith("/"):
        what = "a program with an absolute path is expected"
        raise keys.mistake("command", what, 'write it like ["/usr/local/bin/check", "--fast"]')
    return CommandTarget(command)


def look(spec: Spec[CommandTarget], deadline: Deadline) -> Result:
    """Run it to its end, or to the end of its time."""
    try:
        process = subprocess.Popen(  # noqa: S603  the configuration's own words, no shell
            spec.target.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        reason = f"cannot run {spec.target.command[0]}: {(error.strerror or str(error)).lower()}"
        return Result("unknown", reason)
    assert process.stdout is not None  # noqa: S101  a pipe was asked for
    with process.stdout as output:
        try:
            said = _first_output(output, deadline)
            code = process.wait(deadline.left_s())
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no end within {deadline.timeout_s:g} s") from None
        finally:
            _end(process)
    return _result(code, said, deadline.took_ms())


def _first_output(output: IO[bytes], deadline: Deadline) -> bytes:
    """Read to the end of the output; keep its beginning."""
    kept = b""
    waiting = select.poll()
    waiting.register(output, select.POLLIN)
    while True:
        if not waiting.poll(deadline.left_s() * 1_000):
            continue
        piece = os.read(output.fileno(), 65_536)
        if not piece:
            return kept
        kept += piece[: _MAX_OUTPUT_BYTES - len(kept)]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind of one that has not ended by itself."""
    if process.returncode is None:
        # Nobody has waited for it: its number is still its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _result(code: int, said: bytes, took_ms: float) -> Result:
    lines = said.decode("utf-8", "replace").splitlines()
    state: State = _STATES.get(code, "down")
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    reason = next((line.strip() for line in lines if line.strip()), "")
    return Result(state, reason or ended, took_ms, {"exit_code": code})


KIND = Kind("command", _read, look)
