"""Processes as /proc shows them: what a heartbeat says of CPU, memory, descriptors and threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_agent import control_groups
from outrider_agent.control_groups import PROC, ControlGroup, read_text

if TYPE_CHECKING:
    from pathlib import Path

_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 10
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process has used and uses."""

    cpu_ms: int = 0
    rss_bytes: int = 0
    rss_limit_bytes: int = 0
    open_files: int = 0
    threads: int = 0
    is_stopped: bool = False
    """A signal or a debugger holds it."""
    group: ControlGroup | None = None


def usage(pid: int, proc: Path = PROC) -> ProcessUsage | None:
    """Return what a process uses; None when there is none with that pid."""
    directory = proc / str(pid)
    try:
        fields = _after_name(read_text(directory / "stat"))
        user, system, threads, rss = (int(fields[i]) for i in (11, 12, 17, 21))
    except (OSError, ValueError, IndexError):
        return None
    group = control_groups.of(pid, proc)
    return ProcessUsage(
        cpu_ms=(user + system) * _TICK_MS,
        rss_bytes=rss * _PAGE_BYTES,
        rss_limit_bytes=group.limit_bytes() if group is not None else 0,
        group=group,
        open_files=_count(directory / "fd"),
        threads=threads,
        is_stopped=fields[0] in {"T", "t"},
    )


def boot_id(proc: Path = PROC) -> str:
    """Return the kernel's boot id, or an empty string."""
    try:
        return read_text(proc / "sys/kernel/random/boot_id").strip()[:36]
    except OSError:
        return ""


def _after_name(stat: str) -> list[str]:
    # The name, in parentheses, may hold spaces and parentheses itself.
    return stat[stat.rindex(")") + 2 :].split()


def _count(directory: Path) -> int:
    try:
        return len(os.listdir(directory))  # noqa: PTH208  a count of names, no paths wanted
    except OSError:
        return 0
