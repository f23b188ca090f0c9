"""Real processes for tests and benchmarks: collectors, an agent, a database, directories.

Every process is `outrider ...` with a configuration of its own, as a user would start it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping

_OUTRIDER = (sys.executable, "-m", "outrider.command")

_COLLECTOR = """\
data_dir = "{root}/data"

[database]
url = "{url}"

[collector]
name = "{name}"
listen = "127.0.0.1:{port}"
http_listen = ""
"""

_AGENT = """\
data_dir = "{root}/data"

[database]
url = "{url}"

# Where the command line finds a collector.
[collector]
listen = "127.0.0.1:{port}"

[agent]
collectors = [{collectors}]
state_dir = "{root}/agent"
inbox = "{root}/inbox"
# Segments are put away and deleted soon, so that tests reach the end of their life.
retire_after_s = 2
kept_tail_bytes = 0

[[agent.source]]
paths = ["{root}/logs/*.log*"]
service = "{service}"
"""


def free_port() -> int:
    """A TCP port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Fleet:
    """Collectors and an agent with their files and their database."""

    root: Path
    # The database, as tests see it.
    url: str
    # collector name -> port
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """The directory whose files the agent follows."""
        return self.root / "logs"

    @property
    def rules(self) -> Path:
        """The directory of rules."""
        return self.root / "rules"

    @property
    def inbox(self) -> Path:
        """Where programs with the SDK log."""
        return self.root / "inbox"

    def run(self, *arguments: str) -> str:
        """Run one `outrider` command to its end; SystemExit with its output when it fails."""
        result = subprocess.run(
            [*_OUTRIDER, *arguments],
            env=self.environment("agent"),
            capture_output=True,
            check=False,
        )
        if result.returncode:
            raise SystemExit(
                f"outrider {' '.join(arguments)}: exit {result.returncode}: "
                f"{result.stderr.decode()}{result.stdout.decode()}"
            )
        return result.stdout.decode()

    def start_collector(self, name: str, extra: Mapping[str, str] | None = None) -> int:
        """Start one collector; returns its pid at once (see wait_for_port)."""
        return self.start(name, (*_OUTRIDER, "collector", "run"), extra)

    def start_agent(self, extra: Mapping[str, str] | None = None) -> int:
        """Start the agent; returns its pid."""
        return self.start("agent", (*_OUTRIDER, "agent", "run"), extra)

    def start_agent_as(self, name: str, extra: Mapping[str, str]) -> int:
        """Start a further agent, whose configuration is ``name``.toml; returns its pid."""
        return self.start(name, (*_OUTRIDER, "agent", "run"), extra)

    def kill(self, name: str) -> None:
        """SIGKILL and reap."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM and wait; SIGKILL when it takes longer than 20 s."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process that runs."""
        self.processes[name].send_signal(number)

    def running(self, name: str) -> bool:
        """Whether the process was started and has not ended."""
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def acknowledged_bytes(self) -> int:
        """How far the agent believes its furthest stream to be committed, as its cache says."""
        cache = self.root / "agent" / "cache.json"
        if not cache.exists():
            return 0
        offsets = json.loads(cache.read_bytes())["acknowledged"].values()
        return max(offsets, default=0)

    def output(self, name: str) -> str:
        """What it has printed so far."""
        path = self.root / f"{name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_port(self, name: str, within_s: float = 30) -> None:
        """Until the collector listens; SystemExit with its output when it does not."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{name} did not start:\n{self.output(name)}")

    def environment(self, name: str) -> dict[str, str]:
        """What a process of this fleet finds in its environment."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("OUTRIDER_")},
            "OUTRIDER_CONFIG": str(self.root / f"{name}.toml"),
            "OUTRIDER_INBOX": str(self.inbox),
        }

    def start(
        self, name: str, command: tuple[str, ...], extra: Mapping[str, str] | None = None
    ) -> int:
        """Start a command as a process of this fleet; returns its pid."""
        with (self.root / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                command,
                env={**self.environment(name), **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.processes[name] = process
        return process.pid


@contextmanager
def fleet(
    postgres_url: str,
    *,
    database: str,
    service: str = "trading",
    collectors: tuple[str, ...] = ("collector",),
    collector_url: str | None = None,
) -> Iterator[Fleet]:
    """Make a migrated database, configurations and empty directories; all gone afterwards.

    ``collector_url`` is a maintenance URL that the collectors use instead (through a proxy, say).
    """
    root = Path(tempfile.mkdtemp(prefix="outrider-fleet-"))
    made = Fleet(root, _with_database(postgres_url, database), {n: free_port() for n in collectors})
    for directory in (made.logs, made.rules, made.inbox, root / "data"):
        directory.mkdir()
    for name, port in made.ports.items():
        url = _with_database(collector_url or postgres_url, database)
        (root / f"{name}.toml").write_text(
            _COLLECTOR.format(root=root, url=url, name=name, port=port)
        )
    addresses = ", ".join(f'"127.0.0.1:{port}"' for port in made.ports.values())
    (root / "agent.toml").write_text(
        _AGENT.format(
            root=root,
            url=made.url,
            port=made.ports[collectors[0]],
            collectors=addresses,
            service=service,
        )
    )
    try:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        made.run("store", "migrate")
        yield made
    finally:
        for name in list(made.processes):
            made.stop(name)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database))
            )
        shutil.rmtree(root, ignore_errors=True)


def _with_database(url: str, database: str) -> str:
    parts = {k: v for k, v in conninfo_to_dict(url).items() if v is not None}
    return make_conninfo("", **{**parts, "dbname": database})
