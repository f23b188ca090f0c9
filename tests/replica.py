"""A primary of our own with a hot standby that streams from it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from outrider_collector.store.schema import migrate
from outrider_collector.up.postgres import Binaries, Postgres
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Replicated(NamedTuple):
    """Two servers; database ``outrider`` is migrated."""

    primary: Postgres
    replica: Postgres

    @property
    def primary_url(self) -> str:
        """Where is written."""
        return self.primary.url()

    @property
    def replica_url(self) -> str:
        """Where is read."""
        return self.replica.url()

    def caught_up(self) -> None:
        """Wait until the replica has everything that the primary has now."""
        with psycopg.connect(self.primary_url, autocommit=True) as primary:
            row = primary.execute("select pg_current_wal_flush_lsn()").fetchone()
        with psycopg.connect(self.replica_url, autocommit=True) as replica:
            wait_until(lambda: _is_there(replica, row), within_s=30)


def _is_there(replica: psycopg.Connection, place: tuple[object, ...] | None) -> bool:
    row = replica.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", place).fetchone()
    return bool(row and row[0])


@contextmanager
def replicated() -> Iterator[Replicated]:
    """Start both, and stop them with the block."""
    home = Path(tempfile.mkdtemp(prefix="outrider-replica-"))
    home.chmod(0o755)
    primary = Postgres(home / "primary", home / "p", {"fsync": "off"})
    # Long reads give way at once, so that a test need not wait for it.
    replica = Postgres(
        home / "replica", home / "r", {"fsync": "off", "max_standby_streaming_delay": "50ms"}
    )
    try:
        primary.start()
        replica.binaries = _binaries(primary)
        with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
            connection.execute("create database outrider")
        asyncio.run(migrate(primary.url(), hours_ahead=2))
        _copy(primary, replica)
        replica.start()
        yield Replicated(primary, replica)
    finally:
        replica.stop()
        primary.stop()
        shutil.rmtree(home, ignore_errors=True)


def _binaries(primary: Postgres) -> Binaries:
    """Return what the primary runs: the package's, or a copy where its account can reach it."""
    assert primary.process is not None
    arguments = primary.process.args
    assert isinstance(arguments, list)
    return Binaries(Path(str(arguments[0])).parent, "")


def _copy(primary: Postgres, replica: Postgres) -> None:
    replica.home.mkdir()
    account = primary.account
    if account is not None:
        shutil.chown(replica.home, account.uid, account.gid)
    subprocess.run(
        [
            _binaries(primary).program("pg_basebackup"), f"--pgdata={replica.data}",
            f"--dbname=host={primary.socket_dir} user=outrider", "--write-recovery-conf",
            "--checkpoint=fast", "--wal-method=stream",
        ],
        check=True,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )  # fmt: skip
