"""How much the database takes, and what is free where it lies. A few milliseconds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from outrider_collector.store.budget.limits import Measured

if TYPE_CHECKING:
    from psycopg import AsyncConnection

# A function that may not be called is an error wherever it stands in a statement: so it is asked
# for first, and a setting that may not be seen is no row.
_DATABASE: Final = """
select pg_database_size(current_database()),
       has_function_privilege('pg_ls_waldir()', 'execute'),
       (select setting from pg_settings where name = 'data_directory')
"""
_WAL: Final = "select coalesce(sum(size), 0)::bigint from pg_ls_waldir()"


async def measure(connection: AsyncConnection) -> Measured:
    """Measure. The connection is in autocommit mode."""
    cursor = await connection.execute(_DATABASE)
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  a select without from returns one row
    database_bytes, may_see_wal, directory = row
    wal_bytes = 0
    if may_see_wal:
        found = await (await connection.execute(_WAL)).fetchone()
        wal_bytes = int(found[0]) if found else 0
    return Measured(int(database_bytes), wal_bytes, _free_bytes(connection.info.host, directory))


def _free_bytes(host: str, directory: str | None) -> int | None:
    """Return what is free on the file system of the data directory, if that is on this host.

    A server that is reached by a socket in the file system runs here; one behind an address may
    run in a container or elsewhere, and a directory of that name here be another's.
    """
    if not directory or not host.startswith("/"):
        return None
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
