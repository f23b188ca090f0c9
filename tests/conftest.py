"""What every test may ask for: a real Postgres, a migrated database of its own, a free port."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from outrider import configuration
from outrider_collector.up.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes is the machine's pace. Where a change is judged, as in CI, it is judged
# by the same examples each time; everywhere else new ones are tried.
settings.register_profile("explore", deadline=None)
settings.register_profile("judge", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("OUTRIDER_EXAMPLES", "explore"))

_TEMPLATE = f"outrider_template_{os.getpid()}"


def _with_database(url: str, database: str) -> str:
    info = psycopg.conninfo.conninfo_to_dict(url)
    info["dbname"] = database
    return psycopg.conninfo.make_conninfo("", **{k: v for k, v in info.items() if v is not None})


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that `outrider up` or an administrator left here changes no test."""
    monkeypatch.setattr(configuration, "SYSTEM_PATH", Path("/nonexistent/outrider.toml"))
    monkeypatch.setattr(configuration, "FILENAME", "none.toml")


@pytest.fixture(scope="session", autouse=True)
def _inbox_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever the parts log about themselves goes here, never into the machine's inbox."""
    before = os.environ.get("OUTRIDER_INBOX")
    os.environ["OUTRIDER_INBOX"] = str(tmp_path_factory.mktemp("inbox"))
    yield
    if before is None:
        del os.environ["OUTRIDER_INBOX"]
    else:
        os.environ["OUTRIDER_INBOX"] = before


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Maintenance URL of the run's one cluster: OUTRIDER_TEST_DATABASE_URL, else our own."""
    given = os.environ.get("OUTRIDER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="outrider-pg-"))
    home.chmod(0o755)
    server = Postgres(home / "postgres", home / "run", {"fsync": "off", "max_connections": "300"})
    try:
        server.start()
        yield server.url("postgres")
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> Iterator[str]:
    from outrider_collector.store.schema import migrate

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(_TEMPLATE)))
        # Few hours ahead: every partition is files to copy for each test.
        asyncio.run(migrate(_with_database(postgres_url, _TEMPLATE), hours_ahead=2))
        yield _TEMPLATE
        connection.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(_TEMPLATE))
        )


@pytest.fixture
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """URL of a fresh database with the current schema and partitions, gone after the test."""
    name = f"outrider_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(_template)
            )
        )
        yield _with_database(postgres_url, name)
        connection.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )
