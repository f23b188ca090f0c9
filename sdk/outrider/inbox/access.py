"""Why this process may not use an inbox, and what lets it: for the one line that says so.

The inbox belongs to the agent's user and group and has mode 3770, so a worker of another user needs
its group, an entry of his own, or another inbox. ``sdk/LINE.md`` tells the same to authors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_GROUP_MAY = 0o030
_NOT_THERE = "create it or set OUTRIDER_INBOX"


def remedy(inbox: Path, error: OSError) -> str:
    """Return what to do about ``error``, which opening a segment in ``inbox`` raised."""
    if not isinstance(error, PermissionError):
        return _NOT_THERE
    user = _user()
    for parent in reversed(inbox.absolute().parents):
        if not os.access(parent, os.X_OK):
            return (
                f"{parent} is closed to {user}: set OUTRIDER_INBOX, and `inbox` under [agent], to "
                "a directory that the agent and the worker both reach"
            )
    try:
        found = inbox.stat()
    except OSError:
        return f"it is not there and {user} may not make it: start the agent, which does"
    may_enter = f"`setfacl -m u:{user}:rwx {inbox}`"
    mode = f"mode {found.st_mode & 0o7777:04o}"
    if found.st_mode & _GROUP_MAY != _GROUP_MAY:
        return f"its {mode} lets no group in: {may_enter}, or `chmod 3770` for its group"
    group = _group(found.st_gid)
    lacking = f"{user} is not in its group {group} ({mode})"
    if found.st_gid == 0:
        # Nobody should join root's group for the sake of a log.
        return f"{lacking}: {may_enter}, or `chgrp` it to a group that {user} is in"
    return f"{lacking}: `usermod -aG {group} {user}` and start the worker anew, or {may_enter}"


def _user() -> str:
    number = os.geteuid() if hasattr(os, "geteuid") else -1
    try:
        import pwd  # noqa: PLC0415  for a message only, and Unix only

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)


def _group(number: int) -> str:
    try:
        import grp  # noqa: PLC0415  for a message only, and Unix only

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)
