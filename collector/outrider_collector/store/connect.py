"""Connections to Postgres, and the border where the driver's errors become faults.

Whoever holds a lock and freezes must not stop the others for longer than seconds. So each session
sets ``idle_in_transaction_session_timeout`` (the server ends a transaction whose client is silent),
``lock_timeout`` (longer than the former: waiters outlive a frozen holder) and, for readers,
``statement_timeout``; the socket has ``tcp_user_timeout`` and keepalives. A commit that is answered
is on disk: ``synchronous_commit`` is on, whatever the server's default.

Callers see :class:`outrider.errors.Fault` and never a driver's exception: wrap what you do with
:func:`driver_errors`. ``STORE_DOWN`` means that nothing is known to be wrong with the request and
the same call may succeed later.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outrider.errors import Fault, Reason
from outrider_collector.store import binary
from outrider_collector.store.database_url import (
    URL_HINT,
    embedded_in,
    mistake,
    not_running,
    target,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection

READ_ROLE = "outrider_read"
"""The role of all who only read: SELECT, and transactions that are read-only by default."""
INGEST_ROLE = "outrider_ingest"
"""The role of a collector's commits: what they do, and nothing else."""

IDLE_IN_TRANSACTION_MS = 5_000
LOCK_TIMEOUT_MS = 10_000
READ_STATEMENT_TIMEOUT_MS = 30_000

_SOCKET = {
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


async def connect(
    url: str,
    *,
    application_name: str,
    role: str | None = None,
    statement_timeout_ms: int | None = None,
    read_only: bool = False,
) -> AsyncConnection:
    """Open one connection in autocommit mode, with the session settings above.

    With ``role`` the session takes that role where it exists and the user may. As READ_ROLE it is
    read-only by default, and statements end after ``statement_timeout_ms`` (30 s unless told).
    ``read_only`` makes it that by default as any role.
    Raises STORE_DOWN, or CONFIG_INVALID for a URL, database or password that cannot be right.
    """
    conninfo = _conninfo(url, application_name)
    with driver_errors(url):
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        try:
            await _prepare_session(connection, role, statement_timeout_ms, read_only=read_only)
            binary.register(connection)
        except BaseException:
            await connection.close()
            raise
    return connection


@asynccontextmanager
async def read_pool(
    url: str,
    *,
    application_name: str,
    max_size: int = 4,
    statement_timeout_ms: int = READ_STATEMENT_TIMEOUT_MS,
) -> AsyncIterator[AsyncConnectionPool]:
    """Open a pool of reading connections that outlives restarts of the database.

    It opens at once even when the database is down; taking a connection then waits at most 5 s and
    ends in STORE_DOWN (under :func:`driver_errors`).
    """

    async def configure(connection: AsyncConnection) -> None:
        await _prepare_session(connection, READ_ROLE, statement_timeout_ms)

    pool = AsyncConnectionPool(
        _conninfo(url, application_name),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=max_size,
        max_waiting=64,
        max_idle=60.0,
        timeout=5.0,
        configure=configure,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


def _conninfo(url: str, application_name: str) -> str:
    if wrong := mistake(url):
        raise Fault(Reason.CONFIG_INVALID, detail=f"{wrong}: {URL_HINT}")
    given = conninfo_to_dict(url)
    known = {key: str(value) for key, value in given.items() if value is not None}
    return make_conninfo(
        "", **{**_SOCKET, "application_name": application_name, **known, "client_encoding": "UTF8"}
    )


async def _prepare_session(
    connection: AsyncConnection,
    role: str | None,
    statement_timeout_ms: int | None,
    *,
    read_only: bool = False,
) -> None:
    reads = role == READ_ROLE
    if statement_timeout_ms is None:
        statement_timeout_ms = READ_STATEMENT_TIMEOUT_MS if reads else 0
    await connection.execute(
        "select set_config('timezone', 'UTC', false),"
        " set_config('synchronous_commit', 'on', false),"
        " set_config('default_transaction_isolation', 'read committed', false),"
        " set_config('idle_in_transaction_session_timeout', %s, false),"
        " set_config('lock_timeout', %s, false),"
        " set_config('statement_timeout', %s, false),"
        " set_config('default_transaction_read_only', %s, false),"
        # Every team that the login may see: a session without this word sees none.
        " set_config('outrider.teams', %s, false)",
        (
            str(IDLE_IN_TRANSACTION_MS),
            str(LOCK_TIMEOUT_MS),
            str(statement_timeout_ms),
            "on" if reads or read_only else "off",
            "*" if reads else "",
        ),
    )
    if role is None:
        return
    # Without the role (a user who may not create roles) reading goes on as the user itself,
    # read-only by the session's setting alone; `outrider store migrate` says so.
    await connection.execute(
        "select set_config('role', rolname, false) from pg_roles"
        " where rolname = %s and pg_has_role(current_user, oid, %s)",
        # Since 16 a member may lack the right to become the role.
        (role, "set" if connection.info.server_version >= 160000 else "member"),
    )


# ------------------------------------------------------------------ errors

_DOWN_TEXT: dict[str, LiteralString] = {
    "42501": "the database refused for lack of a grant",
    "23514": "no partition is there for the present hour",
    "25006": "the database is read-only",
    "40001": "the database asked to repeat",
    "40P01": "a deadlock was broken",
    "53200": "the database is out of memory",
    "53300": "the database has no connection left",
    "55P03": "a lock was not free in time",
    "57P01": "the database ended the connection",
    "57P02": "the database crashed and restarts",
    "57P03": "the database is starting or stopping",
    "25P03": "the database ended a transaction that was idle",
}
_BEHIND = {"42P01", "42703", "42883", "42704", "3F000"}
_NO_TABLE = "42P01"
_FULL = {"53100", "53400"}

# libpq passes no SQLSTATE when connecting fails, only the server's words.
_WRONG_TARGET = (
    ("password authentication failed", "check the user and the password in the URL"),
    ("no password supplied", "put the password into the URL or ~/.pgpass"),
    ("no pg_hba.conf entry", "allow this host and user in pg_hba.conf"),
    ('database "', "create it (createdb) or correct the URL"),
    ('role "', "create it (createuser) or correct the URL"),
)


@contextmanager
def driver_errors(url: str | None = None) -> Iterator[None]:
    """Turn the driver's exceptions of the block into faults.

    STORE_DOWN, STORE_FULL, STORE_BEHIND, QUERY_TIMEOUT, CONFIG_INVALID, else INTERNAL_BUG. The
    original stays as ``__cause__``; ``metadata["sqlstate"]`` is there where the server named one.
    """
    try:
        yield
    except psycopg.Error as error:
        raise fault_of(error, url) from error


def fault_of(error: psycopg.Error, url: str | None = None) -> Fault:
    """Return the fault that a driver error means; ``url`` names the database in the message."""
    where = f": {target(url)}" if url else ""
    said = _said(error)
    state = error.sqlstate
    if state is None:
        return _connection_fault(error, said, url)
    if state in _FULL:
        return _full(where, said, state)
    if state in _BEHIND:
        cure = "run 'outrider store migrate'"
        if state == _NO_TABLE:
            cure = f"is this the right database? Correct the URL, else {cure}"
        detail = f"the database lacks something of Outrider{where}: {said}: {cure}"
        return Fault(Reason.STORE_BEHIND, detail=detail, sqlstate=state)
    if "conflict with recovery" in said:
        # The replica drops what the primary no longer keeps, and a long read still needs it.
        detail = (
            f"the replica ended this read to keep up with its primary{where}: ask again; if it "
            "comes often, set hot_standby_feedback = on there"
        )
        return Fault(Reason.STORE_DOWN, detail=detail, sqlstate=state)
    if state == "57014":
        return Fault(Reason.QUERY_TIMEOUT, sqlstate=state)
    if state in _DOWN_TEXT or isinstance(error, psycopg.OperationalError):
        text = _DOWN_TEXT.get(state, "the database cannot serve now")
        return Fault(Reason.STORE_DOWN, detail=f"{text}{where}: {said}", sqlstate=state)
    return Fault(Reason.INTERNAL_BUG, detail=f"the database refused{where}: {said}", sqlstate=state)


def _full(where: str, said: str, state: str) -> Fault:
    detail = f"the database is full{where}: {said}: free room on its disk"
    return Fault(Reason.STORE_FULL, detail=detail, sqlstate=state)


def _connection_fault(error: psycopg.Error, said: str, url: str | None) -> Fault:
    where = f": {target(url)}" if url else ""
    if isinstance(error, PoolTimeout):
        return Fault(Reason.STORE_DOWN, detail=f"no connection to the database in time{where}")
    if not isinstance(error, psycopg.OperationalError):
        return Fault(Reason.INTERNAL_BUG, detail=f"misuse of the driver{where}: {said}")
    if "No space left on device" in said:
        return _full(where, said, "53100")
    for words, what_to_do in _WRONG_TARGET:
        if words in said and (not words.endswith('"') or "does not exist" in said):
            return Fault(
                Reason.CONFIG_INVALID,
                detail=f"cannot use the database{where}: {said}: {what_to_do}",
            )
    if embedded := embedded_in(url):
        return Fault(Reason.STORE_DOWN, detail=not_running(embedded))
    return Fault(
        Reason.STORE_DOWN,
        detail=f"cannot reach the database{where}: {said}: "
        "check that it runs and that the URL is right",
    )


def _said(error: psycopg.Error) -> str:
    """Return the first line of what the driver or the server said, without its prefix."""
    text = (error.diag.message_primary or str(error)).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line.rpartition("FATAL:")[2].strip() if "FATAL:" in line else line
