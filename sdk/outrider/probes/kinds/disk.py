"""Disk: the room that is left where a path lies, in bytes and in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys


@dataclass(frozen=True, slots=True)
class DiskTarget:
    """Which path, and how much of its file system must be free, percent."""

    path: str
    warn_below_pct: float
    fail_below_pct: float


def _read(keys: Keys, _networks: tuple[Network, ...]) -> DiskTarget:
    path = keys.text("path", "/")
    if not path.startswith("/"):
        raise keys.mistake("path", f"`{path}` is no absolute path", "begin it with a slash")
    warn = keys.number("warn_below_pct", 10.0, 0, 100)
    fail = keys.number("fail_below_pct", 3.0, 0, 100)
    if fail > warn:
        raise keys.mistake("fail_below_pct", "it is above `warn_below_pct`", "make it smaller")
    return DiskTarget(path, warn, fail)


def look(spec: Spec[DiskTarget], deadline: Deadline) -> Result:
    """Ask the file system. What unprivileged processes may not use counts as used."""
    target = spec.target
    try:
        status = os.statvfs(target.path)
    except OSError as error:
        return Result("unknown", f"{target.path}: {(error.strerror or str(error)).lower()}")
    free_pct = _pct(status.f_bavail, status.f_bavail + status.f_blocks - status.f_bfree)
    # File systems that make inodes as they need them say that they have none.
    files_pct = _pct(status.f_favail, status.f_favail + status.f_files - status.f_ffree)
    facts: dict[str, Fact] = {
        "free_bytes": status.f_bavail * status.f_frsize,
        "size_bytes": status.f_blocks * status.f_frsize,
        "free_pct": round(free_pct, 1),
        "files_free_pct": round(files_pct, 1),
    }
    least, what = min((free_pct, "space"), (files_pct, "files"))
    reason = f"{least:.1f} % of the {what} of {target.path} free"
    if least < target.fail_below_pct:
        return Result("down", f"{reason}, less than {target.fail_below_pct:g} %", facts=facts)
    if least < target.warn_below_pct:
        return Result("degraded", f"{reason}, less than {target.warn_below_pct:g} %", facts=facts)
    return Result("up", reason, deadline.took_ms(), facts)


def _pct(free: int, size: int) -> float:
    return 100.0 * free / size if size else 100.0


KIND = Kind("disk", _read, look)
