"""Who this agent is: its token and the key of its digests, in ``state_dir/identity``.

Both are written once, fsynced, and read by nobody but the agent's own account. They are no cache:
without the token the collector does not know this agent, without the key no stored digest means
anything, and everything still on disk would be read again.

A state directory that was copied and runs twice is one identity too few: the process that comes
second renounces it (``copied`` says so) and enrols under one of its own.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from outrider.configuration import ConfigError
from outrider_agent.journal import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

_KEY_BYTES = 32


class Identity:
    """The identity directory of one agent. Raises ConfigError where it cannot be used."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "identity"
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self.key = self._read("key") or self._make_key()
            """Key of the digests."""
        except OSError as error:
            raise unusable(error, self._directory) from None

    @property
    def token(self) -> str | None:
        """The agent's own bearer token, once it is enrolled; None where its file is damaged."""
        token = self._read("token").decode("ascii", "replace").strip()
        return token if token and token.isascii() and token.isprintable() else None

    def enrolled(self, token: str) -> None:
        """Keep the token; on the disk when this returns."""
        self._write("token", token.encode() + b"\n")

    def forget_token(self) -> None:
        """Enrol again at the next chance: the collector does not know this token."""
        (self._directory / "token").unlink(missing_ok=True)

    @property
    def settled(self) -> bool:
        """Whether this agent has looked at its sources before: ``start`` is for the first time."""
        return (self._directory / "settled").exists()

    def settle(self) -> None:
        """Remember that the first look is over."""
        self._write("settled", b"")

    @property
    def copied(self) -> bool:
        """Whether what is on the disk may have been delivered by the agent this is a copy of."""
        return (self._directory / "copied").exists()

    def forget_copied(self) -> None:
        """Remember that every file that may have been delivered is a stream of its own now."""
        (self._directory / "copied").unlink(missing_ok=True)

    def renounce(self) -> None:
        """Be an agent of its own from now on; what the other has told and keeps is forgotten.

        Nobody may use the state directory meanwhile. Raises OSError.
        """
        self._write("copied", b"")
        # Births and gaps in the journal, and the offsets in the cache, are the other's.
        for path in ("journal", "cache.json", "identity/token", "identity/key"):
            (self._directory.parent / path).unlink(missing_ok=True)
        sync_directory(self._directory)

    def _make_key(self) -> bytes:
        key = secrets.token_bytes(_KEY_BYTES)
        self._write("key", key)
        return key

    def _read(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _write(self, name: str, data: bytes) -> None:
        draft = self._directory / f".{name}.new"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.replace(self._directory / name)
        sync_directory(self._directory)


def unusable(error: OSError, path: Path) -> ConfigError:
    """Return what to say when something in the state directory cannot be used."""
    reason = (error.strerror or str(error)).lower()
    return ConfigError(
        f"cannot use the agent's state directory, {reason}",
        str(error.filename or path),
        "let the agent's account write there, or set `agent.state_dir`",
    )
