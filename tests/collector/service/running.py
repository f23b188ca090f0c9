"""Collectors that run inside a test, each with its own end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from outrider_alerting.durations import Duration
from outrider_collector.config import CollectorConfig, Configuration, RetentionConfig
from outrider_collector.run import run
from tests.collector.service.agent_client import Agent

if TYPE_CHECKING:
    from pathlib import Path

    from outrider.probes.spec import Spec

STREAM = 4711


@dataclass(slots=True)
class Running:
    """One collector that serves."""

    config: Configuration
    address: str
    stop: asyncio.Event
    task: asyncio.Task[None]
    agents: list[Agent] = field(default_factory=list)

    @property
    def enrol_token(self) -> str:
        """The token with which agents enrol."""
        return (self.config.data_dir / "collector/enroll.token").read_text().strip()

    @property
    def admin_token(self) -> str:
        """The token of administrators."""
        return (self.config.data_dir / "collector/admin.token").read_text().strip()

    async def agent(self, host: str = "test-host") -> Agent:
        """A newly enrolled agent, connected here."""
        agent = await Agent.enrolled(self.address, self.enrol_token, host)
        self.agents.append(agent)
        return agent

    def connect(self, token: str, process: Agent | None = None) -> Agent:
        """An agent that has a token already, connected here; as the same process as another."""
        agent = Agent(self.address, token)
        if process is not None:
            agent.instance = process.instance
        self.agents.append(agent)
        return agent

    async def end(self) -> None:
        """Stop in order and wait for the end."""
        self.stop.set()
        await self.task

    async def vanish(self) -> None:
        """End without order, as a killed process does."""
        self.task.cancel()
        await asyncio.wait({self.task})


async def start(
    url: str, data_dir: Path, *, probes: tuple[Spec[Any], ...] = (), **collector: Any
) -> Running:
    """Run a collector on a free port and return once it serves."""
    said: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "http_listen": "",
        "name": "one",
        "reconnect_grace": Duration("1s"),
    }
    config = Configuration(
        data_dir, url, CollectorConfig(**(said | collector)), RetentionConfig(), probes=probes
    )
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(config, stop, ready.set_result))
    while not ready.done():
        await asyncio.wait({task}, timeout=0.01)
        if task.done():
            task.result()
    return Running(config, ready.result(), stop, task)


def ask(url: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def stored(url: str) -> list[str]:
    """Every stored line of the tests' service, in order."""
    return [row[0] for row in ask(url, "select message from logs order by stream, stream_offset")]
