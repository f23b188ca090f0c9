"""What an address says: whether traffic to it can leave this machine.

Much rests on this one answer: what may be served or sent in plain text, and where a page without
sign-in may be shown.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches this machine alone; no name but localhost does."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
