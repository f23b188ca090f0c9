"""Postgres servers to measure on: the embedded one, and one with lz4 where the machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from outrider_collector.up.postgres import Binaries, Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

# fsync stays on: an acknowledged record that a power cut takes back would be a lie.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@contextmanager
def embedded() -> Iterator[tuple[str, int]]:
    """The server of `outrider up`: (superuser URL, pid of the postmaster)."""
    with _home() as home:
        server = Postgres(home / "postgres", home / "run", dict(SETTINGS))
        server.start()
        try:
            assert server.process is not None
            yield server.url("postgres"), server.process.pid
        finally:
            server.stop()


@contextmanager
def with_lz4() -> Iterator[tuple[str, int] | None]:
    """A server of the machine whose binaries know lz4, or None."""
    bin_dir = lz4_bin_dir()
    if bin_dir is None:
        yield None
        return
    with _home() as home:
        binaries = Binaries(bin_dir, "the machine's")
        server = Postgres(home / "postgres", home / "run", dict(SETTINGS), binaries)
        server.start()
        try:
            assert server.process is not None
            yield server.url("postgres"), server.process.pid
        finally:
            server.stop()


def lz4_bin_dir() -> Path | None:
    """Where the binaries of a server of the machine with lz4 lie, or None."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("postgres")
    if found:
        candidates.insert(0, Path(os.path.realpath(found)).parent)
    for bin_dir in candidates:
        config = bin_dir / "pg_config"
        if not (bin_dir / "initdb").exists() or not config.exists():
            continue
        told = subprocess.run(
            [str(config), "--configure"], capture_output=True, text=True, check=False
        )
        if "--with-lz4" in told.stdout:
            return bin_dir
    return None


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="outrider-bench-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
