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

import msgspec
import psycopg
from psycopg import ClientCursor
from psycopg.types.json import Jsonb

from outrider.configuration import ConfigError, read_secret
from outrider.probes.http import fetch
from outrider.probes.kinds.http import checked_url
from outrider.probes.reach import ReachError
from outrider.probes.result import Result
from outrider.probes.spec import Kind, Spec
from outrider_alerting import telling
from outrider_collector.store.database_probe import connected, said
from outrider_collector.store.feed import APPEND_AND_COMMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection, Connection

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

FEED_KIND: Final = "canary"
NOTICES: Final = "canary:"
"""Begins the notice of its messages; the feed's number follows."""
CHANNEL: Final = "outrider-canary"
"""A channel that leads nowhere; no rule set has it."""
SLOW_MS: Final = 2_000.0
"""What takes longer is degraded: an alert is promised within a second."""
_LOOK_S: Final = 0.05
_ASIDE_S: Final = 0.25
"""Kept of the time to say what stands still: at its end the connection is cut."""
_PING_S: Final = 5.0
_KEPT: Final = "10 minutes"


@dataclass(frozen=True, slots=True)
class CanaryTarget:
    """The database that it goes through, and who is told outside that it arrived."""

    url: str
    dead_man_url: str = ""
    dead_man_url_file: str = ""


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
        checked_url(keys, "dead_man_url", url, networks)
    return CanaryTarget(own_url, url, url_file)


def look(spec: Spec[CanaryTarget], deadline: Deadline) -> Result:
    """Send one through and wait for it. Raises ReachError, TimeoutError."""
    try:
        with connected(spec.target.url, deadline) as connection:
            number = _launch(connection)
            took_ms = _arrived(connection, number, deadline)
    except psycopg.Error as error:
        deadline.left_s()
        raise ReachError("connect", said(error)) from None
    trouble = _tell_outside(spec)
    if trouble:
        return Result("degraded", f"it arrived, and nobody outside was told: {trouble}", took_ms)
    if took_ms > SLOW_MS:
        return Result("degraded", f"from commit to message took {took_ms / 1_000:.1f} s", took_ms)
    return Result("up", f"from commit to message in {took_ms:.0f} ms", took_ms)


async def enter(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Put a message into the ledger for each canary that was read from the feed."""
    content = Jsonb(msgspec.to_builtins(telling.canary()))
    await connection.execute(
        """
        insert into notifications (notice, channel, channel_type, conversation, priority, fate,
                                   content)
        select notice, %(channel)s, 'null', %(channel)s, 'info', 'waiting', %(content)s
        from (select %(notices)s || number from unnest(%(numbers)s::bigint[]) number) n (notice)
        where not exists (
            select from notifications old
            where old.notice = n.notice and old.created_at > now() - %(kept)s::interval
        )
        """,
        {
            "channel": CHANNEL,
            "content": content,
            "notices": NOTICES,
            "numbers": list(numbers),
            "kept": _KEPT,
        },
    )


def _launch(connection: Connection) -> int:
    """Commit the row; the lock, the row and COMMIT are one message (see :mod:`.feed`)."""
    connection.execute("begin")
    cursor = ClientCursor(connection)
    cursor.execute(APPEND_AND_COMMIT, (FEED_KIND, None, None))
    cursor.nextset()
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  an insert from an aggregate returns one row
    return int(row[0])


def _arrived(connection: Connection, number: int, deadline: Deadline) -> float:
    """Wait for the end of the attempt; the milliseconds it took. Raises ReachError."""
    while True:
        row = connection.execute(
            """
            select n.fate, n.why, extract(epoch from n.finished_at - f.committed_at) * 1000
            from feed f
            left join notifications n
                on n.notice = %(notices)s || f.number and n.created_at > now() - %(kept)s::interval
            where f.number = %(number)s
            """,
            {"notices": NOTICES, "kept": _KEPT, "number": number},
        ).fetchone()
        fate, why, took_ms = row or (None, None, None)
        if fate == "sent":
            _sweep(connection)
            return float(took_ms)
        if fate not in {None, "waiting", "claimed"}:
            raise ReachError("protocol", f"its message is {fate}: {why}")
        if deadline.left_s() < _ASIDE_S:
            who = "nobody evaluates what is committed" if fate is None else "nobody delivers"
            raise ReachError("timeout", f"{who}: waited {deadline.timeout_s:g} s")
        time.sleep(_LOOK_S)


def _sweep(connection: Connection) -> None:
    """Remove what nobody will look at again: it belongs to no alert."""
    connection.execute(
        """
        with old as (
            select id from notifications
            where channel = %(channel)s and created_at < now() - %(kept)s::interval
        ), tried as (
            delete from notification_attempts a using old where a.notification = old.id
        )
        delete from notifications n using old where n.id = old.id
        """,
        {"channel": CHANNEL, "kept": _KEPT},
    )


def _tell_outside(spec: Spec[CanaryTarget]) -> str:
    """Ask the dead man's URL; return what went wrong, empty where nothing did."""
    try:
        url = spec.target.dead_man_url
        if spec.target.dead_man_url_file:
            url = read_secret(spec.target.dead_man_url_file)
        if not url:
            return ""
        answer = fetch(url, timeout_s=_PING_S, allow_private=spec.networks, max_body_bytes=4_096)
    except ConfigError as error:
        return f"{error.where}: {error.what}"
    except ReachError as error:
        return error.reason
    return "" if answer.status < 300 else f"HTTP {answer.status}"
