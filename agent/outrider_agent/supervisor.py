"""What systemd is told: ready, alive, how it goes. Nothing where it did not start this process."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Supervisor:
    """The socket that ``$NOTIFY_SOCKET`` names (sd_notify's protocol)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.interval_s = _watchdog_s(environ) / 2
        """A sign of life is due so often; 0: none is wanted."""

    @property
    def listens(self) -> bool:
        """Whether anybody wants to be told."""
        return bool(self._address)

    def tell(self, *states: str) -> None:
        """Send states such as ``READY=1`` and ``STATUS=...``; one that is not heard is no error."""
        if not self._address:
            return
        flags = socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)
        with suppress(OSError), socket.socket(socket.AF_UNIX, flags) as connection:
            connection.sendto("\n".join(states).encode(), self._address)

    def reloading(self) -> None:
        """Tell that the configuration is being read anew; ``READY=1`` ends that."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def _watchdog_s(environ: Mapping[str, str]) -> float:
    try:
        wanted_us = int(environ.get("WATCHDOG_USEC", "0"))
        pid = int(environ.get("WATCHDOG_PID", "0"))
    except ValueError:
        return 0.0
    return wanted_us / 1e6 if pid in {0, os.getpid()} else 0.0
