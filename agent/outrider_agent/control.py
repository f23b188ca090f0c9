"""The agent's socket: whoever may enter its state directory may ask how it is.

One question a connection: a line of JSON, ``{"path": "..."}`` or ``{}``, answered by one
:class:`~outrider_agent.account.Account`. It costs nothing while nobody asks.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from outrider_agent.account import Account

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

NAME = "control"
_MAX_QUESTION_BYTES = 64 * 1024
_PATIENCE_S = 5.0


class Question(msgspec.Struct):
    """What is asked. ``path``: one file alone; ``device`` and ``inode`` are what is there now."""

    path: str = ""
    device: int = 0
    inode: int = 0


@contextmanager
def _short(state_dir: Path) -> Iterator[str]:
    """Give the socket's path, short enough for the system whatever the directory's length."""
    if sys.platform != "linux":
        yield str(state_dir / NAME)
        return
    fd = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


async def serve(
    state_dir: Path, answer: Callable[[Question], Awaitable[Account]]
) -> asyncio.Server:
    """Answer questions until the server is closed. Raises OSError."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError, msgspec.MsgspecError):
            line = await asyncio.wait_for(reader.readline(), _PATIENCE_S)
            account = await answer(msgspec.json.decode(line, type=Question))
            writer.write(msgspec.json.encode(account) + b"\n")
            await asyncio.wait_for(writer.drain(), _PATIENCE_S)
        writer.close()

    (state_dir / NAME).unlink(missing_ok=True)
    with _short(state_dir) as path:
        return await asyncio.start_unix_server(talk, path, limit=_MAX_QUESTION_BYTES)


def ask(state_dir: Path, question: Question) -> Account | None:
    """Ask the agent that uses a state directory; None where none answers.

    Raises PermissionError where this account may not ask.
    """
    try:
        with _short(state_dir) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(question) + b"\n")
            with connection.makefile("rb") as file:
                return msgspec.json.decode(file.readline(), type=Account)
    except PermissionError:
        raise
    except (OSError, msgspec.MsgspecError):
        return None
