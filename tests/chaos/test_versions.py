"""Two versions of the collector on one schema: one after the other is restarted, there and back.

The newer version is this one with one migration more, so that the test needs no other checkout.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

import outrider_collector
from tests.chaos.checker import settle, verdict
from tests.chaos.writers import FileWriter
from tests.fleet import Fleet, fleet

if TYPE_CHECKING:
    from collections.abc import Callable

_MORE = """
create table later (id bigint primary key, team integer not null default 1);
alter table alerts add column later text not null default '';
alter table blocks_fresh add column later text[];
"""


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """The environment of a version with a migration more."""
    package = tmp_path / "outrider_collector"
    shutil.copytree(Path(outrider_collector.__file__).parent, package)
    (package / "store" / "migrations" / "9000_later.sql").write_text(_MORE)
    return {"PYTHONPATH": str(tmp_path)}


def _store(made: Fleet, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outrider.command", *arguments],
        env={**made.environment("old"), **extra}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_versions_take_turns_there_and_back(postgres_url: str, newer: dict[str, str]) -> None:
    """Lines are stored once while the older or the newer one commits, and each can evaluate."""
    with fleet(
        postgres_url, database=f"versions_{os.getpid()}", service="load", collectors=("old", "new")
    ) as made:

        def connect() -> psycopg.Connection:
            return psycopg.connect(made.url, autocommit=True)

        def one(query: str) -> object:
            with connect() as connection:
                row = connection.execute(query.encode()).fetchone()
            return row[0] if row else None

        def at_work(name: str) -> None:
            """Wait until this collector alone evaluates, and commits."""
            holder = "select holder from leases where name = 'evaluator'"
            _until(f"{name} evaluates", lambda: str(one(holder)).startswith(f"{name} "))
            newest = "select coalesce(max(number), 0) from feed where kind = 'ingest'"
            before = one(newest)
            _until(f"{name} commits", lambda: one(newest) != before)

        made.start_collector("old")
        await asyncio.to_thread(made.wait_for_port, "old")
        made.start_agent()
        writer = FileWriter(made.logs / "load.log", 200, rotate_every=1 << 60)
        writing = asyncio.create_task(writer.run())
        await asyncio.to_thread(at_work, "old")

        migrated = _store(made, "store", "migrate", **newer)
        assert "applied 9000_later" in migrated.stdout, migrated.stderr
        await asyncio.to_thread(at_work, "old")

        made.start_collector("new", newer)
        await asyncio.to_thread(made.wait_for_port, "new")
        await asyncio.to_thread(made.stop, "old")
        await asyncio.to_thread(at_work, "new")

        made.start_collector("old")
        await asyncio.to_thread(made.wait_for_port, "old")
        await asyncio.to_thread(made.stop, "new")
        await asyncio.to_thread(at_work, "old")

        writer.stopped = True
        await writing
        await settle(connect, "load", lambda: writer.written, within_s=60)
        with connect() as connection:
            found = verdict(connection, "load", writer.written)
            said = _store(made, "store", "migrate", "--check")
            assert said.returncode == 0
            assert "schema 9000 is newer than this version, which works with it" in said.stdout
            connection.execute("update schema_migrations set minimum = 9000 where version = 9000")
        await asyncio.to_thread(made.stop, "old")
        refused = _store(made, "collector")
    assert (found.lost, found.twice, found.disordered, found.quarantined) == (0, 0, 0, 0)
    assert refused.returncode == 2
    assert "would have to know 9000: upgrade Outrider" in refused.stderr
