"""Where the database is, and what is said when it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider_collector.store.connect import connect, driver_errors, fault_of
from outrider_collector.store.database_url import DatabaseConfig, database_url, read_url
from outrider_collector.up.layout import Layout

if TYPE_CHECKING:
    from psycopg import AsyncConnection


def test_the_environment_wins_then_the_file_then_the_embedded_server(tmp_path: Path) -> None:
    """OUTRIDER_DATABASE_URL, else [database], else the socket under data_dir."""
    secret = tmp_path / "url"
    secret.write_text("postgresql://secret/db\n")
    config = DatabaseConfig(url="postgresql://toml/db")

    assert database_url(config, tmp_path, {"OUTRIDER_DATABASE_URL": "dbname=env"}) == "dbname=env"
    assert database_url(config, tmp_path, {}) == "postgresql://toml/db"
    assert database_url(DatabaseConfig(url_file=str(secret)), tmp_path, {}) == (
        "postgresql://secret/db"
    )
    embedded = conninfo_to_dict(database_url(DatabaseConfig(), tmp_path, {}))
    assert embedded == {
        "host": str(tmp_path / "run"),
        "user": "outrider",
        "dbname": "outrider",
        "port": "5432",
    }


def test_reading_goes_where_the_settings_say(tmp_path: Path) -> None:
    """read_url or its file, else the database itself; the environment goes before the settings."""
    secret = tmp_path / "url"
    secret.write_text("dbname=file\n")
    both = DatabaseConfig(url="dbname=toml", read_url="dbname=replica")
    in_file = DatabaseConfig(url="dbname=toml", read_url_file=str(secret))

    assert read_url(both, tmp_path, {}) == "dbname=replica"
    assert read_url(in_file, tmp_path, {}) == "dbname=file"
    assert read_url(DatabaseConfig(url="dbname=toml"), tmp_path, {}) == "dbname=toml"
    assert database_url(both, tmp_path, {}) == "dbname=toml"
    environ = {"OUTRIDER_DATABASE_URL": "dbname=env"}
    assert read_url(both, tmp_path, environ) == "dbname=env"
    environ["OUTRIDER_DATABASE_READ_URL"] = "dbname=read"
    assert read_url(both, tmp_path, environ) == "dbname=read"
    with pytest.raises(ConfigError, match="OUTRIDER_DATABASE_READ_URL"):
        read_url(both, tmp_path, {"OUTRIDER_DATABASE_READ_URL": "mysql://x"})
    with pytest.raises(ConfigError, match=r"database\.read_url_file"):
        read_url(DatabaseConfig(read_url_file=str(tmp_path / "gone")), tmp_path, {})


def test_a_missing_url_file_is_named(tmp_path: Path) -> None:
    """The message names the key and the file."""
    with pytest.raises(ConfigError) as caught:
        database_url(DatabaseConfig(url_file=str(tmp_path / "gone")), tmp_path, {})

    assert "database.url_file" in str(caught.value)
    assert str(tmp_path / "gone") in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"dbname": "no_such_database"}, Reason.CONFIG_INVALID, "createdb"),
        ({"user": "no_such_user"}, Reason.CONFIG_INVALID, "no_such_user"),
        ({"host": "127.0.0.1", "port": 1}, Reason.STORE_DOWN, "127.0.0.1:1"),
        ({"host": "/no/such/directory"}, Reason.STORE_DOWN, "/no/such/directory"),
    ],
)
async def test_a_wrong_url_is_explained(
    postgres_url: str, change: dict[str, str | int], reason: Reason, words: str
) -> None:
    """Each way to be wrong has one clear line, without the password."""
    url = make_conninfo(postgres_url, **{"password": "hunter2", **change})
    with pytest.raises(Fault) as caught:
        await connect(url, application_name="test")

    assert caught.value.reason is reason
    assert words in caught.value.text
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres at home", "it cannot be read, missing ... in connection info"),
        ("mysql://a:hunter2@b/c", "the database's URL is wrong: mysql:// is no Postgres: write"),
        ('a:"hunter2"b', "it cannot be read, missing ... in connection info"),
        ("postgresql://a:hunter2%zz@b/c", "it cannot be read, invalid percent-encoded token: ..."),
    ],
)
async def test_a_url_that_is_none_is_explained(url: str, words: str) -> None:
    """Text that cannot be read as a URL is a matter of configuration, and may hold a password."""
    with pytest.raises(Fault) as caught:
        await connect(url, application_name="test")

    assert caught.value.reason is Reason.CONFIG_INVALID
    assert words in caught.value.text
    assert "hunter2" not in str(caught.value)


def test_a_url_of_the_environment_that_is_none_is_told_as_that() -> None:
    """The variable is named, not what reads the URL next, and no password is shown."""
    environ = {"OUTRIDER_DATABASE_URL": "mysql://a:hunter2@b/c"}
    with pytest.raises(ConfigError) as caught:
        database_url(DatabaseConfig(), Path("/data"), environ)

    assert caught.value.where == "OUTRIDER_DATABASE_URL in the environment"
    assert caught.value.what == "the database's URL is wrong: mysql:// is no Postgres"


async def test_a_session_cannot_hold_others_for_long(connection: AsyncConnection) -> None:
    """Every session has the settings that bound what a frozen client does to others."""
    cursor = await connection.execute(
        "select current_setting('idle_in_transaction_session_timeout'),"
        " current_setting('lock_timeout'), current_setting('synchronous_commit'),"
        " current_setting('default_transaction_isolation'), current_setting('client_encoding')"
    )

    assert await cursor.fetchone() == ("5s", "10s", "on", "read committed", "UTF8")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select * from no_such_table", Reason.STORE_BEHIND),
        ("select 1 / 0", Reason.INTERNAL_BUG),
        ("selekt", Reason.INTERNAL_BUG),
        ("do $$ begin raise sqlstate '53100'; end $$", Reason.STORE_FULL),
        ("do $$ begin raise sqlstate '57P03'; end $$", Reason.STORE_DOWN),
        ("do $$ begin raise sqlstate '42501'; end $$", Reason.STORE_DOWN),
    ],
)
async def test_driver_errors_become_faults(
    connection: AsyncConnection, statement: str, reason: Reason
) -> None:
    """Callers see the catalogue's reasons; the driver's error stays as the cause."""
    with pytest.raises(Fault) as caught, driver_errors("postgresql://h/db"):
        await connection.execute(statement)

    assert caught.value.reason is reason
    assert isinstance(caught.value.__cause__, psycopg.Error)


async def test_a_database_without_our_tables_is_asked_about_first(
    connection: AsyncConnection,
) -> None:
    """A wrong URL is as likely as a missing migration: both are said, in that order."""
    with pytest.raises(Fault) as caught, driver_errors("postgresql://h/db"):
        await connection.execute("select * from no_such_table")

    assert caught.value.text.endswith(
        "is this the right database? Correct the URL, else run 'outrider store migrate'"
    )


async def test_a_connection_that_dies_is_an_outage(
    connection: AsyncConnection, beside: psycopg.Connection
) -> None:
    """A backend ended by an administrator is STORE_DOWN."""
    beside.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
    with pytest.raises(Fault) as caught, driver_errors():
        await connection.execute("select 1")

    assert caught.value.reason is Reason.STORE_DOWN


async def test_the_embedded_server_that_does_not_run_is_named(tmp_path: Path) -> None:
    """A command beside a stopped `outrider up` says which directory to start."""
    url = database_url(DatabaseConfig(), tmp_path, {})
    with pytest.raises(Fault, match="there is no embedded database yet") as missing:
        await connect(url, application_name="test")
    (tmp_path / "postgres").mkdir()
    with pytest.raises(Fault, match="the embedded database does not run") as stopped:
        await connect(url, application_name="test")
    assert missing.value.reason is stopped.value.reason is Reason.STORE_DOWN
    assert f"'outrider up --data {tmp_path}'" in stopped.value.text


async def test_an_embedded_server_that_is_being_started_again_is_not_to_be_started(
    tmp_path: Path,
) -> None:
    """While `outrider up` runs, it is named, and where the reason is."""
    url = database_url(DatabaseConfig(), tmp_path, {})
    (tmp_path / "postgres").mkdir()
    held = Layout(tmp_path).hold()
    try:
        with pytest.raises(Fault, match=f"'outrider up' .pid {os.getpid()}. starts it again"):
            await connect(url, application_name="test")
    finally:
        os.close(held)
    # A lock that was left where it ran names nobody who lives.
    (tmp_path / "up.lock").write_text("outrider up, pid 99999999")
    with pytest.raises(Fault, match="start it with 'outrider up --data"):
        await connect(url, application_name="test")


async def test_a_lock_of_the_data_directory_that_may_not_be_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of another account says that the database does not run, as without a lock."""
    (tmp_path / "up.lock").write_text(f"outrider up, pid {os.getpid()}")
    read_text = Path.read_text

    def refused(path: Path) -> str:
        if path.name == "up.lock":
            raise PermissionError(path)
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(Fault, match="start it with 'outrider up --data"):
        await connect(database_url(DatabaseConfig(), tmp_path, {}), application_name="test")


def test_a_full_disk_that_takes_no_connection_is_full_and_not_away(tmp_path: Path) -> None:
    """Postgres then answers before it can name an SQLSTATE; to start it would not help."""
    url = database_url(DatabaseConfig(), tmp_path, {})
    said = "connection failed: FATAL:  could not write init file: No space left on device"
    fault = fault_of(psycopg.OperationalError(said), url)

    assert (fault.reason, fault.metadata["sqlstate"]) == (Reason.STORE_FULL, "53100")
    assert fault.text.endswith("No space left on device: free room on its disk")
