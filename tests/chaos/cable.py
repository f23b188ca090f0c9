"""A host whose cable can be pulled: a network namespace, joined to this one by a pair of links.

Programs in it reach a collector as if it listened on their own loopback: a relay there passes bytes
to one here. With the link down nothing says goodbye: packets are lost, connections stay open.

    python -m tests.chaos.cable FROM_HOST FROM_PORT TO_HOST TO_PORT      (the relay itself)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.fleet import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE, THERE = "10.213.77.1", "10.213.77.2"


def can_pull() -> bool:
    """Whether this user may make network namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


class Cable:
    """The namespace ``name`` and the link to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.command = ("ip", "netns", "exec", name)
        """What runs a program over there."""

    def pull(self) -> None:
        """Lose every packet from now on."""
        _ip("link", "set", f"{self.name}h", "down")

    def plug_in(self) -> None:
        """Let packets through again."""
        _ip("link", "set", f"{self.name}h", "up")


@contextmanager
def cable(port: int) -> Iterator[Cable]:
    """Make a namespace in which 127.0.0.1:port is this host's 127.0.0.1:port."""
    made, between = Cable(f"or{os.getpid() % 100_000}"), free_port()
    here, there = f"{made.name}h", f"{made.name}t"
    _ip("netns", "add", made.name)
    relays: list[subprocess.Popen[bytes]] = []
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", made.name)
        _ip("addr", "add", f"{HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        for arguments in (
            ("addr", "add", f"{THERE}/30", "dev", there),
            ("link", "set", there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", made.name, *arguments)
        relay = (sys.executable, "-m", "tests.chaos.cable")
        relays = [
            subprocess.Popen([*relay, HERE, str(between), "127.0.0.1", str(port)]),
            subprocess.Popen(
                [*made.command, *relay, "127.0.0.1", str(port), HERE, str(between)],
            ),
        ]
        yield made
    finally:
        for process in relays:
            process.kill()
            process.wait()
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", here)
        _ip("netns", "del", made.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


async def _relay(from_host: str, from_port: int, to_host: str, to_port: int) -> None:
    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one end is gone; so is the other, now
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(to_host, to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(passed(reader, far_writer), passed(far_reader, writer))

    server = await asyncio.start_server(serve, from_host, from_port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_relay(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
