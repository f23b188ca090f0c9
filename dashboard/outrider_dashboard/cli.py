"""``outrider dashboard``: serve the web pages until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import secrets
import signal
import socket
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn

import outrider
from outrider import configuration
from outrider.configuration import ConfigError
from outrider.standard_streams import tell
from outrider_collector.store.database_url import DatabaseConfig, read_url
from outrider_collector.store.reading.availability import HealthConfig
from outrider_dashboard.app import build
from outrider_dashboard.config import DashboardConfig, listen_address
from outrider_dashboard.live import Hub
from outrider_dashboard.panels import Boundary
from outrider_dashboard.sampler import GaugeHistory
from outrider_dashboard.site import Site
from outrider_dashboard.source import Source, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from outrider.errors import Fault

_LOG_CONFIG: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
_STOP_WITHIN_S = 3


def main(argv: Sequence[str]) -> int:
    """Run the dashboard. Returns 0; problems are ConfigError or Fault."""
    arguments = _parser().parse_args(list(argv))
    tables = configuration.load(
        arguments.config,
        msgspec.convert,
        {
            "data_dir": str,
            "database": DatabaseConfig,
            "dashboard": DashboardConfig,
            "health": HealthConfig,
        },
    )
    config: DashboardConfig = tables["dashboard"]
    host, port = listen_address(arguments.listen or config.listen)
    data_dir = Path(tables.get("data_dir") or configuration.default_data_dir())
    url = read_url(tables["database"], data_dir)
    inbox = str(configuration.inbox(arguments.config))
    if arguments.check:
        return 0
    environment = config.environment or socket.gethostname() or "local"
    listener = listen(host, port)
    # Warnings of the libraries (a pool that cannot connect) go where our own records go.
    logging.basicConfig(level=logging.WARNING, handlers=[outrider.Handler()])
    with listener:
        asyncio.run(_serve(listener, url, environment, config, tables["health"], inbox))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider dashboard",
        description="Serve the web pages, with the read role only.",
    )
    parser.add_argument("--config", help="configuration file")
    parser.add_argument("--check", action="store_true", help="read the settings, and end")
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of dashboard.listen")
    return parser


def listen(host: str, port: int) -> socket.socket:
    """Bind the address. Raises ConfigError when it is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        what = "the port is in use" if taken else f"cannot listen ({error.strerror})"
        hint = "is another dashboard running? choose another port with --listen or dashboard.listen"
        raise ConfigError(what, f"{host}:{port}", hint) from None
    return listener


class _Server(uvicorn.Server):
    """A server for which a signal is the ordinary way to end, and no failure."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _serve(
    listener: socket.socket,
    url: str,
    environment: str,
    dashboard: DashboardConfig,
    targets: HealthConfig,
    inbox: str,
) -> None:
    async with open_source(url, targets) as source:
        server: _Server | None = None
        site = make_site(
            source, environment, _recorder(inbox), lambda: server is not None and server.should_exit
        )
        site.status_page, site.status_hosts = dashboard.status_page, dashboard.status_hosts
        config = uvicorn.Config(
            build(site),
            log_config=_LOG_CONFIG,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_STOP_WITHIN_S,
            lifespan="on",
        )
        server = _Server(config)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        tell(f"dashboard: http://{shown}:{port}/\n", sys.stdout)
        await server.serve(sockets=[listener])


def make_site(
    source: Source,
    environment: str,
    record: Callable[[str, dict[str, object]], None],
    stopping: Callable[[], bool] = lambda: False,
) -> Site:
    """Put together what all pages share. ``record`` writes the dashboard's own events."""

    def report(panel: str, fault: Fault, correlation_id: str) -> None:
        record(
            "ui.error_shown",
            {
                "panel": panel,
                "code": str(fault.reason),
                "detail": fault.text,
                "correlation_id": correlation_id,
                "cause": repr(fault.__cause__) if fault.__cause__ else None,
            },
        )

    return Site(
        environment=environment,
        source=source,
        boundary=Boundary(_now, new_id, report),
        hub=Hub(source),
        gauges=GaugeHistory(),
        now=_now,
        record=record,
        stopping=stopping,
    )


def new_id() -> str:
    """Return a short random id that a person can read aloud: ``9f3e-c41a``."""
    text = secrets.token_hex(4)
    return f"{text[:4]}-{text[4:]}"


def _now() -> datetime:
    return datetime.now(UTC)


def _recorder(inbox: str) -> Callable[[str, dict[str, object]], None]:
    """Return how the dashboard writes its own events: it is a worker like any other."""
    outrider.init(service="outrider-dashboard", inbox=inbox)
    log = outrider.get_logger("outrider_dashboard")

    def record(name: str, attributes: dict[str, object]) -> None:
        correlation_id = attributes.pop("correlation_id", None)
        named = {k: v for k, v in attributes.items() if v is not None and k != "severity"}
        log.event(name, severity=None, correlation_id=correlation_id, **named)

    return record
