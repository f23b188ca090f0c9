"""One agent for a state directory: a second one would fight the first for its sessions."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider.configuration import ConfigError
from outrider_agent.identity import unusable

if TYPE_CHECKING:
    from pathlib import Path


class Hold:
    """The state directory, held until :meth:`release`. Raises ConfigError when another has it."""

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / "lock"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(error, path) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise ConfigError(
                f"another agent (process {holder or 'unknown'}) uses this state directory",
                str(state_dir),
                "stop it, or set another `agent.state_dir`",
            ) from None
        with suppress(OSError):  # no room for what is there for people
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the directory go."""
        with suppress(OSError):
            os.close(self._fd)
