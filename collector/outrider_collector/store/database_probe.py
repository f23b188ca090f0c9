"""A probe of kind ``postgres``: whether a database answers, and what will soon keep it from that.

It uses a connection of its own at each look, as any client would. Sessions of others, their ages
and the lag of replicas are seen by members of ``pg_monitor``; without it these are left out.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outrider.configuration import ConfigError, read_secret
from outrider.probes.reach import ReachError
from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """Which database, and from where on something is worth a warning; 0: never."""

    url: str
    url_file: str
    connections_pct: float
    """Of those that clients may have."""
    oldest_transaction_s: float
    replication_lag_s: float
    size_bytes: int
    partitions: tuple[str, ...]
    """Tables partitioned by a range of times ..."""
    ahead_s: float
    """... that must have a partition for so far ahead."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a database says of itself; None: it does not say."""

    connections: int
    max_connections: int
    oldest_transaction_s: float | None
    replication_lag_s: float | None
    database_bytes: int


def kind(own_url: str) -> Kind[DatabaseTarget]:
    """Return the kind; a probe without a URL looks at the collector's own database."""
    read = partial(_read, own_url=own_url)
    return Kind("postgres", read, look, group="database", named=lambda _: "postgres")


def _read(keys: Keys, _networks: tuple[Network, ...], *, own_url: str) -> DatabaseTarget:
    url, url_file = keys.text("url", ""), keys.text("url_file", "")
    if url and url_file:
        raise keys.mistake("url_file", "there is `url` too", "leave one of them out")
    if url_file and not Path(url_file).is_absolute():
        raise keys.mistake("url_file", "no absolute path", "begin it with a slash")
    target = DatabaseTarget(
        url=url or ("" if url_file else own_url),
        url_file=url_file,
        connections_pct=keys.number("connections_pct", 80.0, 0, 100),
        oldest_transaction_s=keys.seconds("oldest_transaction", "10m", "0s", "30d"),
        replication_lag_s=keys.seconds("replication_lag", "30s", "0s", "30d"),
        size_bytes=keys.integer("size_bytes", 0, 0, 2**62),
        partitions=keys.texts("partitions"),
        ahead_s=keys.seconds("ahead", "1h", "1s", "366d"),
    )
    try:
        conninfo_to_dict(target.url)
    except psycopg.ProgrammingError:
        hint = "write it like postgresql://user@host:5432/database"
        raise keys.mistake("url", "no Postgres URL", hint) from None
    return target


def look(spec: Spec[DatabaseTarget], deadline: Deadline) -> Result:
    """Connect, ask once, hang up. Raises ReachError, TimeoutError."""
    target = spec.target
    try:
        url = target.url or read_secret(target.url_file)
    except ConfigError as error:
        return Result("unknown", f"{error.where}: {error.what}")
    try:
        with connected(url, deadline) as connection:
            answered_ms = deadline.took_ms()
            seen, missing = _seen(connection), _missing(connection, target)
    except psycopg.Error as error:
        deadline.left_s()  # one that was cut off for being late is late, not broken
        raise ReachError("connect", said(error)) from None
    facts: dict[str, Fact] = {
        field.name: value
        for field in fields(_Seen)
        if (value := getattr(seen, field.name)) is not None
    }
    warning = _warning(target, seen, missing)
    return Result("degraded" if warning else "up", warning or "answers", answered_ms, facts)


@contextmanager
def connected(url: str, deadline: Deadline) -> Iterator[Connection]:
    """Open a connection that ends with the deadline. Raises psycopg.Error, TimeoutError."""
    left_s = deadline.left_s()
    conninfo = make_conninfo(
        url,
        # libpq counts whole seconds.
        connect_timeout=str(max(1, math.ceil(left_s))),
        application_name="outrider probe",
        client_encoding="UTF8",
    )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        # A frozen server answers nothing, and its kernel keeps the socket alive.
        line = socket.socket(fileno=os.dup(connection.fileno()))
        cutter = threading.Timer(deadline.left_s(), _cut, (line,))
        cutter.daemon = True
        cutter.start()
        try:
            yield connection
        finally:
            cutter.cancel()
            line.close()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):  # it was hung up at the same moment
        line.shutdown(socket.SHUT_RDWR)


def _seen(connection: Connection) -> _Seen:
    row = connection.execute(
        """
        select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
               current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int,
               (select extract(epoch from clock_timestamp() - min(xact_start))::float8
                from pg_stat_activity
                where backend_type = 'client backend' and pid <> pg_backend_pid()),
               case when pg_is_in_recovery() then
                   -- Without new records there is nothing to lag behind.
                   case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
                   else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
                   end::float8
               else (select extract(epoch from max(replay_lag))::float8 from pg_stat_replication)
               end,
               pg_database_size(current_database())
        """
    ).fetchone()
    assert row is not None  # noqa: S101  a select without from returns one row
    connections, most, oldest_s, lag_s, size_bytes = row
    return _Seen(connections, most, _rounded(oldest_s), _rounded(lag_s), size_bytes)


def _missing(connection: Connection, target: DatabaseTarget) -> str:
    """Return the first partitioned table that has no partition for the time ahead, or nothing."""
    for table in target.partitions:
        row = connection.execute(
            """
            select coalesce(bool_or(
                found.low <= clock_timestamp() + make_interval(secs => %(ahead)s)
                and clock_timestamp() + make_interval(secs => %(ahead)s) < found.high), false)
            from pg_inherits i
            join pg_class c on c.oid = i.inhrelid
            cross join lateral (
                select (bounds)[1]::timestamptz as low, (bounds)[2]::timestamptz as high
                from regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                  'FROM \\(''([^'']+)''.*TO \\(''([^'']+)''') as bounds
            ) found
            where i.inhparent = to_regclass(%(table)s)
            """,
            {"table": table, "ahead": target.ahead_s},
        ).fetchone()
        if row is None or not row[0]:
            return table
    return ""


def _warning(target: DatabaseTarget, seen: _Seen, missing: str) -> str:
    """Return what is worth a warning first, or nothing."""
    used_pct = 100.0 * seen.connections / max(1, seen.max_connections)
    if missing:
        return f"{missing} has no partition for {target.ahead_s:g} s ahead"
    if _beyond(used_pct, target.connections_pct):
        return f"{seen.connections} of {seen.max_connections} connections are used"
    if _beyond(seen.replication_lag_s, target.replication_lag_s):
        return f"replication is {seen.replication_lag_s:.0f} s behind"
    if _beyond(seen.oldest_transaction_s, target.oldest_transaction_s):
        return f"a transaction has been open for {seen.oldest_transaction_s:.0f} s"
    if _beyond(seen.database_bytes, target.size_bytes):
        return f"the database has {seen.database_bytes} bytes, more than {target.size_bytes}"
    return ""


def _beyond(value: float | None, limit: float) -> bool:
    return bool(limit) and value is not None and value >= limit


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 3)


def said(error: psycopg.Error) -> str:
    """Return what the server or the driver said, in one line."""
    text = (error.diag.message_primary or str(error)).strip() or type(error).__name__
    return text.splitlines()[0]
