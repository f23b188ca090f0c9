"""Control groups: a process's memory limit, and whether the kernel killed for want of memory.

Version 2, and the memory tree of version 1 that some hosts still have beside it. What cannot be
read (another namespace, no memory controller, the group is gone) is not known, and no error.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
ROOT = Path("/sys/fs/cgroup")
_MAX_BYTES = 1 << 16
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes the largest number of pages where there is no limit."""


class ControlGroup(NamedTuple):
    """The files of one group that tell of its memory."""

    limit: Path
    events: Path

    def limit_bytes(self) -> int:
        """Return the limit; 0: none, or not known."""
        try:
            text = read_text(self.limit).strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT_BYTES else 0

    def kills(self) -> int | None:
        """Return how many of its processes the kernel has killed for want of memory; None: unknown.

        Whose limit it was, the group's, one above it or the host's, makes no difference.
        """
        try:
            for line in read_text(self.events).splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        except (OSError, ValueError):
            pass
        return None


class KillWatch:
    """Tells whether it was want of memory that a process died of, by its group's count of kills.

    The count is taken while the process lives, again and again: what became of another process of
    the group long before must not be taken for its end.
    """

    def __init__(self) -> None:
        self._group: ControlGroup | None = None
        self._kills: int | None = None
        self._verdict: bool | None = None

    def lives(self, group: ControlGroup | None) -> None:
        """The process lives, in this group, which may be another than before: take the count."""
        self._group = group
        self._kills, self._verdict = self._now(), None

    def died(self) -> bool:
        """Return whether the kernel has killed since the last count; the first answer stands."""
        if self._verdict is None:
            now = self._now()
            self._verdict = None not in {now, self._kills} and now != self._kills
        return self._verdict

    def _now(self) -> int | None:
        return self._group.kills() if self._group is not None else None


def of(pid: int, proc: Path = PROC, root: Path = ROOT) -> ControlGroup | None:
    """Return the group of a process; None where that is not known."""
    try:
        lines = read_text(proc / str(pid) / "cgroup").splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inside = path.strip("/")
        if "memory" in controllers.split(","):
            directory = root / "memory" / inside
            return ControlGroup(
                directory / "memory.limit_in_bytes", directory / "memory.oom_control"
            )
        if not controllers:
            directory = root / inside
            found = ControlGroup(directory / "memory.max", directory / "memory.events")
    return found


def read_text(path: Path) -> str:
    """Return the beginning of a file that the kernel writes. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_MAX_BYTES).decode("utf-8", "replace")
