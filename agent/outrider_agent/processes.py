"""Processes as /proc shows them: what a heartbeat says of CPU, memory, descriptors and threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 10
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process has used and uses."""

    cpu_ms: int = 0
    rss_bytes: int = 0
    rss_limit_bytes: int = 0
    open_files: int = 0
    threads: int = 0
    started_ticks: int = 0
    """Start in clock ticks since boot: with the pid it names a process for good."""


def usage(pid: int, proc: Path = _PROC) -> ProcessUsage | None:
    """Return what a process uses; None when there is none with that pid."""
    directory = proc / str(pid)
    try:
        fields = _after_name(_read(directory / "stat"))
        user, system, threads, started, rss = (int(fields[i]) for i in (11, 12, 17, 19, 21))
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUsage(
        cpu_ms=(user + system) * _TICK_MS,
        rss_bytes=rss * _PAGE_BYTES,
        rss_limit_bytes=_memory_limit(directory),
        open_files=_count(directory / "fd"),
        threads=threads,
        started_ticks=started,
    )


def boot_id(proc: Path = _PROC) -> str:
    """Return the kernel's boot id, or an empty string."""
    try:
        return _read(proc / "sys/kernel/random/boot_id").strip()[:36]
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


def _memory_limit(directory: Path) -> int:
    """Return the limit of the process's control group (version 2), 0 where there is none."""
    try:
        for line in _read(directory / "cgroup").splitlines():
            if line.startswith("0::"):
                text = _read(Path("/sys/fs/cgroup") / line[4:].strip("/") / "memory.max").strip()
                return int(text) if text.isdigit() else 0
    except (OSError, ValueError):
        pass
    return 0


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES).decode("utf-8", "replace")
