"""Process: as many as there should be run whose command line holds a text (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

PROC = Path("/proc")
_MOST = 1_000_000
_MAX_BYTES = 1 << 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessTarget:
    """Which processes, and how many of them there should be."""

    command: str
    """A text within the command line, its parts joined by spaces."""
    least: int
    most: int


def _read(keys: Keys, _networks: tuple[Network, ...]) -> ProcessTarget:
    command, least = keys.text("command"), keys.integer("least", 1, 0, _MOST)
    if not command.strip():
        raise keys.mistake("command", "an empty text is in every command line")
    most = keys.integer("most", _MOST, 0, _MOST)
    if most < least:
        raise keys.mistake("most", "it is below `least`", "make it larger")
    return ProcessTarget(command, least, most)


def look(spec: Spec[ProcessTarget], deadline: Deadline) -> Result:
    """Count the processes of this host, and what memory they use."""
    target = spec.target
    try:
        pids = [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208
    except OSError as error:
        return Result("unknown", f"cannot see processes: {PROC}: {error.strerror}")
    count = rss_bytes = 0
    for pid in pids:
        deadline.left_s()
        if pid != os.getpid() and target.command in _command_line(pid):
            count += 1
            rss_bytes += _rss_bytes(pid)
    facts: dict[str, Fact] = {"count": count, "rss_bytes": rss_bytes}
    took_ms = deadline.took_ms()
    told = f"{count} {'process' if count == 1 else 'processes'}"
    if count < target.least:
        return Result("down", f"{told}, expected at least {target.least}", took_ms, facts)
    if count > target.most:
        return Result("down", f"{told}, expected at most {target.most}", took_ms, facts)
    return Result("up", told, took_ms, facts)


def _command_line(pid: int) -> str:
    """Return the command line; empty for what has none, or is gone."""
    return _content(pid, "cmdline").rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def _rss_bytes(pid: int) -> int:
    fields = _content(pid, "statm").split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def _content(pid: int, name: str) -> bytes:
    try:
        with (PROC / str(pid) / name).open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""


KIND = Kind("process", _read, look)
