"""The data directory of `outrider up`: where everything lies, and who holds it.

outrider.toml      configuration of every part, written at the first start, yours to edit
postgres/  run/    the embedded cluster and its socket (absent with a database of your own)
collector/         enroll.token, admin.token
agent/             the agent's identity, journal and caches
inbox/             where workers of this machine log
rules/             rules, channels and routes, applied at each start
log/               what the processes print
up.lock            held by the running `outrider up`
"""

from __future__ import annotations

import fcntl
import importlib.resources
import os
from dataclasses import dataclass
from pathlib import Path

from outrider.configuration import ConfigError
from outrider_collector.alerts.rule_directory import RULES_DIRECTORY
from outrider_collector.store.database_url import UP_LOCK

_CONFIGURATION = """\
# Written by `outrider up` at its first start; yours to edit. agent/README.md, collector/README.md
# and dashboard/README.md list the keys of their tables.
data_dir = {data_dir}

[collector]
listen = "127.0.0.1:{collector_port}"

[dashboard]
listen = "127.0.0.1:{dashboard_port}"
environment = {environment}

[agent]
collectors = ["127.0.0.1:{collector_port}"]
state_dir = {state_dir}
inbox = {inbox}

# Follow the files of a worker of yours:
# [[agent.source]]
# paths = ["/var/log/bots/*.log"]
# service = "bots"
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside one data directory."""

    root: Path

    @property
    def configuration(self) -> Path:
        """The file all processes read."""
        return self.root / "outrider.toml"

    @property
    def inbox(self) -> Path:
        """Where workers log."""
        return self.root / "inbox"

    @property
    def rules(self) -> Path:
        """The directory of rules."""
        return self.root / RULES_DIRECTORY

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.root / "log"

    def prepare(self, *, collector_port: int, dashboard_port: int, environment: str) -> None:
        """Make what is missing; what is there stays as it is. Raises ConfigError."""
        try:
            for directory in (self.root, self.logs, self.rules):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the data directory: {error.strerror}",
                str(self.root),
                "choose another with --data DIR",
            ) from None
        if not self.configuration.exists():
            self.configuration.write_text(
                _CONFIGURATION.format(
                    data_dir=_quoted(self.root),
                    state_dir=_quoted(self.root / "agent"),
                    inbox=_quoted(self.inbox),
                    environment=_quoted(environment),
                    collector_port=collector_port,
                    dashboard_port=dashboard_port,
                )
            )
        if not any(self.rules.glob("*.toml")):
            for ready in importlib.resources.files("outrider_alerting.ready").iterdir():
                if ready.name.endswith(".toml"):
                    (self.rules / ready.name).write_text(ready.read_text())

    def check(self, data_dir: str | None) -> None:
        """Raise ConfigError where commands with these settings would look into another place."""
        if data_dir is None or Path(data_dir).absolute() != self.root:
            raise ConfigError(
                f"`data_dir` is {data_dir}, which is another place"
                if data_dir
                else "these settings have no `data_dir`",
                str(self.configuration),
                f"write data_dir = {_quoted(self.root)}, so that commands find what runs here",
            )

    def hold(self) -> int:
        """Take the directory for this process; the descriptor holds it until the process ends.

        Raises ConfigError naming the holder when another process has it.
        """
        path = self.root / UP_LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise ConfigError(
                f"already running: {holder or 'another process'} holds this data directory",
                str(self.root),
                "stop it first, or choose another directory with --data DIR",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"outrider up, pid {os.getpid()}".encode(), 0)
        return descriptor


def _quoted(value: object) -> str:
    """Return a TOML basic string."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
