"""Where the database is: by the environment, else the configuration, else the embedded server.

A URL may hold a password: what is said of one is :func:`target`, or libpq's words without what
they quote.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outrider.configuration import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED_HOME: Final = "postgres"
"""Inside the data directory: the home of the embedded server of `outrider up`."""
EMBEDDED_LOG: Final = "server.log"
"""Inside its home: what it printed."""
EMBEDDED_SOCKET: Final = "run"
"""Inside the data directory: where it listens."""
UP_LOCK: Final = "up.lock"
"""Inside the data directory of `outrider up`: held while it runs, with its pid, and left there."""

URL_HINT: Final = "write it like postgresql://user@host:5432/outrider"


class DatabaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``[database]`` of the configuration."""

    url: str | None = None
    """A Postgres URL or conninfo string; absent: the embedded server under ``data_dir``."""
    url_file: str | None = None
    """File that holds the URL, for deployments where it contains a password."""
    read_url: str | None = None
    """Where pages and ``outrider logs`` read, such as a replica; absent: as ``url``."""
    read_url_file: str | None = None
    """File that holds that URL."""


def database_url(
    config: DatabaseConfig, data_dir: Path, environ: Mapping[str, str] = os.environ
) -> str:
    """Return where the database is: environment, else configuration, else the embedded server.

    Raises ConfigError when ``url_file`` cannot be read, or the environment names no URL.
    """
    return (
        _of_environment("OUTRIDER_DATABASE_URL", environ)
        or config.url
        or _of_file("url_file", config.url_file)
        or _embedded_url(data_dir)
    )


def read_url(
    config: DatabaseConfig, data_dir: Path, environ: Mapping[str, str] = os.environ
) -> str:
    """Return where is read what may be a little behind, as on a replica; else the database's URL.

    The environment goes before the settings here too: who names a database there reads that one.
    """
    given = _of_environment("OUTRIDER_DATABASE_READ_URL", environ)
    if not given and not environ.get("OUTRIDER_DATABASE_URL"):
        given = config.read_url or _of_file("read_url_file", config.read_url_file)
    return given or database_url(config, data_dir, environ)


def _of_environment(name: str, environ: Mapping[str, str]) -> str | None:
    given = environ.get(name)
    if given and (wrong := mistake(given)):
        raise ConfigError(wrong, f"{name} in the environment", URL_HINT)
    return given


def _of_file(key: str, path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"`database.{key}`: cannot be read, {error}", path, "correct the path"
        ) from None


def _embedded_url(data_dir: Path) -> str:
    return make_conninfo(
        host=str(data_dir / EMBEDDED_SOCKET), user="outrider", dbname="outrider", port="5432"
    )


def target(url: str) -> str:
    """Return host, port, database and user of a URL, never its password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "(unreadable URL)"
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    port = parts.get("port")
    place = f"{host}:{port}" if port else f"{host}"
    user = f" as {parts['user']}" if parts.get("user") else ""
    return f"{place}/{parts.get('dbname') or ''}{user}"


def _without_text(message: str) -> str:
    """Return libpq's words without what it quotes of the URL, which may be a password."""
    return re.sub(r'".*"', "...", message.strip(), flags=re.DOTALL)


def mistake(url: str) -> str | None:
    """Say what is wrong with a URL, without what may be a password; None: it can be read."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        kind, is_url, _ = url.partition("://")
        # libpq takes any other scheme for a list of key=value, and misses a "=".
        what = (
            f"{kind}:// is no Postgres"
            if is_url and kind not in {"postgresql", "postgres"} and kind.isalnum()
            else f"it cannot be read, {_without_text(str(error))}"
        )
        return f"the database's URL is wrong: {what}"
    return None


def embedded_in(url: str | None) -> Path | None:
    """Return the data directory of `outrider up` whose own server the URL means, or None."""
    try:
        host = Path(str(conninfo_to_dict(url or "").get("host") or ""))
    except psycopg.ProgrammingError:
        return None
    return host.parent if host.is_absolute() and url == _embedded_url(host.parent) else None


def _runs_up(data_dir: Path) -> int | None:
    """Return the pid of the `outrider up` that runs there; None: none does.

    Its lock is not tried: who starts at this moment would find it taken.
    """
    try:
        pid = int((data_dir / UP_LOCK).read_text().rpartition("pid ")[2])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and _is_alive(pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (OSError, OverflowError):
        return False
    return True


def not_running(data_dir: Path) -> str:
    """Say that the embedded server of this data directory does not answer, and what to do."""
    home = data_dir / EMBEDDED_HOME
    if (pid := _runs_up(data_dir)) is not None:
        return (
            f"the embedded database does not run, 'outrider up' (pid {pid}) starts it again: "
            f"{data_dir}: what it prints says why, and {home / EMBEDDED_LOG}"
        )
    if home.is_dir():
        what = f"the embedded database does not run: {data_dir}"
    else:
        what = f"there is no embedded database yet: {data_dir}"
    # Settings of another place are the usual reason to look here at all.
    return (
        f"{what}: start it with 'outrider up --data {data_dir}', or name your database with "
        "OUTRIDER_DATABASE_URL, your settings with --config"
    )
