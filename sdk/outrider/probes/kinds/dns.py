"""DNS: a name has addresses, as every program of this host is told (hosts file included)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.probes.reach import addresses
from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class DnsTarget:
    """Which name, and what it should mean."""

    host: str
    expect: frozenset[str]
    """One of these must be among its addresses; empty: any will do."""


def _read(keys: Keys, _networks: tuple[Network, ...]) -> DnsTarget:
    host, expect = keys.text("host"), keys.texts("expect")
    try:
        known = frozenset(str(ipaddress.ip_address(address)) for address in expect)
    except ValueError as error:
        raise keys.mistake("expect", str(error), "write addresses, not names") from None
    return DnsTarget(host, known)


def look(spec: Spec[DnsTarget], deadline: Deadline) -> Result:
    """Look the name up."""
    target = spec.target
    found = sorted(addresses(target.host, 0))
    took_ms = deadline.took_ms()
    told = ", ".join(found[:_SHOWN])
    facts: dict[str, Fact] = {"addresses": told, "address_count": len(found)}
    if target.expect and not target.expect.intersection(found):
        reason = f"{target.host} is {told}, expected {', '.join(sorted(target.expect))}"
        return Result("down", reason, took_ms, facts)
    return Result("up", f"{target.host} is {told}", took_ms, facts)


KIND = Kind("dns", _read, look)
