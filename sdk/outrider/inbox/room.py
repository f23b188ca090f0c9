"""Whether an inbox may take more: logs must not take the last room of a disk from everybody else.

A writer asks now and then, never for each record. There is no more room where the file system has
less left than its hundredth part (at most 1 GiB), or where the agent says so: it keeps the file
``.full`` in the inbox fresh for as long as more waits there than may, or less is free than its
``keep_free_bytes``. Nobody but the owner of the inbox, or root, can say it, and one who was killed
while he said it is believed for half a minute.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FULL = ".full"

MOST_RESERVED_BYTES = 1 << 30
_RESERVED_PART = 100
_BELIEVED_S = 30.0


def has_room(inbox: Path, wall_s: float | None = None) -> bool:
    """Tell whether records may be written; ``wall_s`` is the time of the wall clock."""
    if hasattr(os, "statvfs"):
        with suppress(OSError):
            system = os.statvfs(inbox)
            reserved = min(system.f_blocks // _RESERVED_PART * system.f_frsize, MOST_RESERVED_BYTES)
            if system.f_bavail * system.f_frsize < reserved:
                return False
    try:
        said = os.stat(inbox / FULL, follow_symlinks=False)  # noqa: PTH116  a third of its price
    except OSError:
        return True
    now_s = time.time() if wall_s is None else wall_s
    if abs(now_s - said.st_mtime) > _BELIEVED_S:
        return True
    with suppress(OSError):
        return not stat.S_ISREG(said.st_mode) or said.st_uid not in {0, inbox.stat().st_uid}
    return True


def say_full(inbox: Path, *, is_full: bool) -> None:
    """Say that writers are to write no more, once more, or take it back. Never raises."""
    path = inbox / FULL
    if is_full:
        with suppress(OSError):
            if _freshen(path):
                return
    # Whoever may write to the inbox may have put anything there.
    with suppress(OSError):
        path.rmdir()
    with suppress(OSError):
        path.unlink(missing_ok=True)
        if is_full:
            _freshen(path)


def _freshen(path: Path) -> bool:
    """Make a file, or say that it is of now; False for what is another's."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o640)
    try:
        status = os.fstat(fd)
        is_own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        is_own = is_own and status.st_uid == os.geteuid()
        if is_own:
            os.utime(fd)
        return is_own
    finally:
        os.close(fd)
