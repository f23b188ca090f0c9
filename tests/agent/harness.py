"""An agent in the test's own process, with a directory of its own and a fake collector."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider_agent import configuration
from outrider_agent.agent import Agent
from outrider_agent.reports import Reports
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outrider_agent.picture import Picture
    from tests.agent.fake_collector import FakeCollector


def numbered(first: int, last: int, *, size: int = 0) -> str:
    """Lines that each name their number, and are so many bytes long where that is more."""
    return "".join(
        f"{f'line {n} ':x<{size - 1}}\n" if size else f"line {n}\n" for n in range(first, last)
    )


def numbers(collector: FakeCollector) -> list[int]:
    """The numbers of the stored lines, in the order in which they were stored."""
    return [int((message or "").split()[1]) for message in collector.database.messages()]


def open_files(pid: int | str = "self") -> list[str]:
    """What a process has open, by each descriptor; a file that was deleted says so."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # such as that of the listing itself
            names.append(str(link.readlink()))
    return names


async def looked_anew(agent: Agent) -> None:
    """Wait until the disk thread has seen to everything once more, which it does every second."""

    def painted_since(before: Picture) -> bool:
        return agent._files.picture is not before

    for _ in range(2):  # the first may have begun before
        await eventually(partial(painted_since, agent._files.picture))


def reborn(old: Path, new: Path, content: str) -> None:
    """Delete ``old`` and make ``new`` with the inode that it had.

    By a link: whether a file system gives an inode again at once, and to whom, is chance.
    """
    link = old.parent.with_name("the-inode")
    link.hardlink_to(old)
    old.unlink()
    link.write_text(content)
    link.rename(new)


class Site:
    """A host: its log directory, its inbox, its agent's state."""

    def __init__(
        self, root: Path, *collectors: FakeCollector, source: str = "", agent: str = ""
    ) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.logs = root / "logs"
        self.inbox = root / "inbox"
        self.state_dir = root / "agent"
        self.logs.mkdir(exist_ok=True)
        self.inbox.mkdir(exist_ok=True)
        (root / "enrol.token").write_text(collectors[0].enrol_secret)
        addresses = ", ".join(f'"{collector.address}"' for collector in collectors)
        self.config_file = root / "outrider.toml"
        self.config_file.write_text(
            f"""
data_dir = "{root}"
[agent]
collectors = [{addresses}]
token_file = "{root}/enrol.token"
inbox = "{self.inbox}"
host = "host-1"
{agent}
[[agent.source]]
paths = ["{self.logs}/*.log"]
service = "bots"
timezone = "UTC"
{source}
"""
        )
        self.said: list[str] = []

    def write(self, name: str, text: str | bytes) -> Path:
        """Append to a log file, as a worker does."""
        path = self.logs / name
        with path.open("ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        return path

    @asynccontextmanager
    async def agent(self, **made: Any) -> AsyncIterator[Agent]:
        """Run the agent for the length of a block; it ends in order."""
        agent = Agent(
            configuration.load(self.config_file, {}), Reports(write=self.said.append), **made
        )
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(stop))
        try:
            yield agent
        finally:
            stop.set()
            await running
