"""A fake exchange and who looks at it: what the tests of looks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from outrider.addresses import networks
from outrider.configuration import Source
from outrider.exchanges import Exchange, load
from outrider.probes.deadline import Deadline
from outrider.probes.http import fetch
from outrider.probes.keys import Keys
from tests.sdk.exchanges.fake import (
    NAMES,
    STATUS,
    FakeExchange,
    Reply,
)

if TYPE_CHECKING:
    from outrider.probes.http import Response
    from outrider.probes.result import Result

PATIENCE_S = 20.0
"""For what answers at once, on a machine with other things to do."""


class Watched:
    """A fake exchange and the object that looks at it, whose clock the test moves."""

    def __init__(self, name: str) -> None:
        self.fake = FakeExchange(name)
        self.now_s = 1_000.0
        preset = load(Keys({"exchange": name}, Source("test"), ()), "exchange")
        here = preset.elsewhere(self.fake.url, f"{self.fake.url}{STATUS[name]}")
        self.timeouts_s: list[float] = []
        local = networks(["127.0.0.1"])
        self.exchange = Exchange(here, local, fetch=self._fetch, clock=lambda: self.now_s)

    def look(self) -> Result:
        return self.exchange.look(Deadline(PATIENCE_S))

    def says(self, path: str, reply: Reply) -> None:
        self.fake.replies[path] = reply

    def _fetch(self, url: str, **how: Any) -> Response:
        """Ask as usual; only what hangs is not given all of its time."""
        self.timeouts_s.append(how["timeout_s"])
        reply = self.fake.replies[urlsplit(url).path]
        if isinstance(reply, Reply) and reply.hangs:
            how["timeout_s"] = 0.2
        return fetch(url, **how)


def each(*names: str) -> pytest.MarkDecorator:
    """Run a test for these exchanges."""
    return pytest.mark.parametrize("watched", names or NAMES, indirect=True)
