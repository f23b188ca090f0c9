"""The agent's socket: whoever may enter its state directory may ask how it is.

One question a connection: a line of JSON, ``{"path": "..."}`` or ``{}``, answered by one
:class:`~outrider_agent.account.Account`, or by ``{"error": "..."}``. It costs nothing while nobody
asks. A file's name may hold bytes that are no UTF-8: a question has them as they are, an answer
shows them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from outrider.visible import INVISIBLE, symbol
from outrider_agent.account import Account

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

NAME = "control"
_MAX_QUESTION_BYTES = 64 * 1024
_PATIENCE_S = 5.0
_MOST_ASKING = 8
"""Who comes beyond them waits: each takes a descriptor."""
_MOST_QUEUED = 100
_PAUSE_S = 1.0
"""After nobody could be let in."""


class Question(msgspec.Struct):
    """What is asked. ``path``: one file alone; ``device`` and ``inode`` are what is there now."""

    path: str = ""
    device: int = 0
    inode: int = 0


class NoAnswer(Exception):  # noqa: N818  it says what there is not
    """An agent is there and does not say how it is; the text says why."""


def encoded(document: object) -> bytes:
    """Return a struct or builtins as JSON in UTF-8, in which odd bytes of names are shown."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(document), ensure_ascii=False, separators=(",", ":"))
        # Of what is invisible, JSON writes the rest as escapes or lets it stand, which is right.
        return INVISIBLE.sub(lambda found: _odd(found[0], symbol(found)), text).encode()


def _odd(character: str, shown: str) -> str:
    return shown if "\ud800" <= character <= "\udfff" else character


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


class Server:
    """Answers who comes to a socket that listens, a few at a time, until it is closed."""

    def __init__(
        self, listener: socket.socket, answer: Callable[[Question], Awaitable[Account]]
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._free = asyncio.Semaphore(_MOST_ASKING)
        self._talks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Take no more questions."""
        self._accepting.cancel()

    async def _accept(self) -> None:
        try:
            await self._accept_for_ever()
        finally:
            self._listener.close()

    async def _accept_for_ever(self) -> None:
        # Not asyncio's own server: without a descriptor it tries again at once, with a traceback
        # each time.
        failed = False
        while True:
            await self._free.acquire()
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            except OSError as error:
                self._free.release()
                if not failed:
                    _log.warning("the agent's control socket: nobody can ask: %s", error)
                failed = True
                await asyncio.sleep(_PAUSE_S)
                continue
            failed = False
            talk = asyncio.create_task(self._talk(connection))
            self._talks.add(talk)
            talk.add_done_callback(self._talked)

    def _talked(self, talk: asyncio.Task[None]) -> None:
        self._talks.discard(talk)
        self._free.release()

    async def _talk(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(
            sock=connection, limit=_MAX_QUESTION_BYTES
        )
        with suppress(OSError, ValueError, TimeoutError, msgspec.MsgspecError):
            line = await asyncio.wait_for(reader.readline(), _PATIENCE_S)
            writer.write(await _said(line, self._answer) + b"\n")
            await asyncio.wait_for(writer.drain(), _PATIENCE_S)
        writer.close()


async def serve(state_dir: Path, answer: Callable[[Question], Awaitable[Account]]) -> Server:
    """Answer questions until the server is closed. Raises OSError."""
    (state_dir / NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.setblocking(False)
        with _short(state_dir) as path:
            listener.bind(path)
        listener.listen(_MOST_QUEUED)
    except OSError:
        listener.close()
        raise
    return Server(listener, answer)


async def _said(line: bytes, answer: Callable[[Question], Awaitable[Account]]) -> bytes:
    """Return the answer, or why there is none: who asks must not take a living agent for none."""
    try:
        # Not msgspec's reader, which takes no lone surrogates.
        return encoded(await answer(msgspec.convert(json.loads(line), Question)))
    except (ValueError, TimeoutError, msgspec.MsgspecError) as error:
        _log.warning("the agent's control socket: no answer: %s", error)
        return encoded({"error": str(error) or type(error).__name__})


def ask(state_dir: Path, question: Question) -> Account | None:
    """Ask the agent that uses a state directory; None where there is none.

    Raises PermissionError where this account may not ask, NoAnswer where it does not say.
    """
    try:
        with _short(state_dir) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(path)
            return _asked(connection, question)
    except PermissionError:
        raise
    except OSError:
        return None


def _asked(connection: socket.socket, question: Question) -> Account:
    try:
        connection.sendall(json.dumps(msgspec.to_builtins(question)).encode() + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline()
        document = msgspec.json.decode(line, type=dict[str, Any])
        if "error" in document:
            raise NoAnswer(str(document["error"]))
        return msgspec.convert(document, Account)
    except OSError as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"it says {line[:100]!r}" if line else "it says nothing") from error
