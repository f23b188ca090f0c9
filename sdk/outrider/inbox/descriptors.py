"""Descriptors that a forked child must close.

A lock taken with flock belongs to the open file, which a forked child shares: as long as the child
holds the descriptor, the lock outlives the parent, and if the child unlocked it the parent would
lose it. So a child closes, and never unlocks, whatever is open here, also what another thread of
the parent had open only for a moment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HAS_FLOCK = find_spec("fcntl") is not None
"""False where the system is no Unix: there are no locks there, and no agents either."""

if HAS_FLOCK:
    import fcntl

HIGH = 200
"""Long-lived descriptors are moved up here, out of the way of programs that close low ones in bulk
and reuse their numbers, as daemons do."""

_open: set[int] = set()

# Not waiting matters too: a FIFO planted under a file's name would hold the worker for ever.
_SAFE_FLAGS = (
    getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)


def open_file(path: Path, flags: int, mode: int = 0o640) -> int:
    """Open a file, not through a symbolic link, without waiting.

    The descriptor is closed by exec and in forked children.
    """
    descriptor = os.open(path, flags | _SAFE_FLAGS, mode)
    _open.add(descriptor)
    return descriptor


def close(descriptor: int) -> None:
    """Close it if it is still open."""
    _open.discard(descriptor)
    with suppress(OSError):
        os.close(descriptor)


def forget(descriptor: int) -> None:
    """Stop keeping count of a descriptor that somebody else has closed."""
    _open.discard(descriptor)


def move_up(descriptor: int) -> int:
    """Return a descriptor of the same open file with a high number; the given one is closed."""
    if not HAS_FLOCK:
        return descriptor
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)
    except OSError:  # the limit of open files is lower than that
        return descriptor
    _open.add(high)
    close(descriptor)
    return high


def replace(old: int, new: int) -> None:
    """Let the number ``old`` mean the file of ``new``, at once for every thread that writes."""
    os.dup2(new, old, inheritable=False)
    close(new)


def forget_in_child() -> None:
    """Close everything; for a child directly after fork."""
    for descriptor in list(_open):
        close(descriptor)
