"""An exchange: whether it answers, what it announces, this host's clock against its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.exchanges import Exchange, load
from outrider.exchanges.loading import whole_url
from outrider.probes.http import checked
from outrider.probes.spec import Kind, Spec, check_reach

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys
    from outrider.probes.result import Result


def _read(keys: Keys, networks: tuple[Network, ...]) -> Exchange:
    preset = load(keys, "exchange").elsewhere(
        base_url=whole_url(keys, "base_url", ""),
        announced_url=whole_url(keys, "announced_url", ""),
    )
    key = "base_url" if keys.has("base_url") else "exchange"
    for endpoint in preset.endpoints():
        check_reach(keys, key, checked(preset.url(endpoint)).hostname or "", networks)
    return Exchange(preset, networks)


def _look(spec: Spec[Exchange], deadline: Deadline) -> Result:
    return spec.target.look(deadline)


KIND = Kind("exchange", _read, _look, group="exchange", needs_tls=True, named=lambda e: e.name)
