"""Where things are on a machine when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COLLECTOR_PORT: Final = 4510
COLLECTOR_ADDRESS: Final = f"127.0.0.1:{COLLECTOR_PORT}"
"""Where a collector listens, and an agent looks for one."""
DASHBOARD_PORT: Final = 4580
DASHBOARD_ADDRESS: Final = f"127.0.0.1:{DASHBOARD_PORT}"
"""Where the pages are."""
SYSTEM_INBOX = Path("/var/lib/outrider/inbox")
"""The inbox of a machine whose agent was installed for all users."""


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where Outrider keeps its data: a system place for root, else the user's own."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/outrider")
    base = environ.get("XDG_DATA_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    root = Path(base) if base.startswith("/") else _home() / ".local" / "share"
    return root / "outrider"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without $HOME and without an account, as in containers
        return Path("/nonexistent")


def default_inbox(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the inbox: $OUTRIDER_INBOX, else the machine's if we may write there, else our own."""
    named = environ.get("OUTRIDER_INBOX")
    if named:
        return Path(named)
    if os.access(SYSTEM_INBOX, os.W_OK | os.X_OK):
        return SYSTEM_INBOX
    return default_data_dir(environ) / "inbox"
