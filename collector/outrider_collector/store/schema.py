"""The schema's versions: numbered SQL files, applied in order, one transaction each, forward only.

``migrations/NNNN_what.sql`` are part of the code. Table ``schema_migrations`` remembers which were
applied, with the SHA-256 of each text: a file that was changed after it had been applied is drift
and is refused, because nobody could say what the tables look like. One advisory lock lets several
processes call :func:`migrate` at once.

A database newer than the code is worked with, unless one of its migrations names a ``minimum`` that
this code does not know: so versions run side by side while one after the other is restarted.

Migrations run under the owner; processes of a collector only :func:`check`.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, LiteralString

from outrider.errors import Fault, Reason
from outrider_collector.store import advisory, health, housekeeping, partitions, roles
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.database_url import target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

_LOCK_KEY = 7238114510
_MINIMUM = re.compile(r"set minimum = (\d+)")
_CREATE_LEDGER = """
create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, name, text, and the hash the database remembers."""

    version: int
    name: str
    text: LiteralString
    sha256: str

    @property
    def minimum(self) -> int:
        """What whoever works with it must know; 0: it takes nothing away."""
        return max(map(int, _MINIMUM.findall(self.text)), default=0)


@dataclass(frozen=True, slots=True)
class State:
    """How a database's schema stands to this code."""

    version: int
    """The newest migration applied; 0: none."""
    pending: tuple[Migration, ...]
    drifted: tuple[str, ...]
    """Names of migrations whose text was changed after they were applied."""
    newer: int | None
    """The database's version, where it is newer than this code."""
    minimum: int | None = None
    """The migration that this code would have to know; None: it can work with a newer database."""

    def require(self, url: str) -> None:
        """Raise STORE_BEHIND, with what to do, unless this code can work on the database."""
        if self.minimum is not None:
            what = (
                f"the database has schema {self.newer}, this version knows "
                f"{known()} and would have to know {self.minimum}: "
                "upgrade Outrider"
            )
        elif self.drifted:
            what = f"migration {self.drifted[0]} was changed after it was applied: restore its text"
        elif self.pending and not self.version:
            what = (
                "the database has no tables of Outrider: is it the right one? Correct the URL, "
                "else run 'outrider store migrate'"
            )
        elif self.pending:
            what = f"{len(self.pending)} migration(s) to apply: run 'outrider store migrate'"
        else:
            return
        raise Fault(Reason.STORE_BEHIND, detail=f"{what}: {target(url)}")


@dataclass(frozen=True, slots=True)
class Migrated:
    """What :func:`migrate` did."""

    applied: tuple[Migration, ...]
    version: int
    not_permitted: tuple[str, ...]
    """Statements for an administrator: what this user may not do itself."""
    advised: tuple[str, ...] = ()
    """Statements for a superuser, who keeps readers from stopping commits and filling the disk."""


@cache
def migrations() -> tuple[Migration, ...]:
    """Return every migration of this code, in order.

    Read once: what an upgrade puts in the place of running code is not this process's.
    """
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if not file.name.endswith(".sql") or not number.isdigit():
            continue
        text = file.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(number), name, text, digest))
    found.sort(key=lambda migration: migration.version)
    return tuple(found)


def known() -> int:
    """Return the newest migration of this code."""
    return migrations()[-1].version


async def migrate(url: str, *, hours_ahead: int = partitions.HOURS_AHEAD) -> Migrated:
    """Apply what is pending, make the roles and the partitions of the coming hours.

    Safe to call by many at once and again. Leaves a newer database as it is. Raises STORE_BEHIND
    for one that is too new or drifted, or where a collector at work could not go on,
    CONFIG_INVALID or STORE_DOWN when it cannot be reached.
    """
    async with await connect(url, application_name="outrider migrate") as connection:
        with driver_errors(url):
            await _require_server(connection, url)
            # Others may be migrating for longer than the session's lock timeout.
            await connection.execute("set lock_timeout = '5min'")
            await connection.execute("select pg_advisory_lock(%s)", (_LOCK_KEY,))
            try:
                await connection.execute("set lock_timeout = '10s'")
                await connection.execute(_CREATE_LEDGER)
                state = await check(connection)
                if state.minimum is not None or state.drifted:
                    state.require(url)
                if state.newer is not None and not state.pending:
                    return Migrated((), state.version, ())  # a newer version's to look after
                await _require_none_older(connection, state, url)
                for migration in state.pending:
                    await _apply(connection, migration)
                not_permitted = await roles.ensure_roles(connection)
                advised = await advisory.ensure(connection, roles.committing())
                await housekeeping.ensure_ahead(connection, hours_ahead)
            finally:
                if not connection.closed:
                    await connection.execute("select pg_advisory_unlock(%s)", (_LOCK_KEY,))
    version = max((m.version for m in state.pending), default=state.version)
    return Migrated(state.pending, version, tuple(not_permitted), tuple(advised))


@asynccontextmanager
async def opened(
    url: str, application_name: str = "outrider store", *, read_only: bool = False
) -> AsyncIterator[AsyncConnection]:
    """Connect as the owner; what the driver raises in the block becomes a fault.

    Raises STORE_BEHIND for a schema that this version cannot work with.
    """
    async with await connect(
        url, application_name=application_name, read_only=read_only
    ) as connection:
        with driver_errors(url):
            (await check(connection)).require(url)
            yield connection


async def check(connection: AsyncConnection) -> State:
    """Compare the database with this code; changes nothing."""
    cursor = await connection.execute("select to_regclass('schema_migrations')")
    row = await cursor.fetchone()
    applied: dict[int, str] = {}
    minimum = 0
    if row and row[0]:
        # Through JSON: a schema of before migration 15 has no such column.
        cursor = await connection.execute(
            "select version, sha256, coalesce((to_jsonb(m) ->> 'minimum')::integer, 0)"
            " from schema_migrations m"
        )
        rows = await cursor.fetchall()
        applied = {int(version): sha256 for version, sha256, _ in rows}
        minimum = max((int(needed) for _, _, needed in rows), default=0)
    ours = migrations()
    newest = max(applied, default=0)
    return State(
        version=newest,
        pending=tuple(m for m in ours if m.version not in applied),
        drifted=tuple(
            f"{m.version:04}_{m.name}" for m in ours if applied.get(m.version, m.sha256) != m.sha256
        ),
        newer=newest if newest > ours[-1].version else None,
        minimum=minimum if minimum > ours[-1].version else None,
    )


async def _require_none_older(connection: AsyncConnection, state: State, url: str) -> None:
    """Raise STORE_BEHIND where a collector at work needs what a migration takes away."""
    needed = max((migration.minimum for migration in state.pending), default=0)
    if not needed or not state.version:
        return
    if (old := await health.older(connection, "schema", needed)) is not None:
        raise Fault(
            Reason.STORE_BEHIND,
            detail=f"collector {old.name} is at work and knows schema {old.knows or '?'}, not "
            f"{needed}, and a migration takes away what it needs: {target(url)}: stop it and run "
            "this again, or upgrade by a version in between",
        )


async def _apply(connection: AsyncConnection, migration: Migration) -> None:
    async with connection.transaction():
        # First, so that a second runner would fail here and not in the middle.
        await connection.execute(
            "insert into schema_migrations (version, name, sha256) values (%s, %s, %s)",
            (migration.version, migration.name, migration.sha256),
        )
        await connection.execute(migration.text)


async def _require_server(connection: AsyncConnection, url: str) -> None:
    if connection.info.server_version < 150000:
        raise Fault(
            Reason.CONFIG_INVALID,
            detail=f"Postgres {connection.info.server_version // 10000} is too old: {target(url)}: "
            "use Postgres 15 or newer",
        )
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise Fault(
            Reason.CONFIG_INVALID,
            detail=f"the database's encoding is not UTF8: {target(url)}: "
            "create it with \"create database outrider encoding 'UTF8' template template0\"",
        )
