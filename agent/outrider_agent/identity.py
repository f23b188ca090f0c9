"""Who this agent is: its token and the key of its digests, in ``state_dir/identity``.

Both are written once, fsynced, and read by nobody but the agent's own account. They are no cache:
without the token the collector does not know this agent, without the key no stored digest means
anything, and everything still on disk would be read again.

A token that is no printable text is damaged, and as if it were not there: the agent enrols anew.

A state directory that was copied and runs twice is one identity too few: the process that comes
second renounces it (``copied`` says so) and enrols under one of its own.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
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
        try:
            self.token, self.is_damaged = read_token(state_dir)
            """The agent's own bearer token, None until it is enrolled; whether its file is junk."""
        except OSError as error:
            raise ConfigError(
                f"cannot read the agent's own token, {_reason(error)}",
                str(token_path(state_dir)),
                token_advice(error),
            ) from None

    def enrolled(self, token: str) -> None:
        """Use the token, and keep it: on the disk when this returns. Raises OSError."""
        self.token, self.is_damaged = token, False
        self._write("token", token.encode() + b"\n")

    def forget_token(self) -> None:
        """Enrol again at the next chance: the collector does not know this token."""
        self.token = None
        with suppress(OSError):  # else it is found unknown once more, after a restart
            (self._directory / "token").unlink()

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


def token_path(state_dir: Path) -> Path:
    """Return where the agent of a state directory keeps its token."""
    return state_dir / "identity" / "token"


def read_token(state_dir: Path) -> tuple[str | None, bool]:
    """Return the token, if there is one, and whether there is a damaged one. Raises OSError."""
    try:
        data = token_path(state_dir).read_bytes()
    except FileNotFoundError:
        return None, False
    token = data.decode("ascii", "replace").strip()
    is_good = bool(token) and is_printable(token)
    return (token, False) if is_good else (None, True)


def is_printable(token: str) -> bool:
    """Whether a token or secret can travel in a header: ASCII without control characters."""
    return token.isascii() and token.isprintable()


def token_advice(error: OSError) -> str:
    """Say what to do about a token that cannot be read."""
    if isinstance(error, PermissionError):
        return "let the agent's account read it, or set `agent.state_dir`"
    return "remove it: the agent enrols anew then"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def unusable(error: OSError, path: Path) -> ConfigError:
    """Return what to say when something in the state directory cannot be used."""
    return ConfigError(
        f"cannot use the agent's state directory, {_reason(error)}",
        str(error.filename or path),
        "let the agent's account write there, or set `agent.state_dir`",
    )
