"""What systemd is told of the agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from outrider_agent.supervisor import Supervisor
from tests.agent.harness import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector


def listening(path: Path) -> socket.socket:
    """A socket that stands for systemd's."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(path))
    receiver.settimeout(20)
    return receiver


async def test_systemd_is_told_the_life_of_a_real_process(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """READY, signs of life with a status, RELOADING and READY again, STOPPING, and exit code 0."""
    site = Site(tmp_path, collector)
    with listening(tmp_path / "n") as receiver:
        environment = {
            **os.environ, "NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "400000",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "outrider.command", "agent", "--config", str(site.config_file),
            env=environment, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        heard = await asyncio.to_thread(hear, receiver, "WATCHDOG=1")
        assert heard[0].startswith("READY=1")
        assert "files" in heard[-1]
        process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in (await asyncio.to_thread(hear, receiver, "RELOADING=1"))[-1]
        await asyncio.to_thread(hear, receiver, "READY=1")
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(hear, receiver, "STOPPING=1")
        assert await process.wait() == 0


def hear(receiver: socket.socket, until: str) -> list[str]:
    """Receive until a message begins so."""
    heard: list[str] = []
    while not heard or not heard[-1].startswith(until):
        heard.append(receiver.recv(4096).decode())
    return heard


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "junk"}, 0.0),
    ],
)
def test_a_watchdog_is_for_the_process_that_it_names(
    environ: dict[str, str], interval_s: float
) -> None:
    """Nobody else answers it, and what cannot be read is no watchdog."""
    assert Supervisor(environ).interval_s == interval_s
    Supervisor({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell("READY=1")
