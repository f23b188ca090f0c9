"""What an address says: whether traffic to it can leave this machine, and what it may reach.

Much rests on these answers: what may be served or sent in plain text, where a page without sign-in
may be shown, and what somebody who can only name a host could reach through this machine.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address in IPv6's clothes, the last 32 bits (RFC 6052)."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches this machine alone; no name but localhost does."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks such as ``10.0.0.0/8`` and single addresses. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def may_reach(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a connection to this address reaches what anybody could reach, or what is allowed.

    Private, loopback, link-local and other special addresses are reached only where a network of
    ``allowed`` holds them; an IPv4 address inside an IPv6 one is judged for what it is. Raises
    ValueError where ``address`` is a name.
    """
    ip = carried(address)
    return (ip.is_global and not ip.is_multicast) or any(ip in network for network in allowed)


def carried(address: str) -> Address:
    """Return the IPv4 address that an IPv6 one carries, else the address itself.

    Raises ValueError where ``address`` is a name.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def host_of(authority: str) -> str:
    """Return the host of ``host:port``, ``[::1]:port`` or a host alone, as a Host header has it."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
