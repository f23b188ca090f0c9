"""The token files of a collector: who may enrol an agent here, and who may act as administrator.

Both are made at the first start, readable by the collector's own account alone: on loopback being
able to read the file is the proof. A file is written beside its place and linked into it, so two
collectors that start at once end up with one token and nobody ever reads half of one.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from outrider.configuration import ConfigError, read_secret

if TYPE_CHECKING:
    from pathlib import Path

ENROL_FILE = "enroll.token"
ADMIN_FILE = "admin.token"


def token_file(directory: Path, name: str) -> str:
    """Return the token in the file, which is made if it is missing. Raises ConfigError."""
    path = directory / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
    except OSError as error:
        raise ConfigError(
            f"cannot make the token file, {(error.strerror or str(error)).lower()}",
            str(path),
            "let the collector's account write there, or set `data_dir`",
        ) from None
    return read_secret(path)


def new_token() -> str:
    """Return a fresh bearer token, 256 bits."""
    return secrets.token_urlsafe(32)


def _make(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(new_token() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another collector was first; its token is the token
    finally:
        draft.unlink()
