"""A probe of kind ``canary``: whether what is committed still becomes a message, and how quickly.

Each look commits a row to the feed, of kind ``canary``. Whoever evaluates reads it like any other
and puts a message into the ledger, for a channel that leads nowhere; whoever delivers claims that,
records the attempt and sends it. The time from the commit to the end of the attempt is what an
alert takes, but for the provider. Nothing is concluded by asking a part how it is.

Where a look arrives, a URL outside is asked, if one is configured: what hears nothing there for a
while wakes somebody, also where this host, the database or the whole network is gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from outrider.configuration import ConfigError, read_secret
from outrider.probes.reach import ReachError
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec
from outrider_collector.store import canary
from outrider_collector.store.database_probe import connected, said

if TYPE_CHECKING:
    from psycopg import Connection

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

SLOW_MS: Final = 2_000.0
"""What takes longer is degraded: an alert is promised within a second."""
_LOOK_S: Final = 0.05
_ASIDE_S: Final = 0.25
"""Kept of the time to say what stands still: at its end the connection is cut."""
PING_S: Final = 2.0
"""Kept of the time, but no more than half of it, to ask the URL outside."""


@dataclass(frozen=True, slots=True)
class CanaryTarget:
    """The database that it goes through, and who is told outside that it arrived."""

    url: str
    dead_man_url: str = ""
    dead_man_url_file: str = ""

    def kept_s(self, timeout_s: float) -> float:
        """Return how much of a look's time the wait for its message leaves."""
        tells = self.dead_man_url or self.dead_man_url_file
        return _ASIDE_S + (min(PING_S, timeout_s / 2) if tells else 0.0)


def kind(own_url: str) -> Kind[CanaryTarget]:
    """Return the kind; the database is the collector's own."""
    read = partial(_read, own_url=own_url)
    return Kind("canary", read, look, group="pipeline", needs_tls=True, named=lambda _: "canary")


def _read(keys: Keys, networks: tuple[Network, ...], *, own_url: str) -> CanaryTarget:
    url, url_file = keys.text("dead_man_url", ""), keys.text("dead_man_url_file", "")
    if url and url_file:
        raise keys.mistake("dead_man_url_file", "there is `dead_man_url` too", "leave one out")
    if url_file and not Path(url_file).is_absolute():
        raise keys.mistake("dead_man_url_file", "no absolute path", "begin it with a slash")
    if url:
        from outrider.probes.kinds.http import checked_url  # noqa: PLC0415  loads an HTTP client

        checked_url(keys, "dead_man_url", url, networks)
    return CanaryTarget(own_url, url, url_file)


def look(spec: Spec[CanaryTarget], deadline: Deadline) -> Result:
    """Send one through and wait for it. Raises ReachError, TimeoutError."""
    try:
        with connected(spec.target.url, deadline) as connection:
            number = canary.launch(connection)
            took_ms = _arrived(connection, number, spec.target, deadline)
            canary.sweep(connection)
    except psycopg.Error as error:
        deadline.left_s()
        raise ReachError("connect", said(error)) from None
    trouble = tell_outside(spec, deadline)
    if trouble:
        return Result("degraded", f"it arrived, and nobody outside was told: {trouble}", took_ms)
    if took_ms > SLOW_MS:
        return Result("degraded", f"from commit to message took {took_ms / 1_000:.1f} s", took_ms)
    return Result("up", f"from commit to message in {took_ms:.0f} ms", took_ms)


def _arrived(
    connection: Connection, number: int, target: CanaryTarget, deadline: Deadline
) -> float:
    """Wait for the end of the attempt; the milliseconds it took. Raises ReachError."""
    kept_s = target.kept_s(deadline.timeout_s)
    while True:
        fate, why, took_ms = canary.arrival(connection, number)
        if fate == "sent" and took_ms is not None:
            return took_ms
        if fate not in {None, "waiting", "claimed", "sent"}:
            raise ReachError("protocol", f"its message is {fate}: {why}")
        if deadline.left_s() < kept_s:
            who = "nobody evaluates what is committed" if fate is None else "nobody delivers"
            raise ReachError("timeout", f"{who}: waited {deadline.took_ms() / 1_000:.1f} s")
        time.sleep(_LOOK_S)


def tell_outside(spec: Spec[CanaryTarget], deadline: Deadline) -> str:
    """Ask the dead man's URL; return what went wrong, empty where nothing did.

    Raises TimeoutError when no time is left.
    """
    try:
        url = spec.target.dead_man_url
        if spec.target.dead_man_url_file:
            url = read_secret(spec.target.dead_man_url_file)
        if not url:
            return ""
        from outrider.probes.http import fetch  # noqa: PLC0415  loads an HTTP client

        left_s = min(PING_S, deadline.left_s())
        answer = fetch(url, timeout_s=left_s, allow_private=spec.networks, max_body_bytes=4_096)
    except ConfigError as error:
        return f"{error.where}: {error.what}"
    except ReachError as error:
        return error.reason
    return "" if answer.status < 300 else f"HTTP {answer.status}"
