"""The socket over which a running agent is asked how it is."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from typing import TYPE_CHECKING, Any

from outrider_agent import control
from outrider_agent.account import Account

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_socket_takes_any_directory(tmp_path: Path) -> None:
    """A state directory longer than a socket's address may be can be asked all the same."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()

    async def ask() -> Any:
        async def answer(question: control.Question) -> Account:
            return Account(host=question.path)

        server = await control.serve(deep, answer)
        told = await asyncio.to_thread(control.ask, deep, control.Question("p"))
        server.close()
        return told

    assert asyncio.run(ask()).host == "p"


async def test_without_a_descriptor_the_socket_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often nobody can be let in, that is one line; who asked has the answer afterwards."""
    monkeypatch.setattr(control, "_PAUSE_S", 0.0)

    async def answer(question: control.Question) -> Account:
        return Account(host=question.path)

    server = await control.serve(tmp_path, answer)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as asking:
        free = os.dup(asking.fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            asking.connect(str(tmp_path / control.NAME))
            for _ in range(1000):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        told = await asyncio.to_thread(control._asked, asking, control.Question("p"))
    server.close()

    assert told.host == "p"
    (said,) = caplog.records
    assert "nobody can ask" in said.getMessage() and said.exc_info is None
