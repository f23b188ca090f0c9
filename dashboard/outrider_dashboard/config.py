"""Table ``[dashboard]`` of the configuration, and what follows from it."""

from __future__ import annotations

import msgspec

from outrider.addresses import is_loopback
from outrider.configuration import ConfigError
from outrider.places import DASHBOARD_ADDRESS


class DashboardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the dashboard needs to know; every key has a default."""

    listen: str = DASHBOARD_ADDRESS
    """Address and port of the pages. Only loopback: there is no sign-in."""
    environment: str | None = None
    """Name shown beside the mark, so that nobody reads the wrong fleet; absent: the host's name."""
    status_page: bool = False
    """Whether /status shows everybody how the components are; needs a proxy that leads there."""
    status_hosts: bool = False
    """Whether the status page names hosts."""


def listen_address(listen: str) -> tuple[str, int]:
    """Return host and port of ``listen``. Raises ConfigError unless the host is loopback.

    The pages show every line to whoever reaches them, so other machines must not.
    """
    host, colon, port_text = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port_text.isascii() or not port_text.isdigit():
        raise ConfigError(
            f"cannot listen on {listen!r}", "dashboard.listen", f"write it like {DASHBOARD_ADDRESS}"
        )
    # Python reads no number of thousands of digits.
    port = int(port_text) if len(port_text) <= 5 else 65_536
    if port > 65_535:
        shown = port_text[:20]
        raise ConfigError(f"there is no port {shown}", "dashboard.listen", "choose 1 to 65535")
    if not is_loopback(host):
        raise ConfigError(
            f"refusing to show the pages on {host}: they have no sign-in",
            "dashboard.listen",
            "listen on 127.0.0.1 and come by an SSH tunnel or an authenticating proxy here",
        )
    return host, port
