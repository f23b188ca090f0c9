"""Whether an agent reads an inbox: it keeps a segment of its own there, under its lock."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from outrider.inbox import descriptors, names

if descriptors.HAS_FLOCK:
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

AGENT_SERVICE = "outrider-agent"
"""Service under which agents write what they say of themselves."""


def is_attended(inbox: Path) -> bool:
    """Tell whether an agent that runs now reads the inbox; True where that cannot be told.

    It is a look, for a message: an agent that starts later reads all that was written before.
    """
    own = _agents_segments(inbox)
    return own is None or any(map(_is_held, own))


def is_known(inbox: Path) -> bool:
    """Tell whether an agent reads the inbox or did: one that is being restarted is still known."""
    own = _agents_segments(inbox)
    return own is None or bool(own)


def _agents_segments(inbox: Path) -> list[str] | None:
    """Return the segments of agents; None where that cannot be told."""
    if not descriptors.HAS_FLOCK:
        return None
    try:
        with os.scandir(inbox) as entries:
            return [entry.path for entry in entries if _is_agents(entry.name)]
    except OSError:
        return None


def _is_agents(filename: str) -> bool:
    # Most files of a full inbox are seen off by this alone.
    if not filename.startswith(AGENT_SERVICE):
        return False
    name = names.parse(filename)
    return name is not None and name.service == AGENT_SERVICE


def _is_held(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        # Another account's: there is an agent, and whether it runs is not ours to see.
        return error.errno == errno.EACCES
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
